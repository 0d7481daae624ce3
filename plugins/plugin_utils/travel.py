# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How packets of each family get from one node of the plan to another: as they are, or inside which others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import on_link
from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import DATAPLANES, Dataplane

# A peer (underlay and second address as text, subnets) -> whether the way to it is direct, and whether its second
# address is on-link.
Sight = Callable[[Mapping[str, Any]], "tuple[bool, bool]"]
# The name of a node and an address family -> what podnet.fabric.reachability takes as the encapsulation of a target.
Way = Callable[[str, int], "dict[str, Any]"]

# IP in IP has a name of its own for each family.
_TYPES = {("ipip", 6): "ip6ip6"}


def sight(plan: Mapping[str, Any], own: Mapping[str, Any]) -> Sight:
    """Return what a node of the plan sees of a peer."""
    settings = plan["settings"]
    dataplane = DATAPLANES[settings["dataplane"]]
    mine = _by_family(_bare(own))
    first, other = own["family"], 10 - own["family"]
    # What carries both families goes direct with those that it can; the others need all that the pods have.
    needed = {first} if dataplane.carries_both else {first, *(pool["family"] for pool in plan["pools"])}

    def never(_peer: Mapping[str, Any]) -> tuple[bool, bool]:
        return False, False

    def seen(peer: Mapping[str, Any]) -> tuple[bool, bool]:
        theirs = _by_family(peer)
        shared = {
            family for family, foothold in mine.items() if family in theirs and on_link.share(foothold, theirs[family])
        }
        return needed <= shared, other in shared

    return seen if dataplane.may_go_direct(settings["encapsulation"]) else never


def ways(plan: Mapping[str, Any], name: str) -> Way:
    """Return how packets of a node's pods travel to those of the others."""
    settings, nodes = plan["settings"], plan["nodes"]
    dataplane = DATAPLANES[settings["dataplane"]]
    own = nodes[name]
    seen = sight(plan, own)

    def way(peer: str, family: int) -> dict[str, Any]:
        theirs = _bare(nodes[peer])
        direct, second_on_link = seen(theirs)
        # Packets of the family that the nodes are named by need no second address.
        if not dataplane.tunnels or (direct and (family == own["family"] or second_on_link)):
            return {"type": "direct"}
        outer = own["family"] if dataplane.carries_both else family
        return {
            "type": _TYPES.get((dataplane.name, family), dataplane.name),
            **_numbers(dataplane, settings),
            "outer_src": _address(_bare(own), outer),
            "outer_dst": _address(theirs, outer),
        }

    return way


def _numbers(dataplane: Dataplane, settings: Mapping[str, Any]) -> dict[str, Any]:
    found = {"vni": dataplane.vni, "port": dataplane.port}
    return {key: settings[setting] for key, setting in found.items() if setting is not None}


def _bare(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node in the form of a peer."""
    underlay = node["underlay"]
    second = underlay["second"]
    return {
        "underlay": underlay["address"],
        "second": None if second is None else second["address"],
        "subnets": node["subnets"],
    }


def _address(peer: Mapping[str, Any], family: int) -> str | None:
    """Return the address of a family, None when it is not known."""
    return _by_family(peer).get(family, (None, ""))[0]


def _by_family(peer: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """Return address and subnet by address family."""
    subnets = {":" in subnet: subnet for subnet in peer["subnets"]}
    return {
        6 if ":" in address else 4: (address, subnets.get(":" in address, ""))
        for address in (peer["underlay"], peer["second"])
        if address
    }
