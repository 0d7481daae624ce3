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

from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import (
    DIGEST,
    EVERY,
    GUARD,
    KEY,
    SPACE_BITS,
    VALUE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MANY = 256
"""Elements of a change from which on another table is as good."""


class Steps(NamedTuple):
    """What is put and what is removed, one by one in this order."""

    puts: tuple[tuple[bytes, bytes], ...]
    removals: tuple[bytes, ...]


def steps(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> Steps | None:
    """How one table becomes the other in place; None when it has to be exchanged."""
    if abs(len(after) - len(before)) > MANY:
        return None
    puts = list(compress(after.items(), map(ne, map(before.get, after), after.values())))
    # As many have gone as the numbers leave over.
    gone = len(before) + sum(key not in before for key, _value in puts) - len(after)
    removals = [key for key in before if key not in after] if gone else []
    changed = [key for key, _value in puts] + removals
    if len(changed) > MANY or any(len(key) != KEY.size or _space(key) < DIGEST for key in changed):
        return None
    peers = {key for key in changed if _space(key) & GUARD}
    if not _only_grants(before, after, peers) and not _only_grants(after, before, peers):
        return None
    return Steps(
        tuple(sorted(puts, key=lambda put: (put[0] in peers, -_length(put[0]), put[0]))),
        tuple(sorted(removals, key=lambda key: (key not in peers, _length(key), key))),
    )


def looked_up(elements: Mapping[bytes, bytes], key: bytes) -> bytes | None:
    """What the longest prefix says that a key lies in: the kernel's answer."""
    length, space, data = KEY.unpack(key)
    bits = int.from_bytes(data, "big")
    for shorter in range(length, SPACE_BITS - 1, -1):
        unused = 8 * len(data) - (shorter - SPACE_BITS)
        found = elements.get(KEY.pack(shorter, space, (bits >> unused << unused).to_bytes(len(data), "big")))
        if found is not None:
            return found
    return None


def _only_grants(former: Mapping[bytes, bytes], latter: Mapping[bytes, bytes], peers: Iterable[bytes]) -> bool:
    """Whether what a peer was allowed it still is. Whether one set of ports holds another is not looked into."""
    for key in peers:
        had, has = looked_up(former, key), looked_up(latter, key)
        if had is not None and has not in (had, VALUE.pack(EVERY)):
            return False
    return True


def _length(key: bytes) -> int:
    length: int = KEY.unpack(key)[0]
    return length


def _space(key: bytes) -> int:
    space: int = KEY.unpack(key)[1]
    return space
