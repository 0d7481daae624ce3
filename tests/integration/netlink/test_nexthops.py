# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nexthop objects: ours and iproute2's view of the kernel are the same (pyroute2 has none)."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import (
    Nexthop,
    dump_nexthops,
    encode_nexthop,
    supports_nexthops,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes, encode_route
from ansible_collections.podnet.fabric.tests.integration.netlink import oracle
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)
ONLINK = 4
NEXTHOPS = [
    Nexthop(1, V4, "v0", packed("192.0.2.7"), 0, 84),
    Nexthop(2, V4, "vx", packed("10.1.0.0"), ONLINK, 84),
    Nexthop(3, V6, "vx", packed("fd01::"), ONLINK, 84),
    Nexthop(0x54FFFFFF, V6, "v0", packed("fe80::7"), 0, 84),
    Nexthop(0xFFFFFFFF, V4, "br0", b"", 0, 0),
    Nexthop(6, V4, "", b"", 0, 84, blackhole=True),
]


def test_nexthops_of_ours_are_what_iproute2_reads(node: Node) -> None:
    node.apply(*(encode_nexthop("create", nexthop, node.index_of) for nexthop in NEXTHOPS))
    assert sorted(dump_nexthops(node.nl, node.names)) == sorted(NEXTHOPS) == oracle.nexthops(node)
    node.apply(*(encode_nexthop("delete", nexthop, node.index_of) for nexthop in NEXTHOPS))
    assert oracle.nexthops(node) == dump_nexthops(node.nl, node.names) == []


@pytest.mark.parametrize(
    ("command", "nexthop"),
    [
        ("id 9 via 192.0.2.7 dev v0", Nexthop(9, V4, "v0", packed("192.0.2.7"))),
        ("id 9 via 10.1.0.0 dev vx onlink proto 84", Nexthop(9, V4, "vx", packed("10.1.0.0"), ONLINK, 84)),
        ("id 9 via fe80::7 dev v0 proto static", Nexthop(9, V6, "v0", packed("fe80::7"), 0, 4)),
        ("id 9 blackhole proto 84", Nexthop(9, V4, "", b"", 0, 84, blackhole=True)),
        ("id 9 dev br0 proto 84", Nexthop(9, V4, "br0", b"", 0, 84)),
    ],
)
def test_a_nexthop_of_iproute2_is_what_we_read(node: Node, command: str, nexthop: Nexthop) -> None:
    node.netns.ip("nexthop", "add", *command.split())
    assert dump_nexthops(node.nl, node.names) == [nexthop]


def test_a_group_reads_as_a_nexthop_without_a_way(node: Node) -> None:
    node.apply(encode_nexthop("create", NEXTHOPS[0], node.index_of))
    node.netns.ip("nexthop", "add", "id", "50", "group", "1", "proto", "84")
    assert Nexthop(50, 0, "", b"", 0, 84) in dump_nexthops(node.nl, node.names)


def test_the_kernel_filters_by_device(node: Node) -> None:
    node.apply(*(encode_nexthop("create", nexthop, node.index_of) for nexthop in NEXTHOPS))
    found = dump_nexthops(node.nl, node.names, node.index_of["vx"])
    assert sorted(found) == [nexthop for nexthop in NEXTHOPS if nexthop.dev == "vx"]


def test_replace_moves_the_routes_of_a_peer_in_one_message(node: Node) -> None:
    route = Route(V4, packed("10.1.0.0"), 24, protocol=84, nhid=2)
    moved = NEXTHOPS[1]._replace(gateway=packed("10.2.0.0"))
    node.apply(
        encode_nexthop("create", NEXTHOPS[1], node.index_of),
        encode_route("create", route, node.index_of),
        encode_nexthop("replace", moved, node.index_of),
    )
    assert dump_nexthops(node.nl, node.names) == [moved]
    assert node.netns.ip_json("route", "show", "proto", "84")[0]["gateway"] == "10.2.0.0"


def test_deleting_a_nexthop_takes_its_routes_away(node: Node) -> None:
    node.apply(
        encode_nexthop("create", NEXTHOPS[1], node.index_of),
        encode_route("create", Route(V4, packed("10.1.0.0"), 24, protocol=84, nhid=2), node.index_of),
        encode_nexthop("delete", NEXTHOPS[1], node.index_of),
    )
    assert dump_routes(node.nl, node.names, V4, 84) == []


def test_this_kernel_has_nexthop_objects(node: Node) -> None:
    assert supports_nexthops(node.nl)


def test_a_kernel_without_nexthop_objects_is_told_apart(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(0, NetlinkError(errno.EOPNOTSUPP))]
    monkeypatch.setattr(node.nl, "batch", lambda _messages: answers)
    assert not supports_nexthops(node.nl)


@st.composite
def any_nexthop(draw: st.DrawFn) -> Nexthop:
    family = draw(st.sampled_from((V4, V6)))
    number = draw(st.integers(1, 0xFFFFFF))
    gateway = packed("10.0.0.0") if family == V4 else packed("fd00::")
    gateway = gateway[:-3] + number.to_bytes(3, "big")
    dev = draw(st.sampled_from(("vx", "v0", "br0")))
    return Nexthop(draw(st.integers(1, 0xFFFFFFFF)), family, dev, gateway, ONLINK, draw(st.integers(0, 255)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_nexthop(), max_size=12, unique_by=lambda nexthop: nexthop.id))
def test_any_nexthops_read_back_as_written(node: Node, nexthops: list[Nexthop]) -> None:
    node.apply(*(encode_nexthop("create", nexthop, node.index_of) for nexthop in nexthops))
    try:
        assert sorted(dump_nexthops(node.nl, node.names)) == sorted(nexthops)
    finally:
        node.apply(*(encode_nexthop("delete", nexthop, node.index_of) for nexthop in nexthops))
