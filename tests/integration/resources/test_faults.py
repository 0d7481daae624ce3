# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every single operation of a run fails in turn: one clear message, and the next run ends as if nothing had been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.resources import (
    bridge,
    cni_network,
    host_gw,
    host_policy,
    ipam_block,
    ipam_pool,
    policy,
    route,
    service,
    sysctl,
    tunnel_filter,
    vxlan,
)

from . import test_direct_routes, test_vxlan
from .sweep import Case, sweep
from .test_edited_declarations import NETWORK
from .test_kinds import BLOCKS, BRIDGE, HOST_POLICY, POOLS, ROUTES, SETTINGS, TUNNEL

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Node


def direct(*numbers: int) -> dict[str, Any]:
    return test_direct_routes.params(*map(test_direct_routes.peer, numbers))


def guarded(*ports: int) -> dict[str, Any]:
    """A policy on one of two pods of this node."""
    pods = [
        {"namespace": "default", "name": name, "node": "n1", "labels": {"app": name}, "addresses": [address]}
        for name, address in (("web", "10.244.1.2"), ("db", "10.244.1.3"))
    ]
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": port} for port in ports]}
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": [rule]},
    }
    return {"node": "n1", "policies": [document], "namespaces": {"default": {}}, "endpoints": pods}


def served(port: int) -> dict[str, Any]:
    """A service with a pod of this node behind it."""
    web = {"name": "web", "node": "n1", "labels": {"app": "web"}, "addresses": ["10.244.1.2", "fd00:10:244:1::2"]}
    spec = {
        "clusterIPs": ["10.96.0.10", "fd00:10:96::10"],
        "selector": {"app": "web"},
        "ports": [{"name": name, "port": port, "protocol": name.upper()} for name in ("tcp", "udp")],
    }
    return {
        "node": "n1",
        "pods": ["10.244.0.0/16", "fd00:10:244::/48"],
        "ranges": ["10.96.0.0/16", "fd00:10:96::/112"],
        "services": [{"metadata": {"name": "web"}, "spec": spec}],
        "slices": [],
        "endpoints": [web],
    }


CASES = [
    Case(bridge.KIND, "podnet0", BRIDGE, {**BRIDGE, "mtu": 1400, "addresses": ["10.244.9.1/24"]}),
    Case(ipam_pool.KIND, "node", POOLS, {"pools": POOLS["pools"][1:]}),
    Case(ipam_block.KIND, "node", BLOCKS, {"blocks": ["10.244.1.0/24", "10.244.7.0/24"]}),
    Case(route.KIND, "peers", ROUTES, {"routes": [*ROUTES["routes"][2:], {**ROUTES["routes"][0], "via": "192.0.2.9"}]}),
    Case(sysctl.KIND, "node", SETTINGS, {"settings": {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 2}}),
    Case(tunnel_filter.KIND, "vxlan", TUNNEL, {**TUNNEL, "port": 4790, "peers": ["192.0.2.3", "192.0.2.4"]}),
    Case(vxlan.KIND, "podnet-vx", test_vxlan.params(2, 3), test_vxlan.params(3, 4, vni=85)),
    Case(host_gw.KIND, "host_gw", direct(2, 3), direct(3, 4)),
    Case(policy.KIND, "podnet", guarded(5432), guarded(5432, 5433), step=4),
    Case(host_policy.KIND, "podnet", HOST_POLICY, {**HOST_POLICY, "interfaces": [], "needs": ["udp/6081"]}, step=4),
    Case(service.KIND, "podnet", served(80), served(81), step=4),
    Case(cni_network.KIND, "podnet", NETWORK, {**NETWORK, "mtu": 1400}),
]


@pytest.mark.parametrize("case", CASES, ids=[case.kind.name for case in CASES])
def test_a_run_with_a_fault_at_any_operation_is_completed_by_the_next(node: Node, tmp_path: Path, case: Case) -> None:
    if case.kind is cni_network.KIND:
        place = {"conf_dir": str(tmp_path / "cni" / "net.d")}
        case = case._replace(first={**case.first, **place}, second={**case.second, **place})
    sweep(node, tmp_path, case)
