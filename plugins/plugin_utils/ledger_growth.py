# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose blocks are full: which of them get one more, by what they have reported, and which must do without.

A node's report counts only where it is about the very blocks that the ledger gives it. So one that has got a block and
does not use it yet gets no second one for the same reason, however often the plan is made, and what a fact cache has
kept of a former time makes nobody grow.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import blocks_by_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger

NEVER = 1
"""A limit with which no node grows."""


class Reported(NamedTuple):
    """What a node says of its blocks, and what the operator says of its growth."""

    blocks: Mapping[str, tuple[int, int]]  # block in CIDR notation: addresses that pods hold, addresses that there are
    full: int  # percent of a family's addresses from which on its blocks are full
    most: int  # blocks of a family up to which the node grows


class Full(NamedTuple):
    """A node whose blocks of a family are full."""

    node: str
    family: int
    blocks: int
    used: int
    capacity: int


def read(facts: Mapping[str, Any], rules: Mapping[str, Any]) -> Reported:
    """Return what there is to know of a node.

    :param facts: those that podnet.fabric.node_facts gave, checked
    :param rules: podnet_growth
    """
    told = {
        str(ipaddress.ip_network(one["block"])): (one["used"], one["capacity"]) for one in facts.get("blocks") or ()
    }
    return Reported(told, rules["full"], rules["blocks"])


def more(ledger: Ledger, reports: Mapping[str, Reported]) -> dict[tuple[str, int], int]:
    """Return how many blocks of a family nodes are to have that get one more, by node and family."""
    return {
        (full.node, full.family): full.blocks + 1
        for full in _full(ledger, reports)
        if full.blocks < reports[full.node].most
    }


def warnings(ledger: Ledger, reports: Mapping[str, Reported]) -> list[str]:
    """Return a line for each node whose blocks are full in a ledger that was settled, with the reason.

    :param reports: of the nodes of the inventory
    """
    return [
        f"{full.node}: its IPv{full.family} blocks are full ({full.used} of {full.capacity} addresses), and "
        + (
            f"it has as many as podnet_growth.blocks lets it grow to ({reports[full.node].most}); raise that, set "
            f"podnet_blocks: {full.blocks + 1} for it, or move pods away"
            if full.blocks >= reports[full.node].most
            else "no pool has a free one for it; add a pool, or enlarge one"
        )
        for full in _full(ledger, reports)
        if reports[full.node].most > NEVER
    ]


def _full(ledger: Ledger, reports: Mapping[str, Reported]) -> Iterator[Full]:
    owned = blocks_by_node(ledger)
    for node, report in reports.items():
        for family in (4, 6):
            own = [str(block.network) for block in owned.get(node, ()) if block.network.version == family]
            used, capacity = _sums(own, report)
            if capacity and 100 * used >= report.full * capacity:
                yield Full(node, family, len(own), used, capacity)


def _sums(own: Sequence[str], report: Reported) -> tuple[int, int]:
    """Return addresses used and all in a node's blocks; none where it does not know them all."""
    if any(block not in report.blocks for block in own):
        return 0, 0
    return sum(report.blocks[block][0] for block in own), sum(report.blocks[block][1] for block in own)
