# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provider `tcg`: qemu, which interprets the processor, and Debian's kernel for clouds. Slow, but a stock kernel.

It has what user-mode Linux has not: modules that are loaded when they are needed, several processors, BTF and a JIT.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from ansible_collections.podnet.fabric.tests.vm import cache, debian
from ansible_collections.podnet.fabric.tests.vm.cache import say
from ansible_collections.podnet.fabric.tests.vm.job import Unavailable

PACKAGE = "linux-image-6.12-cloud-amd64"
NEEDED = ("busybox-static", "cpio", "kmod", "qemu-system-common", "qemu-system-x86")
# The guest's root is the host's already when guest.py runs, so a folder of the host has the same name there.
SHARE = ""
CONSOLE = "/dev/hvc0"
MEMORY = 2048  # MiB
GUEST = Path(__file__).with_name("guest.py")
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# What the host's files, the console and the overlay need; everything else is loaded from the host's files.
MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay")
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /host
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done </modules/order
/bin/busybox mount -t virtiofs host /host
exec /bin/busybox switch_root /host /usr/bin/python3 -ISB "$@"
"""


def prepare() -> Path:
    """The folder with the kernel, its modules and the initial files, unpacked at first use. Raises Unavailable."""
    name = f"tcg-{debian.candidate(PACKAGE).replace('~', '-')}"
    debian.install(NEEDED)
    with cache.being_made(name) as folder:
        if folder is not None:
            _unpack(folder)
    return cache.FOLDER / name


def _unpack(folder: Path) -> None:
    image = debian.run(["apt-cache", "depends", PACKAGE]).partition("Depends: ")[2].strip()
    if not image:
        raise Unavailable(f"{PACKAGE} names no kernel")
    image = image.split()[0]
    work = folder / "work"
    debian.unpack([image], work)
    [kernel] = (work / "boot").glob("vmlinuz-*")
    version = kernel.name.partition("-")[2]
    shutil.move(kernel, folder / "vmlinuz")
    modules = folder / "lib/modules"
    modules.parent.mkdir()
    shutil.move(next(path for path in (work / "lib/modules", work / "usr/lib/modules") if path.is_dir()), modules)
    debian.run(["depmod", "-b", os.fspath(folder), version])
    _pack_initial_files(folder, version, work / "initial")
    shutil.rmtree(work)
    say(f"unpacked Linux {version}")


def module_files(shown: str) -> list[str]:
    """The files that `modprobe --show-depends` names, each once, in the order in which to load them."""
    return list(dict.fromkeys(line.split()[1] for line in shown.splitlines() if line.startswith("insmod ")))


def _pack_initial_files(folder: Path, version: str, initial: Path) -> None:
    """Make `initrd`: a shell, the modules without which the host's files are not seen, the script that mounts them."""
    shown = ["modprobe", "--show-depends", "-d", os.fspath(folder), "-S", version]
    files = module_files("".join(debian.run([*shown, module]) for module in MODULES))
    for name in ("bin", "modules"):
        (initial / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", initial / "bin/busybox")
    for file in files:
        # busybox loads what is compressed as little as an old kernel does.
        name = Path(file).name.removesuffix(".xz")
        if file.endswith(".xz"):
            debian.run(["sh", "-c", f"xz -dc {shlex.quote(file)} >{shlex.quote(str(initial / 'modules' / name))}"])
        else:
            shutil.copy(file, initial / "modules" / name)
    (initial / "modules/order").write_text("".join(Path(file).name.removesuffix(".xz") + "\n" for file in files))
    (initial / "init").write_text(_INIT)
    (initial / "init").chmod(0o755)
    initrd = shlex.quote(os.fspath(folder / "initrd"))
    pack = f"cd {shlex.quote(os.fspath(initial))} && find . | cpio --quiet -o -H newc | gzip >{initrd}"
    debian.run(["sh", "-c", pack])


def modules(kernel: Path) -> Path:
    """Where the guest finds the modules of its kernel."""
    return kernel / "lib/modules"


def argv(kernel: Path, exchange: Path, cpu: int, output: int) -> list[str]:
    """The command line that boots; not pinned, for qemu translates for two processors at once.

    virtiofsd gives the host's files out, and goes with the process namespace when qemu has ended.
    """
    socket = exchange / "files"
    server = [VIRTIOFSD, f"--socket-path={socket}", "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]
    told = f"quiet panic=-1 console=ttyS0 fb_tunnels=none -- {GUEST} {exchange}"
    machine = [
        "qemu-system-x86_64",
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", f"{MEMORY}M"),
        *("-object", f"memory-backend-memfd,id=memory,size={MEMORY}M,share=on", "-numa", "node,memdev=memory"),
        *("-chardev", f"socket,id=files,path={socket}", "-device", "vhost-user-fs-pci,chardev=files,tag=host"),
        *("-chardev", f"file,id=output,path=/dev/fd/{output}"),
        *("-device", "virtio-serial-pci", "-device", "virtconsole,chardev=output"),
        *("-kernel", os.fspath(kernel / "vmlinuz"), "-initrd", os.fspath(kernel / "initrd"), "-append", told),
    ]
    waiting = f"until [ -S {shlex.quote(str(socket))} ]; do sleep 0.05; done"
    return ["sh", "-c", f"{shlex.join(server)} & {waiting}; exec {shlex.join(machine)}"]
