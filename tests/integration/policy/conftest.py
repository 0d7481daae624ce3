# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with pods, on which policies are declared as the module does it."""

from __future__ import annotations

import functools
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND
from tests.conformance import cases, nodes
from tests.integration.policy.filtered import FAMILIES, Filtered
from tests.integration.policy.node_thread import NodeThread
from tests.integration.resources.conftest import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Namespace

SETTINGS = {"bridge": "podnet0", "flows": 4096, "fragments": 64}


class Ground(NamedTuple):
    """The nodes, a thread on each, and where their declarations are. Pods with even places are on the first node."""

    built: nodes.Nodes
    threads: dict[str, NodeThread]
    folder: Path

    def address(self, place: int, family: int = 4) -> str:
        """A pod's address."""
        return str(cases.FIRST[family] + place)

    def parameters(self, node: str, *policies: dict[str, Any], **settings: Any) -> dict[str, Any]:
        """Of the module, on a node; the pods are called p0, p1 ..."""
        endpoints = [
            {
                "name": f"p{place}",
                "node": self.built.nodes[self.built.node_of(place)],
                "labels": {"pod": f"p{place}"},
                "addresses": [self.address(place, family) for family in cases.FIRST],
            }
            for place in range(nodes.PODS)
        ]
        given = {"backend": "ebpf", **SETTINGS, **settings}
        return {**given, "node": node, "policies": list(policies), "endpoints": endpoints}

    def declare(self, *policies: dict[str, Any], check: bool = False, **settings: Any) -> list[Result]:
        """Declare policies for all the pods on both nodes."""
        return [
            self.on(
                node, functools.partial(apply, self.parameters(node, *policies, **settings), self.folder / node, check)
            )
            for node in self.built.nodes
        ]

    def withdraw(self) -> list[Result]:
        """Take back what is declared on both nodes."""
        return [self.on(node, functools.partial(apply, None, self.folder / node)) for node in self.built.nodes]

    def on(self, node: str, call: Any) -> Any:
        """What a call gives on a node."""
        return self.threads[node].run(call)

    @contextmanager
    def socket(self, place: int, sort: int, family: int = 4, protocol: int = 0) -> Iterator[socket.socket]:
        """A socket in a pod, bound to its address; its patience is a third of a second."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        with namespace.inside(self.built.pods[place]):
            made = socket.socket(kind, sort, protocol)
        with made:
            made.settimeout(0.35)
            if sort == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.address(place, family), 0))
            yield made


def apply(params: dict[str, Any] | None, folder: Path, check: bool = False) -> Result:
    """Reconcile to parameters of the module; None for what it does with ``state: absent``."""
    with Host() as host:
        items = {} if params is None else {"podnet": KIND.normalise("podnet", params, None, host)}
        return reconcile(KIND, items, host, Declarations(folder), check)


def isolate(place: int, receives_from: list[int], sends_to: list[int] | None = None, port: int = 0) -> dict[str, Any]:
    """A policy by which a pod may receive from some pods (on a port of UDP and TCP) and, if said so, send to some."""
    ports = [{"protocol": each, "port": port} for each in ("UDP", "TCP")] if port else []
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": {"pod": f"p{place}"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": _pods(receives_from), "ports": ports}] if receives_from else [],
    }
    if sends_to is not None:
        spec["policyTypes"].append("Egress")
        spec["egress"] = [{"to": _pods(sends_to)}] if sends_to else []
    return {"metadata": {"name": f"isolate-p{place}", "namespace": "default"}, "spec": spec}


def _pods(places: list[int]) -> list[dict[str, Any]]:
    return [{"podSelector": {"matchLabels": {"pod": f"p{place}"}}} for place in places]


@pytest.fixture(scope="module")
def built() -> Iterator[nodes.Nodes]:
    made = nodes.build(f"c{os.getpid()}-")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def threads(built: nodes.Nodes) -> Iterator[dict[str, NodeThread]]:
    found = {node: NodeThread(node) for node in built.nodes}
    yield found
    for thread in found.values():
        thread.close()


@pytest.fixture
def ground(built: nodes.Nodes, threads: dict[str, NodeThread], tmp_path: Path) -> Iterator[Ground]:
    made = Ground(built, threads, tmp_path)
    yield made
    made.withdraw()


@pytest.fixture
def node(netns: Namespace, tmp_path: Path) -> Node:
    return Node(netns, Declarations(tmp_path / "node.d"))


@pytest.fixture(params=["nft", "legacy"])
def filtered(node: Node, request: pytest.FixtureRequest) -> Filtered:
    """With rules of others in each table that iptables is used for, and a set of theirs."""
    found = Filtered(node, request.param)
    node.namespace.run("ipset", "create", "banned", "hash:ip")
    node.namespace.run("ipset", "add", "banned", "198.51.100.7")
    for program, cidr in FAMILIES.items():
        for line in (
            "-N DOCKER",
            "-A FORWARD -j DOCKER",
            f"-A FORWARD -s {cidr} -m comment --comment podnet:0123456789ab -j ACCEPT",
            "-P FORWARD DROP",
            "-A INPUT -p tcp --dport 22 -j ACCEPT",
            "-A DOCKER -o docker0 -j DROP",
            f"-t nat -A POSTROUTING -s {cidr} -j MASQUERADE",
        ):
            found.iptables(line, program)
    found.iptables("-A INPUT -m set --match-set banned src -j DROP")
    return found
