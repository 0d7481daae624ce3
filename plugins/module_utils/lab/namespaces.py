# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system calls of namespaces(7) and mount(2) that the standard library of Python 3.9 to 3.11 lacks."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Iterator

# <linux/sched.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# <linux/mount.h>
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

MNT_DETACH = 0x2

# A path as the callers hold it.
AnyPath = Union[str, Path]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the calling process into namespaces of its own."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: AnyPath, target: AnyPath, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Mount as mount(2) does."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            fstype.encode() if fstype else None,
            flags,
            os.fsencode(data) if data else None,
        ),
        f"mount {fstype or source} on {target}",
    )


def bind(source: AnyPath, target: AnyPath) -> None:
    """Show the file or folder at ``source`` at ``target`` too. Mounts below it are not shown."""
    mount(source, target, flags=MS_BIND)


def remount(target: AnyPath, flags: int) -> None:
    """Give a bind mount flags of its own; MS_BIND ignores them in its first call (mount(2))."""
    mount(target, target, flags=MS_BIND | MS_REMOUNT | flags)


def detach(target: AnyPath) -> None:
    """Unmount now, also when busy."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: AnyPath) -> None:
    """Make the mount ``new_root`` the root of this mount namespace and drop the former one."""
    os.chdir(new_root)
    # pivot_root(".", ".") stacks the old root on the new one, as pivot_root(2) describes.
    _check(_libc.pivot_root(b".", b"."), f"pivot_root {new_root}")
    detach(".")
    os.chdir("/")


@contextmanager
def entered(pid: int, kind: str) -> Iterator[None]:
    """Run the body in the namespace ``kind`` (net, uts) of a process; programs started inside inherit it."""
    with Path(f"/proc/self/ns/{kind}").open("rb") as own, Path(f"/proc/{pid}/ns/{kind}").open("rb") as theirs:
        _check(_libc.setns(theirs.fileno(), 0), f"enter the {kind} namespace of process {pid}")
        try:
            yield
        finally:
            _check(_libc.setns(own.fileno(), 0), f"leave the {kind} namespace of process {pid}")
