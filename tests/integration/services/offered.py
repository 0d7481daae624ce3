# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service, pods that may be its backends, and how it is asked."""

from __future__ import annotations

from typing import Any

from tests.conformance import service_cases as scene
from tests.integration.services.clients import Attempt

PODS = ("one", "two", "far", "farther")
NODE_PORT = 30053
ADDRESSES = {4: "10.96.7.1", 6: "fd00:10:96::7:1"}


def service(number: int = 1, **spec: Any) -> dict[str, Any]:
    """A service with the pods' own labels, on both protocols."""
    return {
        "metadata": {"name": f"web{number}"},
        "spec": {
            "clusterIPs": [f"10.96.7.{number}", f"fd00:10:96::7:{number}"],
            "selector": {"app": "web"},
            "ports": [
                {"name": name, "protocol": name.upper(), "port": scene.PORT, "targetPort": scene.TARGET}
                for name in ("tcp", "udp")
            ],
            **spec,
        },
    }


def endpoints(*pods: str) -> list[dict[str, Any]]:
    """Pods as the nodes' attachments tell them."""
    return [
        {
            "name": pod,
            "node": scene.POD_NODES[pod],
            "labels": {"app": "web"},
            "addresses": [scene.pod_address(pod, family) for family in ADDRESSES],
        }
        for pod in pods
    ]


def with_node_port() -> dict[str, Any]:
    """The service, with a node port for datagrams."""
    found = service(type="NodePort")
    found["spec"]["ports"][1]["nodePort"] = NODE_PORT
    return found


def datagrams() -> list[Attempt]:
    """What a pod asks it, and somebody outside by its node port, over each family."""
    return [
        attempt
        for family in ADDRESSES
        for attempt in (
            to_service("pod", family, "udp"),
            Attempt("outside", family, "udp", scene.NODES["a"][family], NODE_PORT),
        )
    ]


def to_service(client: str, family: int, protocol: str = "tcp") -> Attempt:
    return Attempt(client, family, protocol, ADDRESSES[family], scene.PORT)
