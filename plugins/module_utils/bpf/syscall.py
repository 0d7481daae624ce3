# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system call bpf(2), command by command, with descriptors that close themselves (linux/bpf.h)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_EXPLAINED = {
    errno.EPERM: "; it takes CAP_BPF and CAP_NET_ADMIN, and no lockdown of the kernel",
    errno.ENOSYS: "; this kernel has no bpf(2)",
}


class BpfError(PodnetError):
    """The kernel has refused a command; ``errno`` says why."""

    def __init__(self, number: int, doing: str) -> None:
        super().__init__(f"{doing}: {os.strerror(number)}{_EXPLAINED.get(number, '')}")
        self.errno = number


class Handle:
    """A descriptor of a map, a program or a link; closed at the end of the body."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)


def call(command: int, attributes: bytes, doing: str) -> int:
    """Carry out a command; its result, mostly a descriptor.

    :param doing: what the operator reads when it is refused
    :raises BpfError: refused
    """
    return call_with(command, ctypes.create_string_buffer(attributes, len(attributes)), doing)


def call_with(command: int, attributes: ctypes.Array[ctypes.c_char], doing: str) -> int:
    """The same for a command that answers in its attributes."""
    number = numbers.SYSCALL.get(platform.machine())
    if number is None:
        raise BpfError(errno.ENOSYS, f"{doing} on {platform.machine()}")
    found = int(_libc().syscall(number, command, attributes, len(attributes)))
    if found < 0:
        raise BpfError(ctypes.get_errno(), doing)
    return found


def pointer(buffer: ctypes.Array[ctypes.c_char]) -> int:
    """A buffer's address, as attributes hold it."""
    return ctypes.addressof(buffer)


def buffer(content: bytes) -> ctypes.Array[ctypes.c_char]:
    """A buffer with this content, without a final zero."""
    return ctypes.create_string_buffer(content, len(content))


def pin(handle: Handle, path: str) -> None:
    """Give an object a name in a bpffs, which keeps it."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    call(numbers.OBJ_PIN, struct.pack("=QII", pointer(name), handle.descriptor, 0), f"pin {path}")


def pinned(path: str) -> Handle:
    """The object of this name."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return Handle(call(numbers.OBJ_GET, struct.pack("=QII", pointer(name), 0, 0), f"open {path}"))


def info(handle: Handle, size: int) -> bytes:
    """The first bytes of what the kernel tells of an object; zeros where it knows less."""
    told = ctypes.create_string_buffer(size)
    call(
        numbers.OBJ_GET_INFO_BY_FD,
        struct.pack("=IIQ", handle.descriptor, size, pointer(told)),
        "read a BPF object's info",
    )
    return told.raw


def _libc() -> ctypes.CDLL:
    if not _LOADED:
        _LOADED.append(ctypes.CDLL(None, use_errno=True))
    return _LOADED[0]


_LOADED: list[ctypes.CDLL] = []
