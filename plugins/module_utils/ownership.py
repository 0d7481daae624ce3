# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks by which this collection knows what is its own. Nothing without one is ever changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link

PROTOCOL = 84
"""Routes, rules and nexthop objects carry this protocol number, free in iproute2's rt_protos."""

GROUP = 84
"""Links carry this group: the message that creates a link can carry it, unlike an alias, so none is without a mark."""

NEXTHOP_IDS = range(0x54000000, 0x55000000)
"""Nexthop objects take their ids from here: 0x54 is 84."""

DATAPLANES = ("vxlan", "geneve", "ipip", "wireguard", "host_gw", "bgp")
"""The kinds that carry packets between nodes: one at a time, and two while a node moves from one to another."""

FILE_HEADER = "# Managed by podnet.fabric; changes are overwritten\n"
"""Text files begin with this line. A CNI configuration, being JSON, carries the key ``podnet`` instead."""


def alias(kind: str) -> str:
    """The alias of a link of this kind."""
    return f"podnet:{kind}"


def marked(link: Link) -> bool:
    """Whether a link was made by this collection, for whichever kind."""
    return link.alias.startswith(alias("")) or (link.group == GROUP and not link.alias)


def is_ours(link: Link, kind: str) -> bool:
    """Whether a link was made by this collection for this kind."""
    return link.alias == alias(kind) or (link.group == GROUP and not link.alias)
