# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that a runtime starts after the playbook has run get through to services that policies by eBPF allow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from tests.integration.cni.guarded import DB, WEB, Listener, addresses, prepared, send

if TYPE_CHECKING:
    from tests.integration.cni.node import FakePlugins, Node

VIPS = ["10.96.0.10", "fd00:10:96::10"]
PORT = 8484
SERVICES: dict[str, dict[str, Any]] = {
    "nftables": {"backend": "nftables"},
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "ebpf": {"backend": "ebpf"},
    "ebpf-bypass": {"backend": "ebpf", "bypass": True},
}
LIMITED: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}],
    },
}
SERVICE: dict[str, Any] = {
    "metadata": {"name": "db", "namespace": "default"},
    "spec": {
        "clusterIPs": VIPS,
        "ipFamilyPolicy": "RequireDualStack",
        "selector": {"app": "db"},
        "ports": [{"port": PORT, "protocol": "UDP"}],
    },
}


@pytest.mark.skipif(not programs.has_tcx(), reason="programs of services take Linux 6.6")
@pytest.mark.parametrize("services", SERVICES)
def test_egress_policies_by_ebpf_let_a_new_pod_through_to_its_service(
    node: Node, fakes: FakePlugins, services: str
) -> None:
    guarded = prepared(node, fakes, "ebpf")
    runtime = guarded.runtime
    first = runtime.add("db", DB)
    given = guarded.policies(policies=[LIMITED])
    node.module("policy", **given)
    # The bridge's address is the pods' gateway.
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def serve() -> dict[str, Any]:
        return node.module(
            "service",
            node="here",
            pods=["10.244.3.0/24", "fd00:10:244:3::/64"],
            ranges=["10.96.0.0/16", "fd00:10:96::/112"],
            services=[SERVICE],
            endpoints=given["endpoints"],
            programs=True,
            **SERVICES[services],
        )

    serve()
    listener = Listener(node, "db", addresses(first))
    try:
        runtime.add("web", WEB)
        send(node, "web", "web", VIPS)
        assert listener.heard_until({"web 4", "web 6"}) == {"web 4", "web 6"}
        assert not [each for each in node.module("drift_info")["differences"] if each["kind"] == "service"]
        assert serve()["operations"] == {}
        runtime.delete("web")
        assert not [each for each in node.module("drift_info")["differences"] if each["kind"] == "service"]
    finally:
        listener.close()
