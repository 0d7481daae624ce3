# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods a service has, at which of their ports, and how often each gets a connection."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    FORWARD,
    Backend,
    Frontend,
    World,
    compile_services,
)


def number(text: str) -> int:
    return int(ipaddress.ip_address(text))


def pod(name: str, labels: dict[str, str], *ports: tuple[str, str, int], namespace: str = "shop") -> Endpoint:
    host = int(name[-1])
    addresses = {4: (number(f"10.244.0.{host}"),), 6: (number(f"fd00::{host}"),)}
    return Endpoint(namespace, name, labels, addresses, ports)


def service(**spec: Any) -> dict[str, Any]:
    addresses = ["10.96.0.1", "fd00:96::1"]
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIPs": addresses, **spec}}


def test_pods_are_found_by_all_labels_in_their_namespace_and_ports_by_their_name() -> None:
    pods = [
        pod("web1", {"app": "web", "tier": "front"}, ("http", "tcp", 8080), ("http", "udp", 1)),
        pod("web2", {"app": "web", "tier": "front"}, ("http", "tcp", 9090)),
        pod("web3", {"app": "web", "tier": "front"}),  # without such a port
        pod("web4", {"app": "web"}, ("http", "tcp", 8080)),
        pod("web5", {"app": "web", "tier": "front"}, ("http", "tcp", 8080), namespace="other"),
    ]
    document = service(selector={"app": "web", "tier": "front"}, ports=[{"port": 80, "targetPort": "http"}])
    world = World([("a", each) for each in pods], {})
    table = compile_services(documents.services([document]), world, "a")
    assert {frontend: handling.inside.backends for frontend, handling in table.frontends.items()} == {
        Frontend(4, number("10.96.0.1"), "tcp", 80): (
            Backend(number("10.244.0.1"), 8080),
            Backend(number("10.244.0.2"), 9090),
        ),
        Frontend(6, number("fd00:96::1"), "tcp", 80): (
            Backend(number("fd00::1"), 8080),
            Backend(number("fd00::2"), 9090),
        ),
    }


def test_without_a_selector_no_pod_is_found() -> None:
    document = service(ports=[{"port": 80}])
    table = compile_services(documents.services([document]), World([("a", pod("web1", {}))], {}), "a")
    assert {handling.inside.verdict for handling in table.frontends.values()} == {"reject"}


def test_weights_and_several_ports_of_slices() -> None:
    slices = [
        {
            "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"addresses": ["10.9.0.1"], "weight": 4},
                {"addresses": ["10.9.0.2"], "weight": 6},
                {"addresses": ["10.9.0.3"], "weight": 0},
            ],
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        }
    ]
    document = service(
        sessionAffinity="ClientIP",
        ports=[{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "x", "port": 1}],
    )
    table = compile_services(documents.services([document]), World([], documents.slices(slices)), "a")
    web = table.frontends[Frontend(4, number("10.96.0.1"), "tcp", 80)]
    one, two = Backend(number("10.9.0.1"), 8080), Backend(number("10.9.0.2"), 8080)
    assert web.inside == (FORWARD, (one, one, two, two, two))
    assert web.affinity == 10800
    dns = table.frontends[Frontend(4, number("10.96.0.1"), "udp", 53)]
    assert {backend.port for backend in dns.inside.backends} == {53}
    assert table.frontends[Frontend(4, number("10.96.0.1"), "tcp", 1)].inside.verdict == "reject"
