# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NetworkPolicy documents mean, read straight off them: slow, plain, and with nothing of the compiler in it.

Written after the reference of networking.k8s.io/v1; it answers one question at a time and keeps nothing.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Document = dict[str, Any]


class Question(NamedTuple):
    """May this begin? Addresses as text, the protocol in capitals."""

    source: str
    destination: str
    protocol: str
    port: int


class Cluster(NamedTuple):
    """Policies, endpoints as the module takes them, and the labels of the namespaces that have any."""

    policies: Sequence[Document]
    endpoints: Sequence[Document]
    namespaces: Mapping[str, Mapping[str, str]]


def allows(cluster: Cluster, question: Question, *, from_own_node: bool) -> bool:
    """Whether the flow may begin.

    :param from_own_node: it comes from the node that the destination is on, which no policy stops
    """
    if question.source == question.destination:
        return True
    sender, receiver = (holder(cluster, address) for address in question[:2])
    leaves = sender is None or passes(cluster, "Egress", sender, receiver, question)
    arrives = receiver is None or from_own_node or passes(cluster, "Ingress", receiver, sender, question)
    return leaves and arrives


def holder(cluster: Cluster, address: str) -> Document | None:
    """The endpoint with an address."""
    for endpoint in cluster.endpoints:
        if address in endpoint["addresses"]:
            return endpoint
    return None


def passes(cluster: Cluster, direction: str, own: Document, peer: Document | None, question: Question) -> bool:
    """Whether an endpoint's policies let it through in a direction: one of them suffices, and none is no hindrance."""
    governing = [policy for policy in cluster.policies if governs(policy, direction, own)]
    if not governing:
        return True
    return any(
        rule_allows(cluster, policy, rule, direction, own, peer, question)
        for policy in governing
        for rule in policy["spec"].get(direction.lower()) or []
    )


def governs(policy: Document, direction: str, endpoint: Document) -> bool:
    spec = policy["spec"]
    if (policy["metadata"].get("namespace") or "default") != endpoint["namespace"]:
        return False
    if not selects(spec.get("podSelector") or {}, endpoint["labels"]):
        return False
    types = spec.get("policyTypes")
    if types:
        return direction in types
    return direction == "Ingress" or bool(spec.get("egress"))


def rule_allows(
    cluster: Cluster,
    policy: Document,
    rule: Document,
    direction: str,
    own: Document,
    peer: Document | None,
    question: Question,
) -> bool:
    """A peer and a port of the rule must both fit. A named port is the receiving pod's, so an ipBlock knows none."""
    address, receiver = (question.source, own) if direction == "Ingress" else (question.destination, peer)
    peers = rule.get("from" if direction == "Ingress" else "to") or [None]
    ports = rule.get("ports") or [None]
    for each in peers:
        if each is not None and not peer_fits(cluster, policy, each, peer, address):
            continue
        nameless = direction == "Egress" and each is not None and "ipBlock" in each
        for port in ports:
            if port is None or port_fits(port, None if nameless else receiver, question):
                return True
    return False


def peer_fits(cluster: Cluster, policy: Document, wanted: Document, peer: Document | None, address: str) -> bool:
    if "ipBlock" in wanted:
        here = ipaddress.ip_address(address)
        outside = wanted["ipBlock"].get("except") or []
        return here in ipaddress.ip_network(wanted["ipBlock"]["cidr"]) and not any(
            here in ipaddress.ip_network(network) for network in outside
        )
    if peer is None:
        return False
    if wanted.get("namespaceSelector") is None:
        inside = peer["namespace"] == (policy["metadata"].get("namespace") or "default")
    else:
        labels = {**cluster.namespaces.get(peer["namespace"], {}), "kubernetes.io/metadata.name": peer["namespace"]}
        inside = selects(wanted["namespaceSelector"], labels)
    return inside and selects(wanted.get("podSelector") or {}, peer["labels"])


def port_fits(wanted: Document, receiver: Document | None, question: Question) -> bool:
    if (wanted.get("protocol") or "TCP") != question.protocol:
        return False
    number = wanted.get("port")
    if number is None:
        return True
    if isinstance(number, str):
        ports = receiver["ports"] if receiver else []
        return any(
            (port["name"], port["protocol"], port["port"]) == (number, question.protocol, question.port)
            for port in ports
        )
    return bool(number <= question.port <= (wanted.get("endPort") or number))


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, operator = expression["key"], expression["operator"]
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
        if operator == "In" and (key not in labels or labels[key] not in expression["values"]):
            return False
        # "NotIn" holds for an absent key.
        if operator == "NotIn" and key in labels and labels[key] in expression["values"]:
            return False
    return True
