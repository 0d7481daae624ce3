# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out what attach/table.py goes by, from the declaration whose policies are in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import stamp
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import nftables
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import DEFAULT
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import SEPARATE, numbered
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import INGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.backends import Enforced
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Compiled, Guard
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Policy, Rule, Selector


def tabulated(item: Mapping[str, Any], enforced: Enforced) -> dict[str, Any] | None:
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
        "selecting": [[policy.namespace, None, _plain(policy.selector)] for policy in policies],
        "peers": [each for policy in policies for each in _peers(policy, item["backend"], enforced.compiled)],
    }


def _peers(policy: Policy, backend: str, compiled: Compiled) -> list[Any]:
    """The pods that a policy's rules mean, with the sets by family that they are in; None where it takes more."""
    if backend != DEFAULT:
        rules = (*(policy.ingress or ()), *(policy.egress or ()))
        return [[member, None] for rule in rules for member in _members(policy, rule)]
    found: list[Any] = []
    whose = f"{policy.namespace}/{policy.name}"
    # What is said of no pod of this node does not matter here.
    for guard in compiled.guards.values():
        if whose in guard.policies:
            for rule in (policy.ingress if guard.direction == INGRESS else policy.egress) or ():
                sets = _sets(guard, whose, rule)
                if sets != {}:
                    found += ([member, sets] for member in _members(policy, rule))
    return found


def _members(policy: Policy, rule: Rule) -> list[Any]:
    """The pods that a rule means: all there are in one without peers by the names of ports."""
    found: list[Any] = []
    if rule.peers is None and any(port.name for port in rule.ports or ()):
        found.append([policy.namespace, [], []])
    for peer in rule.peers or ():
        if isinstance(peer, documents.PodPeer):
            namespaces = None if peer.namespaces is None else _plain(peer.namespaces)
            found.append([policy.namespace, namespaces, _plain(peer.pods)])
    return found


def _sets(guard: Guard, whose: str, rule: Rule) -> dict[str, str] | None:
    """The sets that the pods of a rule are in, by family; none where everybody may do what it says."""
    if len(guard.policies) > SEPARATE or any(port.name for port in rule.ports or ()):
        return None
    ports = numbered(rule.ports)
    mine = [each for each in guard.allowances if each.policies == (whose,) and each.ports in (None, ports)]
    if any(each.peers is None for each in mine):
        return {}
    of_pods = [each for each in mine if each.ports == ports and each.pods]
    members = [made.members for made in nftables.rules(guard._replace(allowances=tuple(of_pods))) if made.members]
    # Without a pod so far there is no set either, and with prefixes a pod may change more than an element.
    return {"4" if each.type == nftables.FAMILIES[4][1] else "6": each.name for each in members} or None


def _plain(selector: Selector) -> list[Any]:
    return [[each.key, each.operator, sorted(each.values)] for each in selector]
