# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every pod is asked, pods ask as many as their number allows, and each knows how its packets should travel."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import probe_targets


def _plan(nodes: int, *, scope: str = "auto", outside: tuple[str, ...] = (), nat: bool = True) -> dict[str, Any]:
    return {
        "cluster": "test",
        "settings": {"verify_scope": scope, "verify_outside": outside, "vxlan_vni": 84, "vxlan_port": 4789},
        "pools": [
            {"name": "default", "cidr": "10.244.0.0/16", "nat_outgoing": nat},
            {"name": "default6", "cidr": "fd00:10:244::/48", "nat_outgoing": False},
        ],
        "nodes": {
            f"node{n}": {"underlay": {"address": f"192.0.2.{n}", "interface": "eth0"}} for n in range(1, nodes + 1)
        },
    }


def _pods(nodes: int) -> dict[str, list[dict[str, Any]]]:
    return {
        f"node{n}": [
            {
                "name": name,
                "netns": f"/run/netns/{name}",
                "addresses": [f"10.244.{n}.{last}/24", f"fd00:10:244:{n}::{last}/64"],
            }
            for last, name in ((2, "one"), (3, "two"))
        ]
        for n in range(1, nodes + 1)
    }


def test_a_small_cluster_asks_everybody() -> None:
    targets = probe_targets.of_all_nodes(_plan(3), _pods(3))
    assert sorted(targets) == ["node1", "node2", "node3"]
    for asked in targets.values():
        assert len(asked) == 3 * 2 * 2


def test_packets_to_a_peer_travel_in_the_tunnel_and_those_at_home_do_not() -> None:
    targets = probe_targets.of_all_nodes(_plan(2), _pods(2))["node1"]
    by_name = {(target["name"], target["address"]): target["encapsulation"] for target in targets}
    assert by_name["node1/two", "10.244.1.3"] == {"type": "local"}
    assert by_name["node2/one", "fd00:10:244:2::2"] == {
        "type": "vxlan",
        "vni": 84,
        "port": 4789,
        "outer_src": "192.0.2.1",
        "outer_dst": "192.0.2.2",
    }


def test_a_node_that_attached_no_pods_is_not_asked() -> None:
    pods = _pods(3)
    del pods["node2"]
    targets = probe_targets.of_all_nodes(_plan(3), pods)
    assert not any(target["name"].startswith("node2/") for target in targets["node1"])


@pytest.mark.parametrize(("nodes", "scope"), [(21, "auto"), (100, "auto"), (5, "sample"), (2, "sample"), (1, "sample")])
def test_a_sample_asks_every_node_and_grows_with_their_number_only(nodes: int, scope: str) -> None:
    targets = probe_targets.of_all_nodes(_plan(nodes, scope=scope), _pods(nodes))
    asked_by = {name: {target["name"].partition("/")[0] for target in asked} for name, asked in targets.items()}
    everybody = set(asked_by)
    assert {peer for name, peers in asked_by.items() for peer in peers - {name}} == (everybody if nodes > 1 else set())
    assert all(name in peers for name, peers in asked_by.items())
    assert max(len(peers) for peers in asked_by.values()) <= 3 + probe_targets.RANDOM_PEERS


def test_a_sample_is_the_same_in_every_run() -> None:
    first, second = (probe_targets.of_all_nodes(_plan(40), _pods(40)) for _run in range(2))
    assert first == second


def test_asking_all_of_a_big_cluster_is_possible() -> None:
    targets = probe_targets.of_all_nodes(_plan(25, scope="all"), _pods(25))
    assert len(targets["node1"]) == 25 * 4


def test_the_world_outside_sees_the_node_where_the_pool_says_so() -> None:
    plan = _plan(1, outside=("203.0.113.2", "2001:db8::2"))
    outside = [one for one in probe_targets.of_all_nodes(plan, _pods(1))["node1"] if one["name"] == "outside"]
    assert [(one["address"], one["from"], one["source"]) for one in outside] == [
        ("203.0.113.2", ["one"], "node"),
        ("203.0.113.2", ["two"], "node"),
        ("2001:db8::2", ["one"], "kept"),
        ("2001:db8::2", ["two"], "kept"),
    ]
