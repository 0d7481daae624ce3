# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump read as a table.

The messages of a dump mostly look alike: the same attributes, of the same sizes, in the same order. So equal-looking
messages are laid one behind the other, their shape is worked out once, and a field of all of them is read in one step,
as a column. Whether messages look alike is checked column by column too: every byte of every attribute's header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple, TypeVar

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import MESSAGE, walk
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError

Record = TypeVar("Record")
# Where each attribute's payload is in a row: type -> (offset, size).
Places = Mapping[int, tuple[int, int]]
# All attributes of a row, in their order, as (type, offset, size).
Shape = tuple[tuple[int, int, int], ...]


class Block(NamedTuple):
    """Messages of one type and length, one behind the other, each `stride` bytes from the one before."""

    kind: int
    length: int
    stride: int
    data: bytes


class Table:
    """Messages that carry the same attributes at the same places."""

    def __init__(self, kind: int, stride: int, data: bytes, places: Places) -> None:
        self.kind = kind
        self.stride = stride
        self.data = data
        self.places = places
        self.rows = len(data) // stride

    def __contains__(self, attribute: int) -> bool:
        return attribute in self.places

    def repeat(self, value: Record) -> Iterable[Record]:
        """A column that holds `value` in every row."""
        return repeat(value, self.rows)

    def octets(self, offset: int) -> bytes:
        """The column of the byte at `offset` of the body (a `bytes` yields numbers)."""
        return self.data[MESSAGE.size + offset :: self.stride]

    def shorts(self, offset: int) -> list[int]:
        """The column of the 16-bit number at `offset` of the body."""
        return memoryview(self.data).cast("H")[(MESSAGE.size + offset) // 2 :: self.stride // 2].tolist()

    def words(self, offset: int) -> list[int]:
        """The column of the 32-bit number at `offset` of the body."""
        return self._words(MESSAGE.size + offset)

    def numbers(self, attribute: int, default: int = 0) -> Iterable[int]:
        """The column of an attribute that holds a 32-bit number."""
        if attribute not in self.places:
            return repeat(default, self.rows)
        offset, size = self.places[attribute]
        if size != 4:
            raise ProtocolError(
                f"attribute {attribute} of message {self.kind} holds {size} bytes instead of a number's 4"
            )
        return self._words(offset)

    def payloads(self, attribute: int, default: bytes = b"") -> Iterable[bytes]:
        """The column of an attribute's bytes."""
        if attribute not in self.places:
            return repeat(default, self.rows)
        offset, size = self.places[attribute]
        column = struct.iter_unpack(f"{offset}x{size}s{self.stride - offset - size}x", self.data)
        return chain.from_iterable(column)

    def nested(self, attribute: int) -> Table | None:
        """The attributes in an attribute of every row, as a table of as many rows; None where the rows differ."""
        size = self.places[attribute][1]
        # A last attribute without its padding has no row to be padded from, so every row gets its own.
        stride = (size + 3) & ~3
        column = self.payloads(attribute)
        data = b"".join(column if stride == size else (row.ljust(stride, b"\0") for row in column))
        shape = tuple(walk(data, 0, size))
        block = Block(self.kind, size, stride, data)
        return Table(self.kind, stride, data, _places(shape)) if stride and _uniform(block, shape) else None

    def _words(self, offset: int) -> list[int]:
        return memoryview(self.data).cast("I")[offset // 4 :: self.stride // 4].tolist()


def records(record: type[Record], *columns: Iterable[object]) -> list[Record]:
    """One named tuple of type `record` per row; the columns are in the order of its fields."""
    # tuple.__new__ skips the Python function that a named tuple's constructor is.
    return list(map(partial(tuple.__new__, record), zip(*columns)))  # type: ignore[type-var]


def device_names(names: Mapping[int, str], indexes: Iterable[int]) -> list[str]:
    """The devices' names; a device that is newer than `names` shows as one that cannot exist ("ifindex:7")."""
    indexes = list(indexes)
    try:
        return list(map(names.__getitem__, indexes))
    except KeyError:
        return [names.get(index, f"ifindex:{index}") if index else "" for index in indexes]


def tables(blocks: Iterable[Block], body: int) -> Iterator[Table]:
    """Tables out of blocks; attributes begin behind the message header and `body` bytes."""
    start = MESSAGE.size + body
    for block in blocks:
        if block.length < start:
            raise ProtocolError(f"message {block.kind} has {block.length} bytes instead of at least {start}")
        shape = tuple(walk(block.data, start, block.length))
        if _uniform(block, shape):
            yield Table(block.kind, block.stride, block.data, _places(shape))
        else:
            yield from _sorted_out(block, start)


def _places(shape: Shape) -> Places:
    return {kind: (offset, size) for kind, offset, size in shape}


def _uniform(block: Block, shape: Shape) -> bool:
    rows = len(block.data) // block.stride
    for _kind, offset, _size in shape:
        for header_byte in range(offset - 4, offset):
            column = block.data[header_byte :: block.stride]
            if column.count(column[:1]) != rows:
                return False
    return True


def _sorted_out(block: Block, start: int) -> Iterator[Table]:
    groups: dict[Shape, list[bytes]] = {}
    for offset in range(0, len(block.data), block.stride):
        row = block.data[offset : offset + block.stride]
        groups.setdefault(tuple(walk(row, start, block.length)), []).append(row)
    for shape, rows in groups.items():
        yield Table(block.kind, block.stride, b"".join(rows), _places(shape))
