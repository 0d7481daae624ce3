# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provider `uml`: user-mode Linux, one process of the host. Needs no KVM, boots in half a second."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ansible_collections.podnet.fabric.tests.vm import uml_kernel

SHARE = "hostfs"
CONSOLE = "/dev/tty0"
MEMORY = 2048  # MiB
GUEST = Path(__file__).with_name("guest.py")


def prepare() -> Path:
    """The kernel, built when there is none yet. Raises Unavailable."""
    return uml_kernel.ready()


def memory_folder() -> Path:
    """Where the guest's memory is a file: in the host's memory if that holds it, else on a disk, which is slow."""
    shm = Path("/dev/shm")  # noqa: S108
    if shm.is_dir() and shutil.disk_usage(shm).free >= MEMORY << 20:
        return shm
    return Path("/var/tmp")  # noqa: S108


def modules(_kernel: Path) -> None:
    """None: everything is built in."""
    return


def argv(kernel: Path, exchange: Path, cpu: int, output: int) -> list[str]:
    """The command line that boots.

    - Pinned to one processor it is twice as fast: each system call of the guest is a change of process on the host.
    - The console writes to a descriptor of its own; what the kernel and systemd have to say goes to standard error.
      The kernel takes stderr0 away as it starts its drivers. Without tty1, nobody would hear of a panic after that, nor
      of what a boot waits for.
    - Built-in tunnels would add tunl0, ip6tnl0 and others to every namespace, hence `fb_tunnels=none`.
    """
    return [
        *("taskset", "--cpu-list", str(cpu)),
        *("env", f"TMPDIR={memory_folder()}"),
        os.fspath(kernel),
        *(f"mem={MEMORY}M", f"uml_dir={exchange}/", "umid=uml"),
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        *("con=null", f"con0=null,fd:{output}", "con1=null,fd:2", "ssl=null"),
        *("stderr=1", "console=stderr0", "console=tty1", "systemd.show_status=yes"),
        *("quiet", "panic=-1", "seccomp=auto"),
        *("fb_tunnels=none", "dummy.numdummies=0", "ifb.numifbs=0", "bonding.max_bonds=0"),
        *("init=/usr/bin/python3", "--", "-ISB", os.fspath(GUEST), os.fspath(exchange)),
    ]
