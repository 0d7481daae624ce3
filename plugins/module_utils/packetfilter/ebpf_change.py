# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of eBPF's turned into another element by element, where that is as good as another table in its place.

It is when peers of guards come, or when they go, but not when both do: a packet from pod to pod is judged twice, and
one guard of after with another of before may let through what neither table does. Whatever else differs is left to a
whole table: a pod, what may come out of an interface, a guard of other policies.

In the order of ``Steps`` each address is to each guard at any time what it is by the table before, or by the table
after. To begin with, the longer prefixes come before the shorter ones, and what goes is still there: a prefix that has
come is the longest one with an address in it only when it is so in the table after. Then the shorter ones go before
the longer ones: a prefix that is still to go is the longest one with an address in it only when it was so before. Sets
of ports are there before a peer leads to them, and as long as one does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns, difference
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import (
    DIGEST,
    EVERY,
    GUARD,
    KEY,
    SPACE_BITS,
    VALUE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MANY = 256
"""Elements of a change from which on another table is as good."""


class Steps(NamedTuple):
    """What is put and what is removed, one by one in this order."""

    puts: tuple[tuple[bytes, bytes], ...]
    removals: tuple[bytes, ...]


def steps(before: Columns, after: Columns) -> Steps | None:
    """How one table becomes the other in place; None when it has to be exchanged."""
    if abs(len(after) - len(before)) > MANY:
        return None
    puts, removals = difference(before, after)
    changed = [*puts, *removals]
    if len(changed) > MANY or any(len(key) != KEY.size or _space(key) < DIGEST for key in changed):
        return None
    peers = {key for key in changed if _space(key) & GUARD}
    gone = set(removals)
    ways = [
        (
            before[key] if key in gone else looked_up(before, key),
            puts[key] if key in puts else looked_up(after, key),
        )
        for key in peers
    ]
    if not all(_grants(*way) for way in ways) and not all(_grants(*reversed(way)) for way in ways):
        return None
    return Steps(
        tuple(sorted(puts.items(), key=lambda put: (put[0] in peers, -_length(put[0]), put[0]))),
        tuple(sorted(removals, key=lambda key: (key not in peers, _length(key), key))),
    )


def looked_up(elements: Mapping[bytes, bytes], key: bytes) -> bytes | None:
    """What the longest prefix says that a key lies in: the kernel's answer."""
    length, space, data = KEY.unpack(key)
    bits = int.from_bytes(data, "big")
    lengths = _lengths(elements)
    for shorter in range(length, SPACE_BITS - 1, -1):
        if shorter not in lengths:
            continue
        unused = 8 * len(data) - (shorter - SPACE_BITS)
        found = elements.get(KEY.pack(shorter, space, (bits >> unused << unused).to_bytes(len(data), "big")))
        if found is not None:
            return found
    return None


def _lengths(elements: Mapping[bytes, bytes]) -> bytes:
    """Of all prefixes, each as a byte: where a key of this machine has it."""
    columns = elements if isinstance(elements, Columns) else Columns.of(elements, KEY.size, VALUE.size)
    return columns.bytes_at(0 if sys.byteorder == "little" else 3)


def _grants(had: bytes | None, has: bytes | None) -> bool:
    """Whether what a peer was allowed it still is. Whether one set of ports holds another is not looked into."""
    return had is None or has in (had, VALUE.pack(EVERY))


def _length(key: bytes) -> int:
    length: int = KEY.unpack(key)[0]
    return length


def _space(key: bytes) -> int:
    space: int = KEY.unpack(key)[1]
    return space
