# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node has to know for policies of its own: the nodes, and what passes whatever the policies say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible_collections.podnet.fabric.plugins.module_utils.policy.failsafe import DEFAULTS, DIRECTIONS, IPIP, NONE
from ansible_collections.podnet.fabric.plugins.plugin_utils import plan_view
from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import DATAPLANES

if TYPE_CHECKING:
    from collections.abc import Mapping

ETCD_CLIENTS, ETCD_PEERS = 2379, 2380
"""The ports of etcd (IANA); the first one is the ledger's when a URL names none."""


def host_policy(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return options of the module host_policy: nodes, interfaces, failsafe and needs.

    :raises NotInPlan: there is no such node
    """
    own = plan_view.node(plan, name)
    settings = plan["settings"]
    return {
        "nodes": [_node(node) for _name, node in sorted(plan["nodes"].items())],
        "interfaces": own.get("host_interfaces", []),
        "failsafe": _failsafe(settings, own),
        "needs": _needs(settings),
    }


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    underlay = node["underlay"]
    second = [underlay["second"]["address"]] if underlay["second"] else []
    return {"name": node["name"], "labels": node.get("labels", {}), "addresses": [underlay["address"], *second]}


def _needs(settings: Mapping[str, Any]) -> list[str]:
    """Tunnels of every dataplane: while a cluster moves from one to another, nodes have both."""
    ports = {settings[dataplane.port] for dataplane in DATAPLANES.values() if dataplane.port}
    # The device that takes turns with the first one when keys are changed.
    ports.add(settings[str(DATAPLANES["wireguard"].port)] + 1)
    etcd = [f"tcp/{ETCD_PEERS}"] if settings["ledger"]["store"] == "etcd" else []
    return [*(f"udp/{port}" for port in sorted(ports)), IPIP, *etcd]


def _failsafe(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """As the inventory says, with BGP, whose routers are no nodes, and etcd, whose members need not be."""
    ports = set()
    if "bgp" in own:
        ports = {settings["bgp"]["port"], *(peer["port"] for peer in own["bgp"]["peers"])}
    ledger = settings["ledger"]
    if ledger["store"] == "etcd":
        ports |= {urlsplit(url).port or ETCD_CLIENTS for url in ledger["endpoints"]}
    network = [f"tcp/{port}" for port in sorted(ports)]
    found = {}
    for direction in DIRECTIONS:
        stated = settings["failsafe_ports"].get(direction, DEFAULTS[direction])
        found[direction] = [*([] if stated == NONE else stated), *network] or NONE
    return found
