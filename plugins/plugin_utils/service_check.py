# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and their endpoints of the inventory, inspected before any node is asked for anything."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import balancer_addresses, programmed
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices
from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import VARIABLE
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import ServiceRange

NODE_PORTS = "podnet_service_node_ports"
MAX_PORT = 65535
BYPASS = "podnet_service_bypass"


def problems(cluster: Mapping[str, Any], ranges: Sequence[ServiceRange]) -> list[Problem]:
    """Every finding, by the paths of the variables. Those that are not lists the schema has told of."""
    inspection = Inspection()
    inspect_services(inspection, VARIABLE, cluster.get(VARIABLE, []))
    inspect_slices(inspection, "podnet_endpoint_slices", cluster.get("podnet_endpoint_slices", []))
    found = [Problem(finding.path, finding.found, "", finding.wanted) for finding in inspection.findings]
    if not inspection.findings:
        for position, document in enumerate(cluster.get(VARIABLE, [])):
            found += _external_inside(f"{VARIABLE}[{position}].spec", document, ranges)
    if NODE_PORTS in cluster:
        first, last = node_ports(cluster[NODE_PORTS])
        if not 1 <= first <= last <= MAX_PORT:
            wanted = f"first and last of ports from 1 to {MAX_PORT}"
            found.append(Problem(NODE_PORTS, f"'{cluster[NODE_PORTS]}'", wanted, "write it as 30000-32767"))
    return [*found, *_seen_past(cluster)]


def _seen_past(cluster: Mapping[str, Any]) -> Iterator[Problem]:
    """Policies that would not see what goes past the hosts, and no programs that would let it."""
    if cluster.get(BYPASS) is not True:
        return
    policies, services = (cluster.get(f"podnet_{each}_backend") for each in ("policy", "service"))
    if policies in ("nftables", "iptables"):
        found = f"true, with podnet_policy_backend {policies}, which sees nothing of what goes past the host"
        yield Problem(BYPASS, found, "policies by ebpf or none", "set podnet_policy_backend: ebpf, or leave this out")
    elif services is not None and "ebpf" not in (policies, services):
        found = f"true, with podnet_service_backend {services} and podnet_policy_backend {policies}"
        yield Problem(BYPASS, found, "one of them to be ebpf", "set podnet_service_backend: ebpf, or leave this out")


def _external_inside(path: str, document: Mapping[str, Any], ranges: Sequence[ServiceRange]) -> Iterator[Problem]:
    """Addresses that lead here from outside, in a range out of which another service may get one."""
    spec = document["spec"]
    if not programmed(spec):
        return
    for text in (*(spec.get("externalIPs") or ()), *balancer_addresses(document)):
        for each in ranges:
            if ipaddress.ip_address(text) in each.network:
                found = f"{text}, which lies in {each.path} {each.network}"
                wanted = "external addresses outside of the ranges of cluster addresses"
                yield Problem(path, found, wanted, "give another address, or other ranges")


def node_ports(text: str) -> tuple[int, int]:
    """Return the first and the last; the schema has seen that there are two numbers."""
    first, _dash, last = text.partition("-")
    return int(first), int(last)
