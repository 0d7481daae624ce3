# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Route reflectors, routers at the top of a rack, and nodes in subnets that only a router joins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.tests.integration.bgp.fabric import Speaker, eventually, made, switch
from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_reflectors_pass_on_what_the_others_tell(nodes: list[Speaker]) -> None:
    one, two, three = nodes
    peers = [one.as_peer(reflector=True), two.as_peer(), three.as_peer()]
    for node in nodes:
        others = [peer for peer in peers if peer["name"] != node.name]
        node.bgp(mode="reflectors", reflector=node is one, others=others, cluster_id="192.0.2.200")
    for node in nodes:
        node.info(wait=30, required=True)
    # They do not speak with each other, and send to each other past the reflector.
    assert {session["peer"] for session in two.info()["sessions"]} == {"node1"}
    assert {two.routes()[block] for block in three.blocks} == {three.local, three.second}
    two.reaches(three)
    assert {session["relation"] for session in one.info()["sessions"]} == {"client"}


def test_no_reflector_is_an_error_that_names_the_cure(nodes: list[Speaker]) -> None:
    with pytest.raises(Failed) as failed:
        nodes[0].bgp(nodes, mode="reflectors")
    assert failed.value.message == (
        "mode: reflectors, and neither this node nor one of its peers is one; "
        "set podnet_bgp_node.reflector: true on one node, better on two"
    )


@pytest.fixture
def racks() -> Iterator[tuple[Speaker, list[Speaker]]]:
    """A router with a BIRD of its own, two nodes in a subnet of each family on one side of it, one on the other."""
    with made([0, 10, 254, 1, 2, 3]) as (left, right, router, *nodes):
        for number, middle in enumerate((left, right)):
            switch(middle)
            router.cable(middle, f"eth{number}", f"198.51.{number}.254/24", f"2001:db8:{number}::254/64")
        for node in nodes:
            side = int(node.number == 3)
            node.local, node.second = f"198.51.{side}.{node.number}", f"2001:db8:{side}::{node.number}"
            node.cable((left, right)[side], "eth0", f"{node.local}/24", f"{node.second}/64")
            node.run("ip", "route", "add", "default", "via", f"198.51.{side}.254")
            node.run("ip", "route", "add", "default", "via", f"2001:db8:{side}::254")
            node.have_pods()
        neighbours = "".join(
            f"protocol bgp {node.name}v{family} {{ local as 64513; neighbor {address} as 64512; strict bind off;"
            f" ipv{family} {{ import all; export all; }}; }}\n"
            for node in nodes
            for family, address in ((4, node.local), (6, node.second))
        )
        router.write("/etc/bird/tor.conf", ROUTER + neighbours)
        router.run("bird", "-c", "/etc/bird/tor.conf", "-s", "/run/tor.ctl")
        yield router, nodes


ROUTER = """
router id 198.51.0.254;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
"""


def _routers(node: Speaker) -> list[dict[str, object]]:
    side = int(node.number == 3)
    return [
        {"name": "tor", "address": f"198.51.{side}.254", "asn": 64513},
        {"name": "tor", "address": f"2001:db8:{side}::254", "asn": 64513},
    ]


def test_a_router_joins_the_nodes_of_two_subnets(racks: tuple[Speaker, list[Speaker]]) -> None:
    router, (one, two, three) = racks
    for node in (one, two, three):
        node.bgp([one, two, three], mode="top_of_rack", neighbours=_routers(node))
    for node in (one, two, three):
        node.info(wait=40, required=True)
    for node in (one, two, three):
        for other in (one, two, three):
            if node is not other:
                node.reaches(other)
    assert {session["relation"] for session in one.info()["sessions"]} == {"external"}
    # Inside a subnet the packets go past the router, which tells the way as it heard it (RFC 4271, 5.1.3).
    assert (one.routes()["10.244.2.0/24"], one.routes()["10.244.3.0/24"]) == (two.local, "198.51.0.254")
    assert set(router.routes()) == {block for node in (one, two, three) for block in node.blocks}
    assert not one.bgp([one, two, three], mode="top_of_rack", neighbours=_routers(one))["changed"]


def test_a_mesh_over_two_subnets_is_refused_naming_the_far_peer(racks: tuple[Speaker, list[Speaker]]) -> None:
    _router, (one, two, three) = racks
    with pytest.raises(Failed) as failed:
        one.bgp([one, two, three])
    assert failed.value.message == (
        f"peers: node3 ({three.local}), node3 ({three.second}): in no subnet of this node, whose routers know nothing "
        "of the pods; set podnet_bgp.mode to top_of_rack and name the routers in podnet_bgp_node.peers; or, when the "
        "routers have routes to all blocks, set podnet_bgp.routed: true; or choose podnet_dataplane vxlan, geneve, "
        "ipip or wireguard"
    )
    assert one.birds() == []


def test_a_mesh_over_two_subnets_works_where_the_router_knows_the_blocks(
    racks: tuple[Speaker, list[Speaker]],
) -> None:
    router, (one, two, three) = racks
    for node in (one, two, three):
        for block, gateway in zip(node.blocks, (node.local, node.second), strict=True):
            router.run("ip", "route", "add", block, "via", gateway)
    for node in (one, two, three):
        node.bgp([one, two, three], routed=True)
    for node in (one, two, three):
        node.info(wait=40, required=True)
    # As BIRD sees it the next hop is the peer; on the way to it is the router.
    assert eventually(lambda: one.routes().get("10.244.3.0/24") == "198.51.0.254")
    assert one.routes()["10.244.2.0/24"] == two.local
    one.reaches(three)
    one.reaches(two)
    assert not one.bgp([one, two, three], routed=True)["changed"]
