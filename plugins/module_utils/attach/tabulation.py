# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out what attach/table.py goes by, from the declaration whose policies are in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import stamp
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.nftables import FAMILIES, PREFIX, set_name
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.backends import Enforced
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Guard
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Policy, Selector


def tabulated(item: Mapping[str, Any], enforced: Enforced) -> dict[str, Any] | None:
    """The table for a declaration's item; None where every pod takes a reconcile.

    With eBPF programs come before each interface of a pod. A policy that goes by the names of ports goes by more than
    labels.
    """
    policies = [documents.read(document) for document in item["policies"]]
    if item["backend"] == "ebpf" or any(map(_names_ports, policies)):
        return None
    compiled, guarded = enforced.compiled, enforced.guarded
    families = {family for endpoint in guarded for family in endpoint.addresses}
    return {
        "stamp": stamp(),
        "backend": item["backend"],
        "families": sorted(map(str, families)),
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
        "policies": _by_namespace(policies),
        "guards": sorted(compiled.guards),
        "maps": sorted(
            {
                f"{PREFIX}{direction.lower()}{family}"
                for direction, before in compiled.before.items()
                for endpoint in guarded
                if (endpoint.namespace, endpoint.name) in before
                for family in endpoint.addresses
            }
        ),
        "peers": [each for guard in compiled.guards.values() for each in _peers(guard, families)],
    }


def _names_ports(policy: Policy) -> bool:
    rules = (*(policy.ingress or ()), *(policy.egress or ()))
    return any(port.name for rule in rules for port in rule.ports or ())


def _by_namespace(policies: list[Policy]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for policy in sorted(policies, key=lambda each: (each.namespace, each.name)):
        rules = ((INGRESS, policy.ingress), (EGRESS, policy.egress))
        found.setdefault(policy.namespace, []).append(
            {
                "selector": _plain(policy.selector),
                "words": f"{policy.namespace}/{policy.name} {policy.digest}",
                "directions": [direction for direction, some in rules if some is not None],
            }
        )
    return found


def _peers(guard: Guard, families: set[int]) -> list[Any]:
    """The sets of a guard's peers by family, each with who is in them."""
    return [
        [
            {
                str(family): set_name(guard.identity, allowance.ports, family, plain=True)
                for family in FAMILIES
                if family in families
            },
            [
                [namespace, None if peer.namespaces is None else _plain(peer.namespaces), _plain(peer.pods)]
                for namespace, peer in sorted(allowance.selectors, key=repr)
            ],
        ]
        for allowance in guard.allowances
        if allowance.selectors
    ]


def _plain(selector: Selector) -> list[Any]:
    return [[each.key, each.operator, sorted(each.values)] for each in selector]
