# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""bpf(2) by the parts of Python that are there soon: what bpf/ needs takes longer to import than ADD may.

Whatever the kernel refuses is an OSError. Descriptors go with the process, which ends soon.
"""

from __future__ import annotations

import ctypes
import errno
import os
from _struct import pack, unpack_from

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers

_LIBC = ctypes.CDLL(None, use_errno=True)


def pinned(path: str) -> int:
    """The object with a name."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return _call(numbers.OBJ_GET, pack("=QII", ctypes.addressof(name), 0, 0))


def map_by_id(number: int) -> int:
    """The map with an id."""
    return _call(numbers.MAP_GET_FD_BY_ID, pack("=III", number, 0, 0))


def get(descriptor: int, key: bytes, size: int) -> bytes | None:
    """An element's value, of which the size is known; None where there is none."""
    keys, values = _buffer(key), ctypes.create_string_buffer(size)
    try:
        _element(numbers.MAP_LOOKUP_ELEM, descriptor, keys, values)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return values.raw


def put(descriptor: int, key: bytes, value: bytes) -> None:
    """Set an element."""
    _element(numbers.MAP_UPDATE_ELEM, descriptor, _buffer(key), _buffer(value))


def run(program: int, packet: bytes) -> int:
    """What a program makes of a packet that nobody has sent."""
    content = _buffer(packet)
    # The kernel answers in what comes behind, too.
    attributes = _buffer(pack("=IIIIQQ48x", program, 0, len(packet), 0, ctypes.addressof(content), 0))
    _call_with(numbers.PROG_TEST_RUN, attributes)
    (found,) = unpack_from("=I", attributes.raw, 4)
    return int(found)


def attach(program: int, index: int, hook: int, flags: int, pin: str) -> None:
    """Put a program before an interface, by a link that is given a name."""
    link = _call(numbers.LINK_CREATE, pack("=IIIIIIQ", program, index, hook, flags, 0, 0, 0))
    name = ctypes.create_string_buffer(os.fsencode(pin))
    _call(numbers.OBJ_PIN, pack("=QII", ctypes.addressof(name), link, 0))
    os.close(link)


def _buffer(content: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(content, len(content))


def _element(
    command: int,
    descriptor: int,
    key: ctypes.Array[ctypes.c_char],
    value: ctypes.Array[ctypes.c_char],
) -> None:
    _call(command, pack("=IIQQQ", descriptor, 0, ctypes.addressof(key), ctypes.addressof(value), 0))


def _call(command: int, attributes: bytes) -> int:
    return _call_with(command, _buffer(attributes))


def _call_with(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    number = numbers.SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "bpf")
    found: int = _LIBC.syscall(number, command, attributes, len(attributes))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found
