# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that a runtime starts after the playbook has run are under its policies before their first packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.cni.node import BLOCKS, FakePlugins, Node
from tests.integration.cni.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKENDS = {
    "nftables": {"backend": "nftables"},
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "iptables-legacy": {"backend": "iptables", "iptables_flavour": "legacy"},
    "ebpf": {"backend": "ebpf", "flows": 1024, "fragments": 64},
}
POLICY: dict[str, Any] = {
    "metadata": {"name": "database"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
    },
}


class Guarded:
    """A node with the network and with policies, and a runtime on it."""

    def __init__(self, node: Node, fakes: FakePlugins, backend: dict[str, Any]) -> None:
        self.node = node
        self.fakes = fakes
        self.backend = backend
        self.runtime = Runtime(node, str(fakes.directory))

    def network(self, **more: Any) -> dict[str, Any]:
        given = {"blocks": BLOCKS, "mtu": 1450, "bin_dir": str(self.fakes.directory), "attach": True, **more}
        return self.node.module("cni_network", **given)

    def declare(self, **more: Any) -> dict[str, Any]:
        """What the role policy does."""
        found = self.node.module("endpoint_info")["endpoints"]
        endpoints = [{**each, "node": "here"} for each in found]
        return self.node.module(
            "policy", **{"node": "here", "policies": [POLICY], "endpoints": endpoints, **self.backend, **more}
        )


@pytest.fixture(params=BACKENDS)
def guarded(node: Node, fakes: FakePlugins, request: pytest.FixtureRequest) -> Iterator[Guarded]:
    node.run("mkdir", "-p", "/run/local/upper", "/run/local/work")
    overlay = "lowerdir=/usr/local,upperdir=/run/local/upper,workdir=/run/local/work"
    node.run("mount", "-t", "overlay", "overlay", "-o", overlay, "/usr/local")
    node.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    made = Guarded(node, fakes, BACKENDS[request.param])
    made.network()
    made.declare()
    return made


def test_first(guarded: Guarded) -> None:
    runtime = guarded.runtime
    print(runtime.add("db", {"app": "db"}))
    print(runtime.add("web", {"app": "web"}))
    print(guarded.node.run("sh", "-c", "nft list ruleset; ls -R /run/podnet | grep -v '\\.py' | tail -30"))
    print(guarded.declare()["operations"])
    assert not guarded.declare()["changed"]
