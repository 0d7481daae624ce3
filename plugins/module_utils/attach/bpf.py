# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""bpf(2) by the parts of Python that are there soon: what bpf/ needs takes longer to import than ADD may.

Of ctypes that is its C part: the types that the rest of it makes take a third of the time in which Python starts.
Whatever the kernel refuses is an OSError. Descriptors go with the process, which ends soon.
"""

from __future__ import annotations

import _ctypes
import errno
import os
from _struct import pack, unpack_from

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOW = 2  # RTLD_NOW


# What a type checker knows of these is generic, and knows no None; Python is neither way.
class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


# Of one size: to make a type of each takes longer than most calls.
_SIZE = 4096
_Buffer = _Char * _SIZE


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


# The program itself, with the C library that it is linked to.
_SYSCALL = _Function(_ctypes.dlsym(_ctypes.dlopen(None, _NOW), "syscall"))  # type: ignore[arg-type]


def pinned(path: str) -> int:
    """The object with a name."""
    name = _buffer(os.fsencode(path) + b"\0")
    return _call(numbers.OBJ_GET, pack("=QII", _ctypes.addressof(name), 0, 0))


def map_by_id(number: int) -> int:
    """The map with an id."""
    return _call(numbers.MAP_GET_FD_BY_ID, pack("=III", number, 0, 0))


def get(descriptor: int, key: bytes, size: int) -> bytes | None:
    """An element's value, of which the size is known; None where there is none."""
    keys, values = _buffer(key), _buffer(bytes(size))
    try:
        _element(numbers.MAP_LOOKUP_ELEM, descriptor, keys, values)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(values)[:size]


def put(descriptor: int, key: bytes, value: bytes) -> None:
    """Set an element."""
    _element(numbers.MAP_UPDATE_ELEM, descriptor, _buffer(key), _buffer(value))


def run(program: int, packet: bytes) -> int:
    """What a program makes of a packet that nobody has sent."""
    content = _buffer(packet)
    # The kernel answers in what comes behind, too.
    given = pack("=IIIIQQ48x", program, 0, len(packet), 0, _ctypes.addressof(content), 0)
    attributes = _buffer(given)
    _call_with(numbers.PROG_TEST_RUN, attributes, len(given))
    (found,) = unpack_from("=I", attributes, 4)
    return int(found)


def _buffer(content: bytes) -> Any:
    if len(content) > _SIZE:
        raise ValueError(f"{len(content)} bytes are more than a buffer holds")
    return _Buffer.from_buffer_copy(content.ljust(_SIZE, b"\0"))


def _element(
    command: int,
    descriptor: int,
    key: Any,
    value: Any,
) -> None:
    _call(command, pack("=IIQQQ", descriptor, 0, _ctypes.addressof(key), _ctypes.addressof(value), 0))


def _call(command: int, attributes: bytes) -> int:
    return _call_with(command, _buffer(attributes), len(attributes))


def _call_with(command: int, attributes: Any, size: int) -> int:
    number = numbers.SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "bpf")
    found: int = _SYSCALL(number, command, attributes, size)
    if found < 0:
        code = _ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found
