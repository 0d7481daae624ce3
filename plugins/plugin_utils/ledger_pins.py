# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks that the operator gives to a node by name (podnet_node_blocks): whether that can be, and what it does."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Network, Pool
    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Entry

VARIABLE = "podnet_node_blocks"

# Networks by node, in the operator's order.
Pins = dict[str, tuple["Network", ...]]


class Taken(NamedTuple):
    """A block that a node is to have and cannot, because of what the ledger has."""

    node: str
    network: Network
    by: Entry


def read(values: Mapping[str, Sequence[str]]) -> Pins:
    """Return the networks by node."""
    return {node: tuple(map(ipaddress.ip_network, texts)) for node, texts in values.items() if texts}


def problems(pins: Pins, pools: Sequence[Pool]) -> list[Problem]:
    """Check them against the pools and against each other."""
    found = []
    owners: dict[Network, list[str]] = defaultdict(list)
    for node, networks in pins.items():
        for index, network in enumerate(networks):
            owners[network].append(node)
            found += _misplaced(f"{VARIABLE}[{index}] ({node})", node, network, pools)
    for network, nodes in owners.items():
        if len(nodes) > 1:
            path = f"{VARIABLE} ({names(nodes)})"
            found.append(Problem(path, f"{network} more than once", "each block for one node", "remove it but once"))
    return found


def taken_problems(taken: Sequence[Taken], rested: Callable[[int], str]) -> list[Problem]:
    """Say why nodes do not get their blocks.

    :param rested: the text for when a block that was released at a time has rested
    """
    return [
        Problem(
            f"{VARIABLE} ({one.node})",
            f"{one.network}, but {one.by.network} "
            + (
                f"is {one.by.node}'s"
                if one.by.released is None
                else f"of {one.by.node} rests until {rested(one.by.released)}"
            ),
            "a block that no other node has",
            "name another one, or take that node out of the inventory and let its block rest (podnet_block_rest)",
        )
        for one in taken
    ]


def wanting(
    entries: Sequence[Entry], pins: Pins, present: set[str], rests: Callable[[Entry], bool]
) -> tuple[list[tuple[str, Network]], list[Taken]]:
    """Return the blocks that nodes are to get and can, and those that they cannot.

    :param rests: whether a block must not be handed on yet
    """
    lacking = []
    taken = []
    for node, networks in pins.items():
        for network in networks if node in present else ():
            near = [entry for entry in entries if entry.network.version == network.version]
            near = [entry for entry in near if entry.network.overlaps(network)]
            if any(entry.network == network and entry.node == node and entry.released is None for entry in near):
                continue
            # What the node itself has left there is its own to take up again.
            held = (entry for entry in near if entry.released is None or (entry.node != node and rests(entry)))
            blocker = next(held, None)
            if blocker is None:
                lacking.append((node, network))
            else:
                taken.append(Taken(node, network, blocker))
    return lacking, taken


def pool_of(network: Network, pools: Sequence[Pool]) -> str:
    """Return the name of the pool that a checked block lies in."""
    return next(pool.name for pool in pools if _holds(pool, network))


def _holds(pool: Pool, network: Network) -> bool:
    return pool.family == network.version and network.subnet_of(pool.network)  # type: ignore[arg-type]  # of one family


def _misplaced(path: str, node: str, network: Network, pools: Sequence[Pool]) -> list[Problem]:
    pool = next((pool for pool in pools if _holds(pool, network)), None)
    if pool is None:
        of = names([str(pool.network) for pool in pools])
        return [Problem(path, str(network), f"a block of one of podnet_pools ({of})", "correct it, or add a pool")]
    if network.prefixlen != pool.block_size:
        wanted = f"a block of /{pool.block_size}, as {pool.path} has them"
        return [Problem(path, str(network), wanted, "name blocks of that size, as many as it takes")]
    if not pool.serves(node):
        wanted = f"a block of a pool that serves {node}"
        return [Problem(path, f"{network} of {pool.path}", wanted, f"add {node} to {pool.path}.nodes")]
    reserved = next((part for part in pool.withheld if part.overlaps(network)), None)
    if reserved is not None:
        found = f"{network}, which {pool.path}.reserved keeps from all nodes ({reserved})"
        return [Problem(path, found, "a block that is not reserved", "take it out of reserved, or name another one")]
    return []
