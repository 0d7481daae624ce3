# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of nodes in the inventory: what is wrong is told by its path, and what a node has to know is in the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import planning, policy_check
from ansible_collections.podnet.fabric.plugins.plugin_utils.host_policy_view import host_policy
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = {"inbound": ["tcp/22", "udp/68", "udp/546"], "outbound": ["tcp/53", "udp/53", "udp/67", "udp/547", "udp/123"]}
TUNNELS = ["udp/4789", "udp/6081", "udp/51820", "udp/51821", "ipip"]


def view(tmp_path: Path, **variables: Any) -> dict[str, Any]:
    """What node a is told; the other node has neither labels nor interfaces."""
    own = {"node_labels": {"role": "worker"}, "host_interfaces": ["eth0"]}
    shared = {"pools": [{"name": "default", "cidr": "10.244.0.0/16"}], **variables}
    hosts = [
        Host(name, {f"podnet_{key}": value for key, value in {**shared, **more}.items()}, address)
        for name, address, more in (("a", "192.0.2.1", own), ("b", "192.0.2.2", {}))
    ]
    outcome = planning.run(hosts, [], str(tmp_path), allocate=False)
    assert outcome.problems == []
    assert outcome.plan is not None
    return host_policy(outcome.plan, "a")


def test_a_node_is_told_the_nodes_and_what_always_passes(tmp_path: Path) -> None:
    assert view(tmp_path) == {
        "nodes": [
            {"name": "a", "labels": {"role": "worker"}, "addresses": ["192.0.2.1"]},
            {"name": "b", "labels": {}, "addresses": ["192.0.2.2"]},
        ],
        "interfaces": ["eth0"],
        "failsafe": ALWAYS,
        "needs": TUNNELS,
    }


def test_bgp_passes_whatever_the_operator_names(tmp_path: Path) -> None:
    found = view(tmp_path, dataplane="bgp", bgp={"port": 1179}, failsafe_ports={"inbound": "none"})
    assert found["failsafe"] == {"inbound": ["tcp/1179"], "outbound": [*ALWAYS["outbound"], "tcp/1179"]}
    # The word stays where nothing else passes, so that the module does not take it for a mistake.
    assert view(tmp_path, failsafe_ports={"inbound": "none"})["failsafe"]["inbound"] == "none"


def test_what_is_wrong_is_told_by_its_variable() -> None:
    document = {
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}]},
    }
    cluster = {"podnet_host_policies": [document], "podnet_failsafe_ports": {"inbound": [], "both": ["tcp/22"]}}
    labels = {"kubernetes.io/hostname": "b", "role": "a b"}
    assert {problem.path for problem in policy_check.problems(cluster, {"a": {"podnet_node_labels": labels}})} == {
        "podnet_host_policies[0].metadata.namespace",
        "podnet_host_policies[0].spec.ingress[0].from[0]",
        "podnet_host_policies[0].spec.ingress[0].ports[0].port",
        "podnet_failsafe_ports.both",
        "podnet_failsafe_ports.inbound",
        "podnet_node_labels (a)['role']",
        "podnet_node_labels (a)['kubernetes.io/hostname']",
    }
    # A policy of pods has no nodeSelector.
    document = {"metadata": {"name": "x"}, "spec": {"ingress": [{"from": [{"nodeSelector": {}}]}]}}
    assert policy_check.problems({"podnet_policies": [document]}, {})
    assert not policy_check.problems({"podnet_host_policies": [document]}, {})
