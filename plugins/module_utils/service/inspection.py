# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspects Service documents as the API server of Kubernetes does, and says all that is wrong with its path.

What is allowed is of ``v1`` and of the validation of Kubernetes (ValidateService() in pkg/apis/core/validation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import MAX_PORT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    LABEL,
    PORT_NAME,
    PROTOCOLS,
    inspect_cidr,
    inspect_items,
    inspect_labels,
    inspect_mapping,
    inspect_metadata,
    shown,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import (
    CLIENT_IP,
    EXTERNAL_TYPES,
    HEADLESS,
    LOAD_BALANCER,
    LOCAL,
    balancer_addresses,
    given_addresses,
    key_of,
    programmed,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.probes import inspect_probe
from ansible_collections.podnet.fabric.plugins.module_utils.standing import standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TYPES = ("ClusterIP", *EXTERNAL_TYPES, "ExternalName")
POLICIES = ("Cluster", LOCAL)
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
MAX_AFFINITY = 86400
"""Seconds (MaxClientIPServiceAffinitySeconds)."""

Claim = tuple[str, tuple[Any, ...], str]
"""A path, what stands there that only one service may have, and that as a text."""

SPEC = (
    *("type", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "ports", "selector", "externalName"),
    *("sessionAffinity", "sessionAffinityConfig", "externalIPs", "loadBalancerIP", "loadBalancerSourceRanges"),
    *("externalTrafficPolicy", "internalTrafficPolicy", "publishNotReadyAddresses", "allocateLoadBalancerNodePorts"),
    # These say nothing that a node would program.
    *("healthCheckNodePort", "loadBalancerClass", "trafficDistribution"),
    # Of ours: in Kubernetes it is of the containers, and what it tells stands in the conditions of a slice.
    "readinessProbe",
)
CHOICES = {
    "type": TYPES,
    "ipFamilyPolicy": FAMILY_POLICIES,
    "sessionAffinity": ("None", CLIENT_IP),
    "externalTrafficPolicy": POLICIES,
    "internalTrafficPolicy": POLICIES,
}
PORT = ("name", "protocol", "port", "targetPort", "nodePort", "appProtocol")
FLAGS = ("publishNotReadyAddresses", "allocateLoadBalancerNodePorts")


def inspect_services(inspection: Inspection, path: str, services: Any, declared: Sequence[Any] = ()) -> list[Any]:
    """A list of documents; no two may have the same namespace and name, nor share what clients connect to.

    :param declared: the documents of before, each of which has been inspected then; which of them stand in the list
        again, only has to get on with all others
    :returns: the documents, those that stand there again as the very ones of before
    """
    if not isinstance(services, list):
        inspection.refuse(path, shown(services), "give a list of Service documents")
        return []
    found, again = standing(services, declared, key_of)
    seen: dict[tuple[str, str], str] = {}
    taken: dict[tuple[Any, ...], str] = {}
    for position, document in enumerate(found):
        here = f"{path}[{position}]"
        known = _known(here, document) if position in again else None
        whose, claims = known or _inspect_document(inspection, here, document)
        if whose in seen:
            inspection.refuse(f"{here}.metadata", f"{'/'.join(whose)} again", f"{seen[whose]} is that already")
        elif whose is not None:
            seen[whose] = here
        for where, what, text in claims:
            if taken.setdefault(what, here) != here:
                inspection.refuse(where, text, f"{taken[what]} has it already")
    return found


def require_addresses(inspection: Inspection, services: Sequence[Any]) -> None:
    """Of documents that are well: cluster addresses have been given out.

    :raises InvalidInput: with every finding
    """
    for position, document in enumerate(services):
        spec = document["spec"]
        if programmed(spec) and not given_addresses(spec):
            inspection.refuse(f"services[{position}].spec.clusterIP", "nothing", "give an address, or None")
    inspection.conclude()


def _known(path: str, document: Any) -> tuple[tuple[str, str], list[Claim]] | None:
    """The same as of `_inspect_document`; None where somebody has edited the declaration into what is given."""
    try:
        return key_of(document), list(_frontends(path, document))
    except MALFORMED:
        return None


def _inspect_document(inspection: Inspection, path: str, document: Any) -> tuple[tuple[str, str] | None, list[Claim]]:
    """One of them by itself; its namespace and name, and what nobody else may have."""
    if not inspect_mapping(inspection, path, document, ("apiVersion", "kind", "metadata", "spec", "status")):
        return None, []
    for key, wanted in (("apiVersion", "v1"), ("kind", "Service")):
        if document.get(key, wanted) != wanted:
            inspection.refuse(f"{path}.{key}", shown(document[key]), f"give {wanted}")
    whose = inspect_metadata(inspection, f"{path}.metadata", document.get("metadata"))
    before = len(inspection.findings)
    _inspect_spec(inspection, f"{path}.spec", document.get("spec"))
    _inspect_status(inspection, f"{path}.status.loadBalancer", document.get("status"))
    return whose, [] if len(inspection.findings) > before else list(_frontends(path, document))


def _inspect_spec(inspection: Inspection, path: str, spec: Any) -> None:
    if not inspect_mapping(inspection, path, spec, SPEC):
        return
    for key, choices in CHOICES.items():
        if spec.get(key) is not None and spec[key] not in choices:
            inspection.refuse(f"{path}.{key}", shown(spec[key]), f"give {', '.join(choices)}")
    for key in FLAGS:
        if spec.get(key) is not None and not isinstance(spec[key], bool):
            inspection.refuse(f"{path}.{key}", shown(spec[key]), "give true or false")
    inspect_probe(inspection, path, spec)
    if spec.get("type") == "ExternalName":
        return
    inspect_labels(inspection, f"{path}.selector", spec.get("selector"))
    _inspect_cluster_addresses(inspection, path, spec)
    _inspect_external(inspection, path, spec)
    _inspect_affinity(inspection, path, spec)
    _inspect_ports(inspection, path, spec)


def _inspect_external(inspection: Inspection, path: str, spec: Mapping[str, Any]) -> None:
    for here, address in inspect_items(inspection, f"{path}.externalIPs", spec.get("externalIPs")):
        inspection.ip(here, address)
    external = spec.get("type") in EXTERNAL_TYPES or spec.get("externalIPs")
    if spec.get("externalTrafficPolicy") is not None and not external:
        found = f"{shown(spec['externalTrafficPolicy'])}, but nothing leads there from outside"
        inspection.refuse(f"{path}.externalTrafficPolicy", found, f"give type {' or '.join(EXTERNAL_TYPES)}")
    for key in ("loadBalancerIP", "loadBalancerSourceRanges"):
        if spec.get(key) and spec.get("type") != LOAD_BALANCER:
            inspection.refuse(f"{path}.{key}", f"type {spec.get('type', TYPES[0])}", f"give type {LOAD_BALANCER}")
    if spec.get("loadBalancerIP"):
        inspection.ip(f"{path}.loadBalancerIP", spec["loadBalancerIP"])
    for here, text in inspect_items(
        inspection, f"{path}.loadBalancerSourceRanges", spec.get("loadBalancerSourceRanges")
    ):
        inspect_cidr(inspection, here, text)


def _inspect_cluster_addresses(inspection: Inspection, path: str, spec: Mapping[str, Any]) -> None:
    single, several = spec.get("clusterIP"), spec.get("clusterIPs")
    families = []
    for here, text in [
        *([(f"{path}.clusterIP", single)] if single else []),
        *inspect_items(inspection, f"{path}.clusterIPs", several),
    ]:
        if text != HEADLESS:
            packed = inspection.ip(here, text)
            families.append((here, None if packed is None else len(packed)))
    if several and isinstance(several, list):
        if single and several[0] != single:
            inspection.refuse(f"{path}.clusterIPs[0]", shown(several[0]), f"give clusterIP there, {single}")
        known = [family for here, family in families if "clusterIPs" in here]
        if len(several) > 2 or len(known) != len(set(known)):
            inspection.refuse(f"{path}.clusterIPs", shown(several), "give one address, or one of each family")
    for here, family in inspect_items(inspection, f"{path}.ipFamilies", spec.get("ipFamilies")):
        if family not in FAMILIES:
            inspection.refuse(here, shown(family), f"give {' or '.join(FAMILIES)}")
    given = spec.get("ipFamilies")
    if isinstance(given, list) and len(set(map(str, given))) != len(given):
        inspection.refuse(f"{path}.ipFamilies", shown(given), "give each family once")


def _inspect_affinity(inspection: Inspection, path: str, spec: Mapping[str, Any]) -> None:
    config = spec.get("sessionAffinityConfig")
    path = f"{path}.sessionAffinityConfig"
    if config is None:
        return
    if spec.get("sessionAffinity") != CLIENT_IP:
        inspection.refuse(path, f"sessionAffinity {shown(spec.get('sessionAffinity'))}", f"give {CLIENT_IP} with it")
    if inspect_mapping(inspection, path, config, ("clientIP",)) and inspect_mapping(
        inspection, f"{path}.clientIP", config.get("clientIP"), ("timeoutSeconds",)
    ):
        seconds = config["clientIP"].get("timeoutSeconds")
        if seconds is not None:
            inspection.integer(f"{path}.clientIP.timeoutSeconds", seconds, 1, MAX_AFFINITY)


def _inspect_ports(inspection: Inspection, path: str, spec: Mapping[str, Any]) -> None:
    ports = inspect_items(inspection, f"{path}.ports", spec.get("ports"))
    if not ports and not isinstance(spec.get("ports"), str) and programmed(spec):
        inspection.refuse(f"{path}.ports", "none", "give at least one port")
    names: set[str] = set()
    numbers: set[str] = set()
    for here, port in ports:
        if not inspect_mapping(inspection, here, port, PORT):
            continue
        name, number = port.get("name"), f"{port.get('protocol') or PROTOCOLS[0]} {port.get('port')}"
        if name is None and len(ports) > 1:
            inspection.refuse(f"{here}.name", "nothing", "give each of several ports a name")
        elif str(name) in names:
            inspection.refuse(f"{here}.name", f"{shown(name)} again", "give each port a name of its own")
        elif name is not None and (not isinstance(name, str) or not LABEL.match(name)):
            inspection.refuse(f"{here}.name", shown(name), "give at most 63 lower-case letters, digits and '-'")
        if number in numbers:
            inspection.refuse(f"{here}.port", f"{number} again", "give each port once")
        names.add(str(name))
        numbers.add(number)
        _inspect_port(inspection, here, port, spec)


def _inspect_port(inspection: Inspection, path: str, port: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    if (port.get("protocol") or PROTOCOLS[0]) not in PROTOCOLS:
        inspection.refuse(f"{path}.protocol", shown(port["protocol"]), f"give {', '.join(PROTOCOLS)}")
    inspection.integer(f"{path}.port", port.get("port"), 1, MAX_PORT)
    target, node_port = port.get("targetPort"), port.get("nodePort")
    if isinstance(target, str):
        if not PORT_NAME.match(target):
            wanted = "give a number, or a name of at most 15 lower-case letters, digits and '-'"
            inspection.refuse(f"{path}.targetPort", shown(target), wanted)
    elif target is not None:
        inspection.integer(f"{path}.targetPort", target, 1, MAX_PORT)
    if node_port:
        inspection.integer(f"{path}.nodePort", node_port, 1, MAX_PORT)
        if spec.get("type") not in EXTERNAL_TYPES:
            found = f"{node_port} with type {spec.get('type', TYPES[0])}"
            inspection.refuse(f"{path}.nodePort", found, f"give type {' or '.join(EXTERNAL_TYPES)}")


def _inspect_status(inspection: Inspection, path: str, status: Any) -> None:
    if status is None:
        return
    balancer = status.get("loadBalancer") if isinstance(status, dict) else status
    if balancer is None:
        return
    if not isinstance(balancer, dict):
        inspection.refuse(path, shown(balancer), "give a mapping with ingress")
        return
    for here, item in inspect_items(inspection, f"{path}.ingress", balancer.get("ingress")):
        if inspect_mapping(inspection, here, item, ("ip", "hostname", "ipMode", "ports")) and item.get("ip"):
            inspection.ip(f"{here}.ip", item["ip"])


def _frontends(path: str, document: Mapping[str, Any]) -> Iterator[Claim]:
    """What nobody else may have: cluster addresses, the ports of others, node ports. Of what has been inspected."""
    spec = document["spec"]
    if not programmed(spec):
        return
    key = "clusterIPs" if spec.get("clusterIPs") else "clusterIP"
    for text in given_addresses(spec):
        yield f"{path}.spec.{key}", (packed_ip(text),), text
    from_outside = {*(spec.get("externalIPs") or ()), *balancer_addresses(document)}
    if not from_outside and spec.get("type") not in EXTERNAL_TYPES:
        return
    for position, port in enumerate(spec["ports"]):
        protocol = port.get("protocol") or PROTOCOLS[0]
        where = f"{path}.spec.ports[{position}]"
        if port.get("nodePort"):
            yield f"{where}.nodePort", (protocol, port["nodePort"]), f"{protocol} {port['nodePort']}"
        for text in from_outside:
            yield f"{where}.port", (packed_ip(text), protocol, port["port"]), f"{text} {protocol} {port['port']}"
