# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of a map as the kernel takes and tells them: all keys in a row, all values in another.

There may be tens of thousands. Two such that are made of nearly the same are compared without looking at each element.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import ne
from typing import Any, NamedTuple

_BLOCK = 1024
"""Elements that are looked at together, to begin with."""


class Difference(NamedTuple):
    """What is to be set in a map, and the keys of what is to go."""

    puts: dict[bytes, bytes]
    removals: Sequence[bytes]


class Columns(Mapping[bytes, bytes]):
    """Keys of one size and values of another. No key is there twice."""

    def __init__(self, keys: bytes, values: bytes, key_size: int, value_size: int) -> None:
        self.keys_row, self.values_row, self.key_size, self.value_size = keys, values, key_size, value_size
        self._known: dict[bytes, bytes] | None = None
        self._compared: tuple[Columns, Difference] | None = None

    @classmethod
    def of(cls, elements: Mapping[bytes, bytes], key_size: int, value_size: int) -> Columns:
        """Elements in their order."""
        return cls(b"".join(elements), b"".join(elements.values()), key_size, value_size)

    def __add__(self, other: Columns) -> Columns:
        """With elements of which none has a key that is here."""
        rows = self.keys_row + other.keys_row, self.values_row + other.values_row
        return Columns(*rows, self.key_size, self.value_size) if other else self

    def __len__(self) -> int:
        return len(self.keys_row) // self.key_size

    def __iter__(self) -> Iterator[bytes]:
        return iter(_apart(self.keys_row, self.key_size))

    def __getitem__(self, key: bytes) -> bytes:
        if self._known is None:
            self._known = dict(self.pairs())
        return self._known[key]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Columns):
            return super().__eq__(other)
        return self is other or (len(self) == len(other) and not any(difference(other, self)))

    def __repr__(self) -> str:
        return f"Columns({dict(self.pairs())})"

    def __hash__(self) -> int:
        return hash((self.key_size, self.value_size, len(self)))

    def pairs(self, first: int = 0, end: int | None = None) -> Iterable[tuple[bytes, bytes]]:
        """Keys and values, from one place on up to another."""
        last = len(self) if end is None else end
        keys, values = (
            _apart(row[first * size : last * size], size)
            for row, size in ((self.keys_row, self.key_size), (self.values_row, self.value_size))
        )
        return zip(keys, values)

    def get(self, key: bytes, default: Any = None) -> Any:
        """The value of a key; who asks for a few only does not pay for all."""
        if self._known is not None:
            return self._known.get(key, default)
        at = self.keys_row.find(key)
        while at >= 0 and at % self.key_size:
            at = self.keys_row.find(key, at + 1)
        place = at // self.key_size * self.value_size
        return self.values_row[place : place + self.value_size] if at >= 0 else default

    def bytes_at(self, offset: int) -> bytes:
        """The byte at an offset of each key."""
        return self.keys_row[offset :: self.key_size]


def difference(before: Columns, after: Columns) -> Difference:
    """How one becomes the other; it is mostly asked for twice."""
    if after._compared is None or after._compared[0] is not before:
        after._compared = (before, _difference(before, after))
    return after._compared[1]


def _difference(before: Columns, after: Columns) -> Difference:
    first = _common(before, after, 0)
    same = _common(before, after, first, backwards=True)
    had = dict(before.pairs(first, len(before) - same))
    has = dict(after.pairs(first, len(after) - same))
    puts = dict(compress(has.items(), map(ne, map(had.get, has), has.values())))
    # As many have gone as the numbers leave over.
    gone = len(had) + sum(key not in had for key in puts) - len(has)
    return Difference(puts, [key for key in had if key not in has] if gone else [])


def _common(one: Columns, other: Columns, known: int, backwards: bool = False) -> int:
    """How many elements both begin, or end, with.

    :param known: how many they begin with, where it is asked for how many they end with
    """
    most = min(len(one), len(other)) - known
    found, step = 0, _BLOCK
    while step:
        while found + step <= most and _alike(one, other, found, step, backwards):
            found += step
        step //= 2
    return found


def _alike(one: Columns, other: Columns, found: int, step: int, backwards: bool) -> bool:
    """Whether the next elements are the same, in both rows."""
    here, there = (len(each) - found - step if backwards else found for each in (one, other))
    for size, mine, others in (
        (one.key_size, one.keys_row, other.keys_row),
        (one.value_size, one.values_row, other.values_row),
    ):
        if mine[here * size : (here + step) * size] != others[there * size : (there + step) * size]:
            return False
    return True


def _apart(row: bytes, size: int) -> Sequence[bytes]:
    return struct.unpack(f"{size}s" * (len(row) // size), row)
