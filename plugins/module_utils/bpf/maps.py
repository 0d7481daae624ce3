# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""BPF maps: made, read and filled, many elements per system call where the kernel can."""

from __future__ import annotations

import ctypes
import errno
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError, Handle, buffer, pointer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# enum bpf_map_type
HASH = 1
LRU_HASH = 9
LPM_TRIE = 11
ARRAY_OF_MAPS = 12
NO_PREALLOC = 1  # BPF_F_NO_PREALLOC, which a trie must have

_EXIST = 2  # BPF_EXIST

MOST = 1 << 24
"""Entries that a map of ours may have: two gigabytes of flows."""

_BATCH = 4096
_NAME = 15  # BPF_OBJ_NAME_LEN without the final zero
_BATCH_ATTRIBUTES = struct.Struct("=QQQQIIQQ")
_COUNT, _COUNT_AT = struct.Struct("=I"), 32
PATIENCE, PAUSE = 100, 0.001
"""How often, and after how many seconds, what the kernel has no memory for at once is tried again."""
_INFO = struct.Struct("=IIIIII16s")
# What says that a kernel has no batches for this sort of map.
_NO_BATCHES = {errno.EINVAL, errno.EOPNOTSUPP, 524}  # 524 is the kernel's own ENOTSUPP


class Shape(NamedTuple):
    """What cannot change in a map. Sizes in bytes."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


def create(name: str, shape: Shape, inner: Handle | None = None) -> Handle:
    """Make a map.

    :param inner: for a map of maps, one that is like those to be put in
    """
    attributes = struct.pack("=IIIIIII16s", *shape, inner.descriptor if inner else 0, 0, name.encode()[:_NAME])
    return Handle(syscall.call(numbers.MAP_CREATE, attributes, f"create map {name} for {shape.max_entries} entries"))


def shape_of(handle: Handle) -> Shape:
    """A map's shape, read back."""
    sort, _id, key, value, most, flags, _name = _INFO.unpack(syscall.info(handle, _INFO.size))
    return Shape(sort, key, value, most, flags)


def id_of(handle: Handle) -> int:
    """The kernel's number of a map, which no other one has while the machine is up."""
    return int(_INFO.unpack(syscall.info(handle, _INFO.size))[1])


def by_id(number: int) -> Handle:
    """The map with an id, which a slot of a map of maps tells."""
    return Handle(syscall.call(numbers.MAP_GET_FD_BY_ID, struct.pack("=III", number, 0, 0), f"open map {number}"))


def put(handle: Handle, key: bytes, value: bytes) -> None:
    """Set one element."""
    keys, values = buffer(key), buffer(value)
    for tries in range(PATIENCE + 1):
        try:
            _element(numbers.MAP_UPDATE_ELEM, handle, pointer(keys), pointer(values), "set an element of a map")
        except BpfError as error:
            if error.errno != errno.ENOMEM or tries == PATIENCE:
                raise
            time.sleep(PAUSE)
        else:
            return


def replace(handle: Handle, key: bytes, value: bytes) -> None:
    """Set one element that is there; one that is not is an error."""
    keys, values = buffer(key), buffer(value)
    doing = "replace an element of a map"
    _element(numbers.MAP_UPDATE_ELEM, handle, pointer(keys), pointer(values), doing, _EXIST)


def get(handle: Handle, key: bytes, size: int) -> bytes | None:
    """One element's value, of which the size is known; None where there is none."""
    keys, values = buffer(key), ctypes.create_string_buffer(size)
    try:
        _element(numbers.MAP_LOOKUP_ELEM, handle, pointer(keys), pointer(values), "read an element of a map")
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return values.raw


def delete(handle: Handle, key: bytes) -> None:
    """Remove one element."""
    keys = buffer(key)
    _element(numbers.MAP_DELETE_ELEM, handle, pointer(keys), 0, "remove an element of a map")


def fill(handle: Handle, elements: Columns) -> None:
    """Set many elements."""
    first = tries = 0
    while first < len(elements):
        count = min(_BATCH, len(elements) - first)
        keys, values = (
            buffer(row[first * size : (first + count) * size])
            for row, size in ((elements.keys_row, elements.key_size), (elements.values_row, elements.value_size))
        )
        attributes = buffer(
            _BATCH_ATTRIBUTES.pack(0, 0, pointer(keys), pointer(values), count, handle.descriptor, 0, 0)
        )
        try:
            syscall.call_with(numbers.MAP_UPDATE_BATCH, attributes, f"set {count} elements of a map")
        except BpfError as error:
            if error.errno == errno.ENOMEM and tries < PATIENCE:
                # What a map may take at once is found by the kernel a little later.
                (count,) = _COUNT.unpack_from(attributes.raw, _COUNT_AT)
                tries = 0 if count else tries + 1
                time.sleep(PAUSE)
            elif error.errno in _NO_BATCHES:
                for key, value in elements.pairs(first, first + count):
                    put(handle, key, value)
            else:
                raise
        first += count


def remove(handle: Handle, keys: Iterable[bytes]) -> None:
    """Remove many elements. One that is not there is an error."""
    known = list(keys)
    for first in range(0, len(known), _BATCH):
        part = known[first : first + _BATCH]
        held = buffer(b"".join(part))
        attributes = _BATCH_ATTRIBUTES.pack(0, 0, pointer(held), 0, len(part), handle.descriptor, 0, 0)
        try:
            syscall.call(numbers.MAP_DELETE_BATCH, attributes, f"remove {len(part)} elements of a map")
        except BpfError as error:
            if error.errno not in _NO_BATCHES:
                raise
            for key in part:
                delete(handle, key)


def freeze(handle: Handle) -> None:
    """From now on no process can write to a map, for as long as there is it; programs can."""
    try:
        syscall.call(numbers.MAP_FREEZE, struct.pack("=I", handle.descriptor), "freeze a map")
    except BpfError:
        if not is_frozen(handle):
            raise


def is_frozen(handle: Handle) -> bool:
    """Whether no process can write to a map."""
    try:
        told = Path(f"/proc/thread-self/fdinfo/{handle.descriptor}").read_text(encoding="ascii")
    except OSError as error:
        raise BpfError(error.errno or errno.EIO, "read what is told of a map") from error
    return "\nfrozen:\t1" in told


def elements(handle: Handle) -> dict[bytes, bytes]:
    """All elements. One that changes meanwhile may be in it or not."""
    return dict(columns(handle).pairs())


def columns(handle: Handle) -> Columns:
    """The same as the kernel tells them."""
    shape = shape_of(handle)
    keys, values = [], []
    try:
        for some_keys, some_values in _batches(handle, shape):
            keys.append(some_keys)
            values.append(some_values)
    except BpfError as error:
        if error.errno not in _NO_BATCHES:
            raise
        return Columns.of(dict(_one_by_one(handle, shape)), shape.key_size, shape.value_size)
    return Columns(b"".join(keys), b"".join(values), shape.key_size, shape.value_size)


def _batches(handle: Handle, shape: Shape) -> Iterator[tuple[bytes, bytes]]:
    keys = ctypes.create_string_buffer(shape.key_size * _BATCH)
    values = ctypes.create_string_buffer(shape.value_size * _BATCH)
    # A trie keeps a key there, a hash the number of a bucket.
    position, following = (ctypes.create_string_buffer(max(shape.key_size, 4)) for _each in range(2))
    started, ended = 0, False
    while not ended:
        attributes = buffer(
            _BATCH_ATTRIBUTES.pack(
                started, pointer(following), pointer(keys), pointer(values), _BATCH, handle.descriptor, 0, 0
            )
        )
        try:
            syscall.call_with(numbers.MAP_LOOKUP_BATCH, attributes, "read a map")
        except BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            ended = True
        (count,) = _COUNT.unpack_from(attributes.raw, _COUNT_AT)
        count = min(count, _BATCH)
        yield keys.raw[: count * shape.key_size], values.raw[: count * shape.value_size]
        position, following = following, position
        started = pointer(position)


def _one_by_one(handle: Handle, shape: Shape) -> Iterator[tuple[bytes, bytes]]:
    key, following = 0, ctypes.create_string_buffer(shape.key_size)
    while True:
        try:
            _element(numbers.MAP_GET_NEXT_KEY, handle, key, pointer(following), "read a map")
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        found = following.raw
        value = get(handle, found, shape.value_size)
        if value is not None:
            yield found, value
        held = buffer(found)
        key = pointer(held)


def _element(command: int, handle: Handle, key: int, value: int, doing: str, flags: int = 0) -> None:
    syscall.call(command, struct.pack("=IIQQQ", handle.descriptor, 0, key, value, flags), doing)
