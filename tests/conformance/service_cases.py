# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads services.yml: each case as documents for one scene, and who connects to what in it."""

from __future__ import annotations

import ipaddress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FILE = Path(__file__).parent / "services.yml"

PODS = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
BLOCKS = {4: "10.244.1.0/24", 6: "fd00:10:244:1::/64"}
"""Of node a."""
SERVICES = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
NODES = {"a": {4: "192.0.2.1", 6: "2001:db8::1"}, "b": {4: "192.0.2.2", 6: "2001:db8::2"}}
OUTSIDE = {4: "192.0.2.9", 6: "2001:db8::9"}
POD_NODES = {"pod": "a", "one": "a", "two": "a", "far": "b", "farther": "b"}
PORT, TARGET, OTHER_PORT, FIRST_NODE_PORT = 80, 8080, 81, 30000


def pod_address(name: str, family: int) -> str:
    """A pod's address."""
    block = "12"["ab".index(POD_NODES[name])]
    host = 10 + list(POD_NODES).index(name)
    return f"10.244.{block}.{host}" if family == 4 else f"fd00:10:244:{block}::{host}"


def client_address(name: str, family: int) -> str:
    """The address from which a client connects; the node's is the one that it has on the underlay."""
    if name == "outside":
        return OUTSIDE[family]
    return NODES["a"][family] if name == "node" else pod_address(name, family)


class Connection(NamedTuple):
    """Who connects to what, and what has to come of it."""

    client: str
    to: str
    verdict: str
    backends: frozenset[str]
    hidden: frozenset[str]


class Case(NamedTuple):
    """A case at its place in the file, which its addresses and ports come from."""

    place: int
    name: str
    source: str
    service: dict[str, Any]
    endpoints: dict[str, dict[str, bool]]
    connections: tuple[Connection, ...]

    def address(self, to: str, family: int) -> str:
        """Where a connection goes to."""
        if to == "node port":
            return NODES["a"][family]
        base = {
            "cluster": SERVICES[family],
            "other port": SERVICES[family],
            "external": "198.51.100.0/24" if family == 4 else "2001:db8:1::/112",
            "balancer": "203.0.113.0/24" if family == 4 else "2001:db8:2::/112",
            "unallocated": "10.96.255.0/24" if family == 4 else "fd00:10:96::ff00/120",
        }[to]
        return str(ipaddress.ip_network(base)[10 + self.place])

    def port(self, to: str) -> int:
        """Its port."""
        return {"node port": FIRST_NODE_PORT + self.place, "other port": OTHER_PORT}.get(to, PORT)

    def documents(self, *protocols: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The service, and the slices with its endpoints, for one protocol or several."""
        name = f"case-{self.place}"
        ranges = {
            "pods": PODS,
            "outside": {family: f"{text}/{32 if family == 4 else 128}" for family, text in OUTSIDE.items()},
        }
        given = [ranges[each][family] for each in self.service.get("ranges", ()) for family in PODS]
        service = {
            "metadata": {"name": name},
            "spec": {
                "type": "LoadBalancer",
                "clusterIPs": [self.address("cluster", family) for family in PODS],
                "externalIPs": [self.address("external", family) for family in PODS],
                "internalTrafficPolicy": self.service["internal"],
                "externalTrafficPolicy": self.service["external"],
                "publishNotReadyAddresses": self.service.get("publish", False),
                "ports": [
                    {
                        "name": protocol.lower(),
                        "port": PORT,
                        "targetPort": TARGET,
                        "nodePort": self.port("node port"),
                        "protocol": protocol,
                    }
                    for protocol in protocols
                ],
                **({"loadBalancerSourceRanges": given} if given else {}),
            },
            "status": {"loadBalancer": {"ingress": [{"ip": self.address("balancer", family)} for family in PODS]}},
        }
        slices = [
            {
                "metadata": {"name": f"{name}-{family}", "labels": {"kubernetes.io/service-name": name}},
                "addressType": f"IPv{family}",
                "ports": [{"name": protocol.lower(), "port": TARGET, "protocol": protocol} for protocol in protocols],
                "endpoints": [
                    {
                        "addresses": [pod_address(pod, family)],
                        "nodeName": POD_NODES[pod],
                        "conditions": conditions,
                    }
                    for pod, conditions in self.endpoints.items()
                ],
            }
            for family in PODS
        ]
        return service, slices


@cache
def cases() -> tuple[Case, ...]:
    """All of them."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(
        Case(
            place,
            case["name"],
            content["sources"][case["source"]],
            case["service"],
            case["endpoints"],
            tuple(map(_connection, case["connections"])),
        )
        for place, case in enumerate(content["cases"])
    )


def _connection(stated: dict[str, Any]) -> Connection:
    backends, hidden = (frozenset(stated.get(key, ())) for key in ("backends", "hidden"))
    return Connection(stated["from"], stated["to"], stated["verdict"], backends, hidden)
