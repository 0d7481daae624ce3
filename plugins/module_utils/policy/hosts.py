# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes as endpoints of policies of their own, for the one compiler that pods' policies have.

They are endpoints in the namespace ``""``. A document's own namespace is that, so its ``podSelector`` selects nodes; a
peer's ``nodeSelector`` means to a policy of nodes what ``podSelector`` alone means to one of pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_ip
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import inspect_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Policy

NAMESPACE = ""
HOSTNAME = "kubernetes.io/hostname"
"""The label that every node carries; its value is the node's name in the inventory."""
KEYS = ("name", "labels", "addresses")


def inspect_nodes(inspection: Inspection, path: str, nodes: Any) -> list[dict[str, Any]]:
    """The nodes of the cluster as they are declared, by name."""
    if not isinstance(nodes, list):
        inspection.refuse(path, repr(nodes), "give a list of nodes")
        return []
    found = {}
    for position, node in enumerate(nodes):
        here = f"{path}[{position}]"
        if not isinstance(node, dict) or not node.get("name") or not isinstance(node["name"], str):
            inspection.refuse(here, repr(node), f"give a mapping with {', '.join(KEYS)}")
            continue
        inspection.unknown(here, map(str, node), KEYS)
        name, labels, addresses = node["name"], node.get("labels") or {}, node.get("addresses") or []
        inspect_node_labels(inspection, f"{here}.labels", labels)
        if name in found:
            inspection.refuse(f"{here}.name", f"{name} again", "give each node once")
        if not isinstance(addresses, list):
            inspection.refuse(f"{here}.addresses", repr(addresses), "give a list of addresses")
            addresses = []
        for number, text in enumerate(addresses):
            inspection.ip(f"{here}.addresses[{number}]", text)
        found[name] = {"name": name, "labels": labels, "addresses": addresses}
    return [found[name] for name in sorted(found)]


def inspect_node_labels(inspection: Inspection, path: str, labels: Any) -> None:
    """Labels of a node; the one with its name is not to be given."""
    inspect_labels(inspection, path, labels)
    if isinstance(labels, dict) and HOSTNAME in labels:
        wanted = "leave it out: each node has its name in it"
        inspection.refuse(f"{path}[{HOSTNAME!r}]", repr(labels[HOSTNAME]), wanted)


def read_node(item: Mapping[str, Any]) -> Endpoint:
    """A node out of a declaration.

    :raises DeclarationError: somebody has edited it since
    """
    addresses: dict[int, tuple[int, ...]] = {}
    try:
        for text in item["addresses"]:
            packed = declared_ip(text)
            family = 4 if len(packed) == 4 else 6
            addresses[family] = (*addresses.get(family, ()), int.from_bytes(packed, "big"))
        return Endpoint(NAMESPACE, item["name"], {**item["labels"], HOSTNAME: item["name"]}, addresses)
    except (KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no node ({error}); run the playbook again") from error


def read(document: Mapping[str, Any]) -> Policy:
    """A policy of nodes out of its document.

    :raises DeclarationError: it is none
    """
    try:
        spec = {**document["spec"]}
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            if spec.get(direction):
                spec[direction] = [_of_pods(rule, peers) for rule in spec[direction]]
        return documents.read({**document, "spec": spec})._replace(namespace=NAMESPACE)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no policy of nodes ({error}); run the playbook again") from error


def _of_pods(rule: Mapping[str, Any], peers: str) -> dict[str, Any]:
    """A rule in the words of the pods' policies."""
    found: Sequence[Mapping[str, Any]] = rule.get(peers) or ()
    selector = "nodeSelector"
    of_pods = [{"podSelector": peer[selector]} if peer.get(selector) is not None else peer for peer in found]
    return {**rule, peers: of_pods}
