# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a node's BGP has to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import plan_view

if TYPE_CHECKING:
    from collections.abc import Mapping


def speaker(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the module bgp takes, but for passwords, which are in no plan.

    :raises plan_view.NotInPlan: no such node, or a plan whose dataplane is another one
    """
    own = plan_view.node(plan, name)
    if "bgp" not in own:
        raise plan_view.NotInPlan(
            f"{name}: found podnet_dataplane {plan['settings']['dataplane']} in the plan, wanted bgp; set it"
        )
    bgp = plan["settings"]["bgp"]
    second = own["underlay"]["second"]
    return {
        "mode": bgp["mode"],
        "port": bgp["port"],
        "routed": bgp["routed"],
        "wait": bgp["wait"],
        "asn": own["bgp"]["as"] or bgp["as"],
        "router_id": _stated(own["bgp"]["router_id"]),
        "reflector": own["bgp"]["reflector"],
        "cluster_id": _stated(own["bgp"]["cluster_id"]),
        "local": own["underlay"]["address"],
        "second_local": second["address"] if second else None,
        "blocks": [block["cidr"] for block in own["blocks"]],
        "pools": [pool["cidr"] for pool in plan["pools"]],
        "peers": [_peer(node, bgp["as"]) for other, node in sorted(plan["nodes"].items()) if other != name],
        "neighbours": [
            {"name": peer["name"], "address": peer["address"], "asn": peer["as"], "port": peer["port"]}
            for peer in own["bgp"]["peers"]
        ],
    }


def _peer(node: Mapping[str, Any], asn: int) -> dict[str, Any]:
    second = node["underlay"]["second"]
    return {
        "name": node["name"],
        "underlay": node["underlay"]["address"],
        "second": second["address"] if second else None,
        "blocks": [block["cidr"] for block in node["blocks"]],
        "asn": node["bgp"]["as"] or asn,
        "reflector": node["bgp"]["reflector"],
    }


def _stated(text: str) -> str | None:
    return None if text == "auto" else text
