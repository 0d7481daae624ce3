# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file tree of a node: this machine's files under a private overlay, and kernel file systems of its own.

Runs as process 1 of the node, in a mount namespace that the node alone has.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from ansible_collections.podnet.fabric.plugins.module_utils.lab import namespaces as ns
from ansible_collections.podnet.fabric.plugins.module_utils.lab.mounts import Mount, cgroups, read_mounts, to_copy

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse", "net/tun")
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# Nothing in a kernel's file system is a program or a device.
INERT = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC
# Not of any namespace: a write would reach the whole machine.
WHOLE_MACHINE = ("/proc/sys", "/proc/sysrq-trigger")


def furnish(staging: Path, hostname: str) -> None:
    """Turn this mount namespace into the node's and enter its root.

    :param staging: a folder of the machine, hidden under a mount from now on
    :param hostname: becomes the UTS name, /etc/hostname and a line of /etc/hosts
    :raises OSError: a mount that a node cannot do without is refused
    """
    ns.mount("none", "/", flags=ns.MS_REC | ns.MS_PRIVATE)
    mounts = read_mounts()
    ns.mount("podnet-lab", staging, "tmpfs", data="mode=0755")
    root = staging / "root"
    _overlay("/", root, staging / "layer")
    for number, mount in enumerate(to_copy(mounts)):
        _copy(mount, _inside(root, mount.target), staging / f"layer{number}")
    _kernel_filesystems(root)
    _devices(root / "dev")
    _control_groups(root, cgroups(mounts))
    ns.pivot_root(root)
    _protect_the_machine()
    _name(hostname)


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _overlay(lower: str, target: Path, layer: Path) -> None:
    upper, work = layer / "upper", layer / "work"
    for folder in (target, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    # The merged root of the overlay takes its mode and owner from the upper folder (/tmp is 1777).
    status = Path(lower).stat()
    upper.chmod(status.st_mode & 0o7777)
    os.chown(upper, status.st_uid, status.st_gid)
    ns.mount("overlay", target, "overlay", data=f"lowerdir={lower},upperdir={upper},workdir={work}")


def _copy(mount: Mount, target: Path, layer: Path) -> None:
    # Single files (a container's /etc/resolv.conf) and places that the node cannot have are left out.
    if not Path(mount.target).is_dir() or not target.is_dir():
        return
    # Where the file system cannot carry an overlay, it is shown as it is: to be read, not to be written.
    with suppress(OSError):
        if not any(character in mount.target for character in ",:\\"):
            _overlay(mount.target, target, layer)
            return
    ns.bind(mount.target, target)
    ns.remount(target, ns.MS_RDONLY)


def _kernel_filesystems(root: Path) -> None:
    ns.mount("proc", root / "proc", "proc", INERT)
    ns.mount("sysfs", root / "sys", "sysfs", INERT)
    ns.mount("tmpfs", root / "run", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=0755")
    (root / "run/lock").mkdir()
    (root / "run/lock").chmod(0o1777)
    # A kernel without BPF has no such folder; whoever needs it says so.
    with suppress(OSError):
        ns.mount("bpf", root / "sys/fs/bpf", "bpf", INERT, "mode=0700")


def _devices(folder: Path) -> None:
    ns.mount("tmpfs", folder, "tmpfs", ns.MS_NOSUID, "mode=0755")
    for name in ("pts", "shm", "net"):
        (folder / name).mkdir()
    for name in DEVICES:
        if Path("/dev", name).exists():
            (folder / name).touch()
            ns.bind(f"/dev/{name}", folder / name)
    for name, destination in DEVICE_LINKS.items():
        (folder / name).symlink_to(destination)
    ns.mount(
        "devpts", folder / "pts", "devpts", ns.MS_NOSUID | ns.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"
    )
    ns.mount("tmpfs", folder / "shm", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=1777")


def _control_groups(root: Path, hierarchies: list[Mount]) -> None:
    top = root / "sys/fs/cgroup"
    if not hierarchies or not top.is_dir():
        return
    if not any(hierarchy.target == "/sys/fs/cgroup" for hierarchy in hierarchies):
        ns.mount("tmpfs", top, "tmpfs", INERT, "mode=0755")
    for hierarchy in hierarchies:
        # Version 1 names its controllers among the options.
        words = [word for word in hierarchy.options.split(",") if word not in ("rw", "ro")]
        data = ",".join(words) if hierarchy.fstype == "cgroup" else ""
        # Container engines say what they miss.
        with suppress(OSError):
            _inside(root, hierarchy.target).mkdir(parents=True, exist_ok=True)
            ns.mount(hierarchy.fstype, _inside(root, hierarchy.target), hierarchy.fstype, INERT, data)


def _protect_the_machine() -> None:
    for path in WHOLE_MACHINE:
        if Path(path).exists():
            ns.bind(path, path)
            ns.remount(path, INERT | ns.MS_RDONLY)
    # /proc/sys/net is the node's own: a mount of its own over the read-only one, made writable again.
    ns.bind("/proc/sys/net", "/proc/sys/net")
    ns.remount("/proc/sys/net", INERT)


def _name(hostname: str) -> None:
    socket.sethostname(hostname)
    Path("/etc/hostname").write_text(f"{hostname}\n", encoding="utf-8")
    hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {hostname}\n"
    Path("/etc/hosts").write_text(hosts, encoding="utf-8")
