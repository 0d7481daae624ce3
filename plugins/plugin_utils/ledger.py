# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node owns which blocks: pure transitions over the ledger; where it is kept is a store's affair.

What holds after every transition: no two blocks of the ledger overlap; a node keeps the blocks it has; the blocks of a
node that left rest before another node may have them, and go back to it if it returns first.
"""

from __future__ import annotations

import bisect
import ipaddress
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Block, Network, Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_pins import Pins, Taken, pool_of
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_pins import wanting as wanting_pins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import Allotment


class Entry(NamedTuple):
    """A block in the ledger. A node's block of order 0 is the first of its family: its tunnel address comes from it."""

    network: Network
    pool: str
    node: str
    order: int = 0
    released: int | None = None  # seconds since 1970 when the node left; None while it owns the block
    identity: str | None = None  # the name that its hardware addresses come from, where that was told (ledger_nodes)

    @property
    def span(self) -> tuple[int, int, int]:
        """Family, first and last address: what blocks are sorted and compared by."""
        return (self.network.version, int(self.network.network_address), int(self.network.broadcast_address))


@dataclass(frozen=True)
class Ledger:
    """All blocks ever handed out and not handed on, in the order of their addresses; and what services have."""

    cluster: str
    entries: tuple[Entry, ...] = ()
    services: tuple[Allotment, ...] = ()  # what services have, in the order that ledger_services writes


class Shortage(NamedTuple):
    """Nodes that got no block of a family, and why."""

    family: int
    nodes: tuple[str, ...]
    held: int
    resting: int
    rested: int | None  # when the first resting block becomes free


class Settlement(NamedTuple):
    """The ledger after a run, and what stood in the way."""

    ledger: Ledger
    strays: tuple[Entry, ...] = ()  # owned blocks that fit no pool any more
    shortages: tuple[Shortage, ...] = ()
    taken: tuple[Taken, ...] = ()  # blocks that the operator gives to nodes, and that others have


class Store(Protocol):
    """Where a ledger is kept."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def read(self) -> Ledger:
        """Return the ledger as it is."""

    def update(self, transition: Callable[[Ledger], Ledger]) -> tuple[Ledger, Ledger]:
        """Apply a transition with nobody in between; return the ledger before and after.

        A store that compares instead of locking may call the transition several times. When it raises, nothing is
        written.
        """


def settle(
    ledger: Ledger,
    nodes: Sequence[str],
    pools: Sequence[Pool],
    now: int,
    rest: int,
    wants: Mapping[str, int] | None = None,
    grown: Mapping[tuple[str, int], int] | None = None,
    pins: Pins | None = None,
) -> Settlement:
    """Give every node of the inventory its blocks of each family that the pools have; let those of other nodes rest.

    :param wants: how many blocks of a family a node has, by node; one for those that are not in it. None is taken back
    :param grown: how many it has of a family, by node and family, as far as there are free ones when all have theirs
    :param pins: blocks that nodes are to have, checked against the pools
    """
    present = set(nodes)
    entries = [
        entry._replace(released=now) if entry.released is None and entry.node not in present else entry
        for entry in ledger.entries
    ]
    entries = _rejoin(entries, present, pools)
    strays = tuple(entry for entry in entries if entry.released is None and not _fits(entry, pools))
    wanting = _rounds(nodes, wants or {})
    orders: dict[tuple[str, int], list[int]] = defaultdict(list)
    identities: dict[str, str | None] = {}
    for entry in entries:
        if entry.released is None:
            orders[entry.node, entry.network.version].append(entry.order)
            identities[entry.node] = entry.identity or identities.get(entry.node)

    new: list[Entry] = []

    def give(node: str, block: Block) -> None:
        orders_of = orders[node, block.network.version]
        order = max(orders_of, default=-1) + 1
        orders_of.append(order)
        new.append(Entry(block.network, block.pool, node, order, identity=identities.get(node)))

    pinned, taken = wanting_pins(entries, pins or {}, present, lambda entry: _rests(entry, now, rest))
    for node, network in pinned:
        give(node, Block(network, pool_of(network, pools)))
    more = [(number, node, family) for (node, family), number in (grown or {}).items() if node in present]
    shortages: list[Shortage] = []
    for family in sorted({pool.family for pool in pools}):
        free = _free_blocks(family, [*entries, *new], pools, now, rest)
        without: dict[str, None] = {}
        for number, node, needed in [
            *((number, node, True) for number, node in wanting),
            *((number, node, False) for number, node, of in more if of == family),
        ]:
            if len(orders[node, family]) < number:
                block = next((block for pool, gaps in free if pool.serves(node) for block in gaps), None)
                if block is not None:
                    give(node, block)
                elif needed:
                    without[node] = None
        if without:
            shortages.append(_shortage(family, list(without), entries + new, now, rest))
    settled = sorted(_without_taken(entries, new) + new, key=lambda entry: entry.span)
    ledger = replace(ledger, entries=tuple(settled))
    return Settlement(ledger, strays, tuple(shortages), tuple(taken))


def blocks_by_node(ledger: Ledger) -> dict[str, tuple[Block, ...]]:
    """Return the blocks that nodes own: IPv4 before IPv6, the first of a family first."""
    owned: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.released is None:
            owned[entry.node].append(entry)
    return {
        node: tuple(
            Block(entry.network, entry.pool)
            for entry in sorted(entries, key=lambda entry: (entry.network.version, entry.order))
        )
        for node, entries in owned.items()
    }


def usage_by_pool(ledger: Ledger, now: int, rest: int) -> Mapping[str, tuple[int, int]]:
    """Return how many blocks of each pool are owned and how many rest."""
    usage: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for entry in ledger.entries:
        held, resting = usage[entry.pool]
        usage[entry.pool] = (held + (entry.released is None), resting + _rests(entry, now, rest))
    return dict(usage)


def reserved_by_pool(ledger: Ledger, pools: Sequence[Pool], now: int, rest: int) -> Mapping[str, int]:
    """Return how many blocks of each pool are reserved, without those that a node had before they were."""
    reserved = {}
    for pool in pools:
        withheld = pool.withheld
        blocks = sum(1 << (pool.block_size - part.prefixlen) for part in withheld)
        had = [
            entry
            for entry in (ledger.entries if withheld else ())
            if entry.pool == pool.name and (entry.released is None or _rests(entry, now, rest))
        ]
        reserved[pool.name] = blocks - sum(any(entry.network.overlaps(part) for part in withheld) for entry in had)
    return reserved


def _rounds(nodes: Sequence[str], wants: Mapping[str, int]) -> list[tuple[int, str]]:
    """Return the nodes with a number of blocks to have by then: the first block of each goes before any second one."""
    rounds = [(1, node) for node in nodes]
    for number in range(2, max(wants.values(), default=1) + 1):
        rounds += [(number, node) for node in nodes if wants.get(node, 1) >= number]
    return rounds


def _rejoin(entries: list[Entry], present: set[str], pools: Sequence[Pool]) -> list[Entry]:
    """Give nodes that are back what they had when they left last."""
    owning = {(entry.node, entry.network.version) for entry in entries if entry.released is None}
    latest: dict[tuple[str, int], int] = {}
    for entry in entries:
        whose = (entry.node, entry.network.version)
        # Not when the node has got another block since: its pool may have been away when it came back.
        if entry.released is not None and entry.node in present and whose not in owning and _fits(entry, pools):
            latest[whose] = max(entry.released, latest.get(whose, 0))
    back: set[tuple[str, int, int]] = set()

    def returned(entry: Entry) -> Entry:
        whose = (entry.node, entry.network.version)
        if entry.released is None or entry.released != latest.get(whose) or not _fits(entry, pools):
            return entry
        if (*whose, entry.order) in back:
            return entry
        back.add((*whose, entry.order))
        return entry._replace(released=None)

    return [returned(entry) for entry in entries]


def _fits(entry: Entry, pools: Sequence[Pool]) -> bool:
    return any(
        pool.name == entry.pool
        and pool.family == entry.network.version
        and pool.block_size == entry.network.prefixlen
        and entry.network.subnet_of(pool.network)  # type: ignore[arg-type]  # the families are equal
        for pool in pools
    )


def _rests(entry: Entry, now: int, rest: int) -> bool:
    return entry.released is not None and now - entry.released < rest


def _free_blocks(
    family: int, entries: Sequence[Entry], pools: Sequence[Pool], now: int, rest: int
) -> list[tuple[Pool, Iterator[Block]]]:
    """Return the family's pools with their free blocks, lowest first."""
    taken = [
        entry.span
        for entry in entries
        if entry.network.version == family and (entry.released is None or _rests(entry, now, rest))
    ]
    mine = [pool for pool in pools if pool.family == family]
    taken += [
        (family, int(part.network_address), int(part.broadcast_address)) for pool in mine for part in pool.withheld
    ]
    taken.sort()
    return [(pool, _gaps(pool, taken)) for pool in mine]


def _gaps(pool: Pool, taken: Sequence[tuple[int, int, int]]) -> Iterator[Block]:
    size = 1 << (pool.network.max_prefixlen - pool.block_size)
    at = int(pool.network.network_address)
    end = int(pool.network.broadcast_address)
    make = ipaddress.IPv4Network if pool.family == 4 else ipaddress.IPv6Network
    index = 0
    while at <= end:
        while index < len(taken) and taken[index][2] < at:
            index += 1
        if index < len(taken) and taken[index][1] < at + size:
            # Blocks of an earlier block size may be larger or smaller: go on at the next multiple of ours.
            at = -(-(taken[index][2] + 1) // size) * size
            continue
        yield Block(make((at, pool.block_size)), pool.name)
        at += size


def _without_taken(entries: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """Drop the rested blocks that have been handed on; those not wanted stay their former nodes'."""
    spans = sorted(entry.span for entry in new)

    def taken(entry: Entry) -> bool:
        # Only the last new block that begins at or before the end of this one can overlap it.
        family, first, last = entry.span
        index = bisect.bisect_right(spans, (family, last, float("inf"))) - 1
        return index >= 0 and spans[index][0] == family and spans[index][2] >= first

    return [entry for entry in entries if entry.released is None or not taken(entry)]


def _shortage(family: int, without: Sequence[str], entries: Sequence[Entry], now: int, rest: int) -> Shortage:
    mine = [entry for entry in entries if entry.network.version == family]
    resting = [entry for entry in mine if _rests(entry, now, rest)]
    return Shortage(
        family,
        tuple(without),
        held=sum(entry.released is None for entry in mine),
        resting=len(resting),
        rested=min((entry.released + rest for entry in resting if entry.released is not None), default=None),
    )
