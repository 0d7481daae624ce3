# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which peers a node reaches past the tunnel, and by which of their addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import on_link, plan_view, planning

POOL = {"name": "four", "cidr": "10.244.0.0/16"}
POOL6 = {"name": "six", "cidr": "fd00:10:244::/48"}
View = Any


@pytest.fixture
def view(tmp_path: Path, host: Any) -> View:
    """Plan for nodes, each given as its addresses with prefix length, and return what the first sees of the others."""

    def run(*nodes: tuple[str, str], **variables: Any) -> dict[str, tuple[bool, str | None]]:
        hosts = [
            host(f"node{number}", first.partition("/")[0], _told(first, second), **variables)
            for number, (first, second) in enumerate(nodes, 1)
        ]
        outcome = planning.run(hosts, [], str(tmp_path), allocate=False)
        assert [str(problem) for problem in outcome.problems] == []
        assert outcome.plan is not None
        return {peer["name"]: (peer["direct"], peer["second"]) for peer in plan_view.peers(outcome.plan, "node1")}

    return run


def _told(first: str, second: str) -> dict[str, Any]:
    address, _slash, length = first.partition("/")
    held = {"address": second.partition("/")[0], "prefixlen": int(second.partition("/")[2])} if second else None
    return {"interface": "eth0", "address": address, "prefixlen": int(length), "mtu": 1500, "second": held}


NODES = (
    ("192.0.2.11/24", "2001:db8:1::11/64"),
    ("192.0.2.12/24", "2001:db8:1::12/64"),
    ("198.51.100.13/24", "2001:db8:2::13/64"),
)


def test_a_tunnel_that_always_encapsulates_has_no_direct_peer(view: View) -> None:
    assert view(*NODES) == {"node2": (False, "2001:db8:1::12"), "node3": (False, "2001:db8:2::13")}


@pytest.mark.parametrize("dataplane", ["vxlan", "geneve", "ipip"])
def test_across_subnets_alone_the_tunnel_is_taken(view: View, dataplane: str) -> None:
    found = view(*NODES, dataplane=dataplane, encapsulation="cross_subnet")
    assert found == {"node2": (True, "2001:db8:1::12"), "node3": (False, "2001:db8:2::13")}


def test_a_family_without_a_second_address_stays_in_the_tunnel(view: View) -> None:
    nodes = (NODES[0], ("192.0.2.12/24", ""), ("192.0.2.13/24", "2001:db8:2::13/64"))
    found = view(*nodes, encapsulation="cross_subnet")
    assert found == {"node2": (True, None), "node3": (True, None)}
    # Nor do the others help a node that has none itself.
    assert view(*reversed(nodes[:2]), encapsulation="cross_subnet") == {"node2": (True, None)}


def test_ipip_goes_direct_with_all_families_or_with_none(view: View) -> None:
    nodes = (NODES[0], ("192.0.2.13/24", "2001:db8:2::13/64"))
    both = {"dataplane": "ipip", "encapsulation": "cross_subnet"}
    assert view(*nodes, **both) == {"node2": (False, "2001:db8:2::13")}
    assert view(*nodes, **both, pools=[POOL]) == {"node2": (True, None)}


@pytest.mark.parametrize("dataplane", ["host_gw", "bgp"])
def test_without_a_tunnel_peers_in_the_subnet_are_direct(view: View, dataplane: str) -> None:
    assert view(*NODES[:2], dataplane=dataplane) == {"node2": (True, "2001:db8:1::12")}
    assert view(*NODES[:2], dataplane=dataplane, pools=[POOL6]) == {"node2": (True, "2001:db8:1::12")}


def test_a_subnet_that_is_not_known_is_not_shared(view: View, tmp_path: Path, host: Any) -> None:
    hosts = [host(f"node{n}", f"192.0.2.{n}", encapsulation="cross_subnet") for n in (1, 2)]
    plan = planning.run(hosts, [], str(tmp_path), allocate=False).plan
    assert plan is not None
    assert [peer["direct"] for peer in plan_view.peers(plan, "node1")] == [False]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("192.0.2.1", "192.0.2.0/24"), ("192.0.2.2", "192.0.2.0/24"), True),
        (("192.0.2.1", "192.0.2.0/24"), ("192.0.3.2", "192.0.3.0/24"), False),
        # Prefix lengths that differ: each must see the other as on-link.
        (("192.0.2.1", "192.0.2.0/24"), ("192.0.2.2", "192.0.2.0/25"), True),
        (("192.0.2.200", "192.0.2.0/24"), ("192.0.2.2", "192.0.2.0/25"), False),
        (("192.0.2.1", "192.0.2.1/32"), ("192.0.2.2", "192.0.2.2/32"), False),
        (("192.0.2.1", "192.0.2.0/24"), ("192.0.2.2", ""), False),
        (("192.0.2.1", ""), ("192.0.2.2", ""), False),
        (("192.0.2.1", "192.0.2.0/24"), ("2001:db8::2", "2001:db8::/64"), False),
        (("2001:db8::1", "2001:db8::/64"), ("2001:db8::2", "2001:db8::/64"), True),
    ],
)
def test_two_nodes_share_a_subnet_when_each_sees_the_other_in_it(
    one: tuple[str, str], other: tuple[str, str], shared: bool
) -> None:
    for pair in ((one, other), (other, one)):
        assert on_link.share(*pair) is shared
