# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as one node sees it. Derived when asked for, never stored: n views of n peers would be n squared."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import travel
from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import DATAPLANES

if TYPE_CHECKING:
    from collections.abc import Mapping


class NotInPlan(Exception):
    """The plan knows no node of that name."""


def node(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a node with the addresses of its bridge and of its end of the tunnels."""
    found = _found(plan, name)
    blocks = found["blocks"]
    first: dict[int, str] = {}
    for block in blocks:
        first.setdefault(block["family"], block["cidr"])
    return {
        **found,
        "bridge_addresses": [f"{block['gateway']}/{_split(block['cidr'])[1]}" for block in blocks],
        "vtep_addresses": [f"{_split(cidr)[0]}/{32 if family == 4 else 128}" for family, cidr in first.items()],
    }


def peers(plan: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the other nodes, by name: underlay addresses, hardware address, blocks, and whether the way is direct.

    To a direct peer packets travel as they are, between addresses of their own family; where its second address is not
    in a subnet of this node, a direct peer has none.
    """
    sight = travel.sight(plan, _found(plan, name))
    return [_seen(peer, sight) for peer in json.loads(plan["peers"]) if peer["name"] != name]


def _seen(peer: dict[str, Any], sight: travel.Sight) -> dict[str, Any]:
    direct, second_on_link = sight(peer)
    del peer["subnets"]
    if direct and not second_on_link:
        peer["second"] = None
    peer["direct"] = direct
    return peer


def dataplane(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataplane by name: encapsulation, devices, UDP port and network identifier, None where it has none."""
    settings = plan["settings"]
    found = DATAPLANES[settings["dataplane"]]
    return {
        "name": found.name,
        "encapsulation": settings["encapsulation"],
        "devices": [settings[setting] for setting in found.devices],
        "port": None if found.port is None else settings[found.port],
        "vni": None if found.vni is None else settings[found.vni],
        "overhead": plan["overhead"],
    }


def pools(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pools as a node has to know them."""
    return [{key: pool[key] for key in ("name", "cidr", "nat_outgoing")} for pool in plan["pools"]]


def _found(plan: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    nodes = plan.get("nodes")
    if nodes is None:
        raise NotInPlan(
            "podnet_plan: found no plan, wanted the fact that podnet.fabric.plan sets; run it before, and hand "
            "ansible_facts['podnet_plan'] to the filter"
        )
    if name not in nodes:
        close = difflib.get_close_matches(name, nodes, n=1)
        cure = f"did you mean {close[0]}?" if close else "add it to the group"
        raise NotInPlan(
            f"{name}: found no such node among the {len(nodes)} of the plan, wanted a host of the inventory's group "
            f"podnet, or any host when there is no such group; {cure}"
        )
    found: Mapping[str, Any] = nodes[name]
    return found


def _split(cidr: str) -> tuple[str, str]:
    address, _slash, length = cidr.partition("/")
    return address, length
