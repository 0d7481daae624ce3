# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of compiled services is in the table ``inet podnet``, and what should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import part
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_clients, service_nftables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Table


class Declared(NamedTuple):
    """What an item comes to on this node: the blocks are the node's, the ranges those of services."""

    table: Table
    blocks: Mapping[int, Ranges]
    pods: Mapping[int, Ranges]
    ranges: Mapping[int, Ranges]


_rendered: tuple[Declared, Objects] | None = None


def target(declared: Declared | None, own: frozenset[bytes]) -> Target:
    """Observe, and say what should be.

    :param declared: None when there shall be nothing
    :param own: the node's own addresses
    """
    desired = {} if declared is None else _rendering(declared)
    seen = nft_reading.observe(expected=desired)
    for family in (4, 6):
        key = ("map", f"{service_nftables.STICKY}{family}")
        if declared is not None and key in desired and key in seen[0]:
            # Which clients the kernel remembers, without those whose backend is no longer one of theirs.
            clients = service_clients.Clients(declared.table, declared.blocks.get(family, ()), own, family)
            kept = frozenset(pair for pair in seen[0][key].elements if clients.may_stay(*pair))
            desired = {**desired, key: desired[key]._replace(elements=kept)}
    return part(lambda key: key[1].startswith(service_nftables.PREFIX), desired, seen=seen)


def _rendering(declared: Declared) -> Objects:
    """A run asks twice for the same."""
    global _rendered  # noqa: PLW0603
    if _rendered is None or _rendered[0] is not declared:
        _rendered = (declared, service_nftables.render(*declared))
    return _rendered[1]
