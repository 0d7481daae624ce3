# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every pod is asked, pods ask as many as their number allows, and each knows how its packets should travel."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import probe_targets


def _plan(
    nodes: int,
    *,
    scope: str = "auto",
    outside: tuple[str, ...] = (),
    nat: bool = True,
    dataplane: str = "vxlan",
    encapsulation: str = "always",
) -> dict[str, Any]:
    """Nodes in subnets of two; the last one has no IPv6 address."""
    return {
        "cluster": "test",
        "settings": {
            "verify_scope": scope,
            "verify_outside": outside,
            "dataplane": dataplane,
            "encapsulation": encapsulation,
            "vxlan_vni": 84,
            "vxlan_port": 4789,
            "geneve_vni": 85,
            "geneve_port": 6081,
            "wireguard_port": 51820,
        },
        "pools": [
            {"name": "default", "family": 4, "cidr": "10.244.0.0/16", "nat_outgoing": nat},
            {"name": "default6", "family": 6, "cidr": "fd00:10:244::/48", "nat_outgoing": False},
        ],
        "nodes": {f"node{n}": _node(n, n < nodes) for n in range(1, nodes + 1)},
    }


def _node(number: int, six: bool) -> dict[str, Any]:
    first = f"192.0.2.{number}"
    second = {"address": f"2001:db8::{number}", "prefixlen": 64} if six else None
    return {
        "family": 4,
        "underlay": {"address": first, "interface": "eth0", "second": second},
        "subnets": [str(ip_network(f"{first}/31", strict=False)), *(["2001:db8::/64"] if six else [])],
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


TUNNELS: dict[tuple[str, int], dict[str, Any]] = {
    ("vxlan", 4): {"type": "vxlan", "vni": 84, "port": 4789},
    ("vxlan", 6): {"type": "vxlan", "vni": 84, "port": 4789},
    ("geneve", 4): {"type": "geneve", "vni": 85, "port": 6081},
    ("geneve", 6): {"type": "geneve", "vni": 85, "port": 6081},
    ("wireguard", 4): {"type": "wireguard", "port": 51820},
    ("wireguard", 6): {"type": "wireguard", "port": 51820},
    ("ipip", 4): {"type": "ipip"},
    ("ipip", 6): {"type": "ip6ip6"},
}


def _travels(plan: dict[str, Any], asking: str, asked: str, family: int) -> dict[str, Any]:
    """How packets between the nodes' pods should travel."""
    targets = probe_targets.of_all_nodes(plan, _pods(len(plan["nodes"])))[asking]
    (found,) = (
        target["encapsulation"]
        for target in targets
        if target["name"] == f"{asked}/one" and (":" in target["address"]) == (family == 6)
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("dataplane", "family"), TUNNELS)
def test_each_tunnel_has_its_outside(dataplane: str, family: int) -> None:
    first, second = (
        {"outer_src": "192.0.2.2", "outer_dst": "192.0.2.3"},
        {
            "outer_src": "2001:db8::2",
            "outer_dst": "2001:db8::3",
        },
    )
    outer = second if (dataplane, family) == ("ipip", 6) else first
    plan = _plan(5, dataplane=dataplane)
    assert _travels(plan, "node2", "node3", family) == {**TUNNELS[dataplane, family], **outer}
    if dataplane != "wireguard":
        plan = _plan(5, dataplane=dataplane, encapsulation="cross_subnet")
        # IPv6 on-link or not: nodes 1 and 2 are not in one subnet of IPv4, by which they are named.
        assert _travels(plan, "node1", "node2", family)["type"] == TUNNELS[dataplane, family]["type"]
        assert _travels(plan, "node2", "node3", family) == {"type": "direct"}


@pytest.mark.parametrize("dataplane", ["host_gw", "bgp"])
@pytest.mark.parametrize("peer", ["node1", "node3"])
def test_without_a_tunnel_packets_travel_as_they_are_by_whichever_router(dataplane: str, peer: str) -> None:
    for family in (4, 6):
        assert _travels(_plan(5, dataplane=dataplane), "node2", peer, family) == {"type": "direct"}


def test_a_family_without_addresses_stays_in_the_tunnel() -> None:
    plan = _plan(3, encapsulation="cross_subnet")
    assert _travels(plan, "node2", "node3", 4) == {"type": "direct"}
    for asking, asked in (("node2", "node3"), ("node3", "node2")):
        assert _travels(plan, asking, asked, 6)["type"] == "vxlan"


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
