# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NetworkPolicy documents (``networking.k8s.io/v1``) as typed values, their defaults filled in.

The documents have been checked on the controller (plugin_utils/policy_check.py). What does not look like one here has
been edited since, and is a DeclarationError.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges, of_networks, without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INGRESS, EGRESS = "Ingress", "Egress"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that every namespace carries (KEP-2161)."""

MAX_PORT = 65535


class Requirement(NamedTuple):
    """A label must (In, Exists) or must not (NotIn, DoesNotExist) be one of some values, or be there."""

    key: str
    operator: str
    values: frozenset[str]

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are so. NotIn holds for an absent key (labels.Requirement.Matches of Kubernetes)."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        return (value is not None) == (self.operator == "Exists")


Selector = tuple[Requirement, ...]
"""All of them must hold; an empty one selects everything."""


class PodPeer(NamedTuple):
    """Pods by their labels, in namespaces by theirs; None is the policy's own namespace."""

    namespaces: Selector | None
    pods: Selector


class IPBlock(NamedTuple):
    """The addresses of a prefix less those of others, by family."""

    ranges: Mapping[int, Ranges]


Peer = Union[PodPeer, IPBlock]


class Port(NamedTuple):
    """Ports from ``first`` to ``last`` of a protocol (tcp, udp, sctp), or the one that a pod has given ``name``."""

    protocol: str
    first: int
    last: int
    name: str = ""


class Rule(NamedTuple):
    """What is allowed; None is every peer, and every protocol and port."""

    peers: tuple[Peer, ...] | None
    ports: tuple[Port, ...] | None


class Policy(NamedTuple):
    """One policy. Of a direction that is None it says nothing; of one without rules it allows nothing.

    ``digest`` is of what it says: another one with its name is told from it.
    """

    namespace: str
    name: str
    selector: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    digest: str


def holds(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a selector selects something with these labels."""
    return all(requirement.holds(labels) for requirement in selector)


def read(document: Mapping[str, Any]) -> Policy:
    """A policy out of its document.

    :raises DeclarationError: it is none
    """
    try:
        return _policy(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no NetworkPolicy ({error}); run the playbook again") from error


def _policy(document: Mapping[str, Any]) -> Policy:
    metadata, spec = document["metadata"], document["spec"]
    # SetDefaults_NetworkPolicy of Kubernetes: without policyTypes, egress counts when it has rules.
    types = spec.get("policyTypes") or [INGRESS, *([EGRESS] if spec.get("egress") else [])]
    return Policy(
        str(metadata.get("namespace") or "default"),
        str(metadata["name"]),
        _selector(spec.get("podSelector") or {}),
        _rules(spec.get("ingress"), "from") if INGRESS in types else None,
        _rules(spec.get("egress"), "to") if EGRESS in types else None,
        hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest(),
    )


def _rules(rules: Iterable[Mapping[str, Any]] | None, peers: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(map(_peer, rule[peers])) if rule.get(peers) else None,
            tuple(map(_port, rule["ports"])) if rule.get("ports") else None,
        )
        for rule in rules or ()
    )


def _peer(peer: Mapping[str, Any]) -> Peer:
    block = peer.get("ipBlock")
    if block is not None:
        inside, outside = of_networks([block["cidr"]]), of_networks(block.get("except") or ())
        return IPBlock({family: without(ranges, outside.get(family, ())) for family, ranges in inside.items()})
    namespaces = peer.get("namespaceSelector")
    return PodPeer(None if namespaces is None else _selector(namespaces), _selector(peer.get("podSelector") or {}))


def _port(port: Mapping[str, Any]) -> Port:
    protocol, number = str(port.get("protocol") or "TCP").lower(), port.get("port")
    if number is None:
        return Port(protocol, 0, MAX_PORT)
    if isinstance(number, str):
        return Port(protocol, 0, 0, number)
    return Port(protocol, int(number), int(port.get("endPort") or number))


def _selector(selector: Mapping[str, Any]) -> Selector:
    labels = (selector.get("matchLabels") or {}).items()
    wanted = [Requirement(str(key), "In", frozenset([str(value)])) for key, value in labels]
    for expression in selector.get("matchExpressions") or ():
        values = frozenset(map(str, expression.get("values") or ()))
        wanted.append(Requirement(str(expression["key"]), str(expression["operator"]), values))
    return tuple(sorted(wanted, key=lambda each: (each.key, each.operator, sorted(each.values))))
