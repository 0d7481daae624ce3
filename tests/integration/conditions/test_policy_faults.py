# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies, and services, with a fault at an operation: the next run ends as if nothing had been.

Policies are in each backend beside nftables, services in iptables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.rounds import Rounds

from .test_module_faults import clear, faulty, network

if TYPE_CHECKING:
    from .test_module_faults import FaultyNode

__all__ = ["faulty", "network"]

# Rules and sets with what they hold, pins by their names (a datapath's is a digest), and what is attached.
LEFT = """
for tool in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
  $tool-save | grep -v '^#' | sed 's/\\[[0-9]*:[0-9]*\\]//' || true
done
ipset save | sed 's/hashsize [0-9]*//; s/bucketsize.*//; s/initval.*//' | sort
find /sys/fs/bpf -mindepth 1 | sed 's/[0-9]*$//' | sort
nft list ruleset | grep -c podnet || true
"""
BACKENDS: dict[str, dict[str, Any]] = {
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "iptables-legacy": {"backend": "iptables", "iptables_flavour": "legacy"},
    "ebpf": {"backend": "ebpf", "flows": 1024, "fragments": 64},
}


def guarded(backend: str, *ports: int) -> dict[str, Any]:
    """A policy on one of two pods of this node."""
    pods = [
        {"name": name, "node": "n1", "labels": {"app": name}, "addresses": [address, f"fd00:10:244:3::{nth}"]}
        for nth, (name, address) in enumerate((("web", "10.244.3.8"), ("db", "10.244.3.9")), 8)
    ]
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": port} for port in ports]}
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "db"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": [rule]},
    }
    return {"node": "n1", "policies": [document], "endpoints": pods, **BACKENDS[backend]}


def offered(*ports: int) -> dict[str, Any]:
    """A service with affinity, and node ports, at two pods of this node."""
    service = {
        "metadata": {"name": "web"},
        "spec": {
            "type": "NodePort",
            "clusterIPs": ["10.96.0.10", "fd00:10:96::10"],
            "selector": {"app": "web"},
            "sessionAffinity": "ClientIP",
            "ports": [{"name": f"p{port}", "port": port, "nodePort": 30000 + port} for port in ports],
        },
    }
    pods = [
        {
            "name": name,
            "node": "n1",
            "labels": {"app": "web"},
            "addresses": [f"10.244.3.{nth}", f"fd00:10:244:3::{nth}"],
        }
        for nth, name in enumerate(("web", "db"), 8)
    ]
    return {"node": "n1", "services": [service], "endpoints": pods, **BACKENDS["iptables-nft"]}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_with_a_fault_is_completed_by_the_next(network: FaultyNode, backend: str) -> None:
    completed(network, "policy", guarded(backend, 5432), guarded(backend, 5432, 5433))


def test_a_run_of_services_with_a_fault_is_completed_by_the_next(network: FaultyNode) -> None:
    completed(network, "service", offered(80), offered(80, 81))


def completed(network: FaultyNode, module: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Declare, change and take back, each with a fault at every operation in turn."""
    network.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    network.module("pod", pods=[{"name": "a"}])
    absent = {"node": "n1", "state": "absent"}
    operations = 0
    # Chains that iptables makes with its first rule stay.
    network.module(module, **first)
    for start, wanted in ((absent, first), (first, second), (second, absent)):
        network.module(module, **start)
        network.module(module, **wanted)
        left = network.run("sh", "-c", LEFT)
        rounds = Rounds(13, operations)
        for _fault in rounds:
            network.module(module, **start)
            fault, reason, said = network.faulty(rounds, module, **wanted)
            if not fault:
                break
            if said:
                clear(fault, reason, said)
                network.module(module, **wanted)
            assert not network.module(module, **wanted)["changed"], (fault, said)
            assert network.run("sh", "-c", LEFT) == left, (fault, said)
        assert said == ""
        operations += rounds.at
    assert operations > 40
