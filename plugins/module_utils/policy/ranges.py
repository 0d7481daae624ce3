# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of addresses as sorted, disjoint ranges that do not touch, by family (4 or 6)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""First and last address, both inside."""
Ranges = tuple[Range, ...]

BITS = {4: 32, 6: 128}


def of_networks(texts: Iterable[str]) -> dict[int, Ranges]:
    """The addresses of networks in CIDR notation, or of single addresses."""
    found: dict[int, list[Range]] = {}
    for text in texts:
        network = ipaddress.ip_network(text, strict=False)
        found.setdefault(network.version, []).append((int(network.network_address), int(network.broadcast_address)))
    return {family: merged(ranges) for family, ranges in found.items()}


def merged(ranges: Iterable[Range]) -> Ranges:
    """The same addresses in the form above."""
    done: list[Range] = []
    for first, last in sorted(ranges):
        if done and first <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(last, done[-1][1]))
        else:
            done.append((first, last))
    return tuple(done)


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """The addresses of the one that are not in the other."""
    left: list[Range] = []
    for first, last in ranges:
        for other_first, other_last in others:
            if other_last < first or other_first > last:
                continue
            if other_first > first:
                left.append((first, other_first - 1))
            first = other_last + 1  # noqa: PLW2901 - what is left of it
        if first <= last:
            left.append((first, last))
    return tuple(left)


def holds(ranges: Ranges, address: int) -> bool:
    """Whether an address is in there."""
    return any(first <= address <= last for first, last in ranges)


def prefixes(family: int, ranges: Ranges) -> Iterator[str]:
    """The fewest prefixes in CIDR notation with these addresses."""
    size = BITS[family] // 8
    for first, length in aligned(BITS[family], ranges):
        yield f"{IP_TEXTS[first.to_bytes(size, 'big')]}/{length}"


def aligned(bits: int, ranges: Iterable[Range]) -> Iterator[tuple[int, int]]:
    """The fewest prefixes with these numbers: the first of each, and its length."""
    for first, last in ranges:
        while first < last:
            # As many as the first number is aligned for, and as are left.
            span = min((first & -first).bit_length() - 1 if first else bits, (last - first + 1).bit_length() - 1)
            yield first, bits - span
            first += 1 << span  # noqa: PLW2901 - what is left of it
        if first == last:
            yield first, bits
