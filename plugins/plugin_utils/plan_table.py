# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan drawn for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn
from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import DATAPLANES

if TYPE_CHECKING:
    from collections.abc import Mapping

NODES = ("node", "underlay", "interface", "second", "block", "gateway", "tunnel end")
POOLS = ("pool", "range", "blocks of", "owned", "resting", "reserved", "free", "NAT outward")


def lines(plan: Mapping[str, Any]) -> list[str]:
    """Return the plan as lines: the cluster, the pools, the nodes."""
    overhead = plan["overhead"]
    mtu = plan["mtu"] if plan["mtu"] is not None else f"that of the underlay less {overhead}"
    head = [
        f"cluster {plan['cluster']}: {len(plan['nodes'])} nodes, {_dataplane(plan['settings'])}",
        f"MTU of the pods: {mtu} (the dataplane takes {overhead} bytes)",
        f"ledger: {plan['ledger']}",
    ]
    pools = [_pool(pool) for pool in plan["pools"]]
    nodes = [row for node in plan["nodes"].values() for row in _node(node)]
    return [*head, "", *drawn(pools, POOLS), "", *drawn(nodes, NODES)]


def _dataplane(settings: Mapping[str, Any]) -> str:
    dataplane = DATAPLANES[settings["dataplane"]]
    parts = [dataplane.name]
    if dataplane.vni is not None:
        parts.append(f"VNI {settings[dataplane.vni]}")
    if dataplane.port is not None:
        parts.append(f"UDP port {settings[dataplane.port]}")
    if dataplane.tunnels:
        parts.append(f"encapsulation {settings['encapsulation']}")
    return ", ".join(parts)


def _pool(pool: Mapping[str, Any]) -> tuple[str, ...]:
    blocks = pool["blocks"]
    free = blocks["total"] - blocks["held"] - blocks["resting"] - blocks["reserved"]
    return (
        pool["name"],
        pool["cidr"],
        f"/{pool['block_size']}",
        f"{blocks['held']} of {blocks['total']}",
        str(blocks["resting"]),
        str(blocks["reserved"]),
        str(free),
        "yes" if pool["nat_outgoing"] else "no",
    )


def _node(node: Mapping[str, Any]) -> list[tuple[str, ...]]:
    blocks = [(block["cidr"], block["gateway"]) for block in node["blocks"]] or [("", "")]
    rows: list[tuple[str, ...]] = [("", "", "", "", *block, "") for block in blocks]
    underlay = node["underlay"]
    second = underlay["second"]["address"] if underlay["second"] is not None else ""
    rows[0] = (node["name"], underlay["address"], underlay["interface"], second, *blocks[0], node["vtep_mac"])
    return rows
