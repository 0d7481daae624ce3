# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspects NetworkPolicy documents as the API server of Kubernetes does, and says all that is wrong with its path.

What is allowed is of ``networking.k8s.io/v1`` and of the validation of Kubernetes (pkg/apis/networking/validation).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, has_host_bits, network
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS, MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Network

API = "networking.k8s.io/v1"
PROTOCOLS = ("TCP", "UDP", "SCTP")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")

# RFC 1123 labels and subdomains, RFC 6335 service names, label keys and values (apimachinery's validation).
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")


def inspect_policies(inspection: Inspection, path: str, policies: Any, *, hosts: bool = False) -> None:
    """A list of documents; no two may have the same namespace and name.

    :param hosts: they are about nodes: in no namespace, with nodeSelector besides, see policy/hosts.py
    """
    if not isinstance(policies, list):
        inspection.refuse(path, shown(policies), "give a list of NetworkPolicy documents")
        return
    seen: dict[tuple[str, str], int] = {}
    for position, document in enumerate(policies):
        here = f"{path}[{position}]"
        if not inspect_mapping(inspection, here, document, ("apiVersion", "kind", "metadata", "spec", "status")):
            continue
        # As Kubernetes prints a document without these, so it may be given here.
        for key, wanted in (("apiVersion", API), ("kind", "NetworkPolicy")):
            if document.get(key, wanted) != wanted:
                inspection.refuse(f"{here}.{key}", shown(document[key]), f"give {wanted}")
        whose = inspect_metadata(inspection, f"{here}.metadata", document.get("metadata"), hosts=hosts)
        if whose in seen:
            again = whose[1] if hosts else "/".join(whose)
            inspection.refuse(f"{here}.metadata", f"{again} again", f"{path}[{seen[whose]}] is that already")
        elif whose is not None:
            seen[whose] = position
        _inspect_spec(inspection, f"{here}.spec", document.get("spec"), hosts)


def inspect_namespaces(inspection: Inspection, path: str, namespaces: Any) -> None:
    """A mapping of namespaces to their labels."""
    if not isinstance(namespaces, dict):
        inspection.refuse(path, shown(namespaces), "give a mapping of namespaces to their labels")
        return
    for name, labels in namespaces.items():
        if not isinstance(name, str) or not LABEL.match(name):
            inspection.refuse(f"{path}.{name}", shown(name), "give at most 63 lower-case letters, digits and '-'")
        inspect_labels(inspection, f"{path}.{name}", labels)


def inspect_labels(inspection: Inspection, path: str, labels: Any) -> None:
    """Labels of a pod or a namespace."""
    if labels is None:
        return
    if not isinstance(labels, dict):
        inspection.refuse(path, shown(labels), "give a mapping of labels")
        return
    for key, value in labels.items():
        if not _is_key(key):
            _inspect_key(inspection, f"{path}[{key!r}]", key)
        if not isinstance(value, str) or not VALUE.match(value):
            _inspect_value(inspection, f"{path}[{key!r}]", value)


def inspect_metadata(
    inspection: Inspection, path: str, metadata: Any, *, hosts: bool = False
) -> tuple[str, str] | None:
    """Namespace and name; None when there is none. What is about nodes (hosts) is in no namespace."""
    if not isinstance(metadata, dict):
        inspection.refuse(path, shown(metadata), "give a mapping with name and namespace")
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace") or "default"
    if not isinstance(name, str) or not SUBDOMAIN.match(name):
        inspection.refuse(f"{path}.name", shown(name), "give lower-case letters, digits, '-' and '.'")
    if hosts and metadata.get("namespace") is not None:
        inspection.refuse(f"{path}.namespace", shown(metadata["namespace"]), "leave it out: nodes are in no namespace")
    elif not isinstance(namespace, str) or not LABEL.match(namespace):
        inspection.refuse(f"{path}.namespace", shown(namespace), "give at most 63 lower-case letters, digits and '-'")
    return (str(namespace), str(name))


def _inspect_spec(inspection: Inspection, path: str, spec: Any, hosts: bool) -> None:
    if not inspect_mapping(inspection, path, spec, ("podSelector", "ingress", "egress", "policyTypes")):
        return
    _inspect_selector(inspection, f"{path}.podSelector", spec.get("podSelector"))
    types = spec.get("policyTypes")
    if types is not None:
        wanted = f"give a list of {INGRESS} and {EGRESS}"
        if not isinstance(types, list):
            inspection.refuse(f"{path}.policyTypes", shown(types), wanted)
        else:
            for position, each in enumerate(types):
                if each not in (INGRESS, EGRESS):
                    inspection.refuse(f"{path}.policyTypes[{position}]", shown(each), wanted)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for here, rule in inspect_items(inspection, f"{path}.{direction}", spec.get(direction)):
            if inspect_mapping(inspection, here, rule, ("ports", peers)):
                for where, peer in inspect_items(inspection, f"{here}.{peers}", rule.get(peers)):
                    _inspect_peer(inspection, where, peer, hosts)
                for where, port in inspect_items(inspection, f"{here}.ports", rule.get("ports")):
                    _inspect_port(inspection, where, port)
                    if hosts and peers == "from" and isinstance(port, dict) and isinstance(port.get("port"), str):
                        inspection.refuse(
                            f"{where}.port", shown(port["port"]), "give a number: no port of a node has a name"
                        )


def _inspect_peer(inspection: Inspection, path: str, peer: Any, hosts: bool) -> None:
    alone = ("ipBlock", *(["nodeSelector"] if hosts else []))
    known = ("podSelector", "namespaceSelector", *alone)
    if not inspect_mapping(inspection, path, peer, known):
        return
    given = [key for key in known if peer.get(key) is not None]
    if not given:
        inspection.refuse(path, "nothing in it", f"give {', '.join(known[:2])} or both, or {' or '.join(alone)}")
    lonely = [key for key in alone if key in given]
    if lonely and len(given) > 1:
        inspection.refuse(
            path, " and ".join(given), f"{'an' if lonely[0] == 'ipBlock' else 'a'} {lonely[0]} stands alone"
        )
    if hosts and given == ["podSelector"]:
        wanted = "add a namespaceSelector, {} for all: a policy of nodes has no namespace of its own"
        inspection.refuse(path, "podSelector alone", wanted)
    for key in (*known[:2], *alone[1:]):
        _inspect_selector(inspection, f"{path}.{key}", peer.get(key))
    if "ipBlock" in given and inspect_mapping(inspection, f"{path}.ipBlock", peer["ipBlock"], ("cidr", "except")):
        _inspect_block(inspection, f"{path}.ipBlock", peer["ipBlock"])


def _inspect_block(inspection: Inspection, path: str, block: Mapping[str, Any]) -> None:
    whole = inspect_cidr(inspection, f"{path}.cidr", block.get("cidr"))
    for here, text in inspect_items(inspection, f"{path}.except", block.get("except")):
        part = inspect_cidr(inspection, here, text)
        if whole is None or part is None:
            continue
        if not _inside(part, whole):
            inspection.refuse(here, f"{text} is not inside {block['cidr']}", "give a part of it")
        elif part == whole:
            inspection.refuse(here, f"{text} is all of {block['cidr']}", "give a part of it, or leave the ipBlock out")


def inspect_cidr(inspection: Inspection, path: str, text: Any) -> Network | None:
    """A prefix in CIDR notation."""
    found = network(text)
    if found is None or "/" not in str(text):
        inspection.refuse(path, f"{shown(text)} is no prefix", "write it as 10.8.0.0/16 or fd00:8::/48")
        return None
    if has_host_bits(found):
        inspection.refuse(path, f"{text} has bits set right of its prefix length", "give the network's own address")
        return None
    return found


def _inside(part: Network, whole: Network) -> bool:
    if part.family != whole.family or part.prefixlen < whole.prefixlen:
        return False
    spare = 8 * len(whole.address) - whole.prefixlen
    return int.from_bytes(part.address, "big") >> spare == int.from_bytes(whole.address, "big") >> spare


def _inspect_port(inspection: Inspection, path: str, port: Any) -> None:
    if not inspect_mapping(inspection, path, port, ("protocol", "port", "endPort")):
        return
    if port.get("protocol") is not None and port["protocol"] not in PROTOCOLS:
        inspection.refuse(f"{path}.protocol", shown(port["protocol"]), f"give {', '.join(PROTOCOLS)}")
    number, last = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        if not PORT_NAME.match(number):
            wanted = "give a number, or a name of at most 15 lower-case letters, digits and '-'"
            inspection.refuse(f"{path}.port", shown(number), wanted)
    elif number is not None:
        inspection.integer(f"{path}.port", number, 1, MAX_PORT)
    if last is None:
        return
    if isinstance(number, bool) or not isinstance(number, int):
        inspection.refuse(f"{path}.endPort", f"{shown(last)} with port {shown(number)}", "it takes a port by number")
    else:
        inspection.integer(f"{path}.endPort", last, number, MAX_PORT)


def _inspect_selector(inspection: Inspection, path: str, selector: Any) -> None:
    if selector is None or not inspect_mapping(inspection, path, selector, ("matchLabels", "matchExpressions")):
        return
    inspect_labels(inspection, f"{path}.matchLabels", selector.get("matchLabels"))
    for here, expression in inspect_items(inspection, f"{path}.matchExpressions", selector.get("matchExpressions")):
        if not inspect_mapping(inspection, here, expression, ("key", "operator", "values")):
            continue
        _inspect_key(inspection, f"{here}.key", expression.get("key"))
        operator, values = expression.get("operator"), expression.get("values")
        if operator not in OPERATORS:
            inspection.refuse(f"{here}.operator", shown(operator), f"give {', '.join(OPERATORS)}")
        elif operator in OPERATORS[:2] and not values:
            inspection.refuse(f"{here}.values", shown(values), f"{operator} takes at least one value")
        elif operator in OPERATORS[2:] and values:
            inspection.refuse(f"{here}.values", shown(values), f"{operator} takes no values")
        for where, value in inspect_items(inspection, f"{here}.values", values):
            _inspect_value(inspection, where, value)


@lru_cache(maxsize=4096)
def _is_key(key: Any) -> bool:
    """There are few, that many objects have."""
    prefix, slash, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    return bool(KEY.match(name)) and not (slash and not SUBDOMAIN.match(prefix))


def _inspect_key(inspection: Inspection, path: str, key: Any) -> None:
    if not isinstance(key, str) or not _is_key(key):
        inspection.refuse(path, f"{shown(key)} is no label's key", "write it as name or example.org/name")


def _inspect_value(inspection: Inspection, path: str, value: Any) -> None:
    if not isinstance(value, str) or not VALUE.match(value):
        wanted = "give text of at most 63 letters, digits, '-', '_' and '.'; put what looks like a number in quotes"
        inspection.refuse(path, f"{shown(value)} is no label's value", wanted)


def inspect_mapping(inspection: Inspection, path: str, value: Any, known: tuple[str, ...]) -> bool:
    """Whether it is a mapping; keys that nobody reads are told, too."""
    if not isinstance(value, dict):
        inspection.refuse(path, shown(value), f"give a mapping with {', '.join(known)}")
        return False
    if not value.keys() <= _as_set(known):
        inspection.unknown(path, map(str, value), known)
    return True


@cache
def _as_set(known: tuple[str, ...]) -> frozenset[str]:
    return frozenset(known)


def inspect_items(inspection: Inspection, path: str, value: Any) -> list[tuple[str, Any]]:
    """A list's entries with their paths; nothing is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        inspection.refuse(path, shown(value), "give a list")
        return []
    return [(f"{path}[{position}]", item) for position, item in enumerate(value)]


def shown(value: Any) -> str:
    """What was found, for a finding."""
    return "nothing" if value is None else repr(value)
