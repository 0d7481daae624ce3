# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out what attach/table.py goes by, from the declaration whose policies are in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import stamp
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.backends import DEFAULT
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Policy, Selector


def tabulated(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The table for a declaration's item; None where every pod takes a reconcile.

    With eBPF programs come before each interface of a pod, and with antispoofing by iptables rules for each; nftables
    has elements for it.
    """
    if item["backend"] == "ebpf" or (item.get("antispoofing") and item["backend"] != DEFAULT):
        return None
    policies = [documents.read(document) for document in item["policies"]]
    return {
        "stamp": stamp(),
        "senders": item["bridge"] if item.get("antispoofing") else None,
        "claimed": sorted(
            {name for each in item["endpoints"] if each["node"] == item["node"] for name in each.get("interfaces", ())}
            - {item["bridge"]}
        ),
        "namespaces": item["namespaces"],
        "stated": {
            f"{each['namespace']}/{each['name']}": {"labels": each.get("stated", {}), "ports": bool(each["ports"])}
            for each in item["endpoints"]
            if each.get("stated") or each["ports"]
        },
        "held": {
            address: f"{each['namespace']}/{each['name']}"
            for each in item["endpoints"]
            if each["node"] == item["node"]
            for address in each["addresses"]
        },
        "members": [
            *([policy.namespace, None, _plain(policy.selector)] for policy in policies),
            *(each for policy in policies for each in _peers(policy)),
        ],
    }


def _peers(policy: Policy) -> list[Any]:
    """The pods that a policy's rules mean: all there are in rules without peers by the names of ports."""
    found: list[Any] = []
    for rule in (*(policy.ingress or ()), *(policy.egress or ())):
        if rule.peers is None and any(port.name for port in rule.ports or ()):
            found.append([policy.namespace, [], []])
        for peer in rule.peers or ():
            if isinstance(peer, documents.PodPeer):
                namespaces = None if peer.namespaces is None else _plain(peer.namespaces)
                found.append([policy.namespace, namespaces, _plain(peer.pods)])
    return found


def _plain(selector: Selector) -> list[Any]:
    return [[each.key, each.operator, sorted(each.values)] for each in selector]
