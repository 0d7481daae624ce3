# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outer headers of routes and nexthop objects: ours and iproute2's view of the kernel are the same, both ways.

iproute2 is asked for text: its JSON uses the keys `id` and `dst` for the object and again for its outer header.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import encap_text
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import TUNNEL_CSUM, TUNNEL_KEY, Encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import device_names_of, dump_links
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import (
    Nexthop,
    dump_nexthops,
    encode_nexthop,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes, encode_route
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)
ONLINK = 4
DEVICE = "ext"


class Case(NamedTuple):
    """An outer header, how iproute2 is told of it, how it shows it."""

    encap: Encap
    told: str
    shown: str


CASES = {
    "least": Case(
        Encap("ip", 84, packed("192.0.2.12")),
        "ip id 84 dst 192.0.2.12",
        "encap ip id 84 src 0.0.0.0 dst 192.0.2.12 ttl 0 tos 0 ",
    ),
    "all": Case(
        Encap("ip", 0xFFFFFF, packed("192.0.2.12"), packed("192.0.2.1"), 9, 8, TUNNEL_KEY | TUNNEL_CSUM),
        "ip id 16777215 dst 192.0.2.12 src 192.0.2.1 ttl 9 tos 8 key csum",
        "encap ip id 16777215 src 192.0.2.1 dst 192.0.2.12 ttl 9 tos 8 key csum ",
    ),
    "a key of 64 bits": Case(
        Encap("ip", 0x0102030405060708, packed("192.0.2.12")),
        "ip id 72623859790382856 dst 192.0.2.12",
        "encap ip id 72623859790382856 src 0.0.0.0 dst 192.0.2.12 ttl 0 tos 0 ",
    ),
    "least over IPv6": Case(
        Encap("ip6", 84, packed("2001:db8::2")),
        "ip6 id 84 dst 2001:db8::2",
        "encap ip6 id 84 src :: dst 2001:db8::2 hoplimit 0 tc 0 ",
    ),
    "all over IPv6": Case(
        Encap("ip6", 85, packed("2001:db8::2"), packed("2001:db8::1"), 64, 4, TUNNEL_CSUM),
        "ip6 id 85 dst 2001:db8::2 src 2001:db8::1 hoplimit 64 tc 4 csum",
        "encap ip6 id 85 src 2001:db8::1 dst 2001:db8::2 hoplimit 64 tc 4 csum ",
    ),
}
# Family, destination, gateway.
FAMILIES = {"IPv4 inside": (V4, "10.7.0.0", "10.7.0.0"), "IPv6 inside": (V6, "fd07::", "fe80::7")}

both_families = pytest.mark.parametrize("inside", FAMILIES.values(), ids=FAMILIES)
every_header = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def external(node: Node) -> Node:
    """The node, with a VXLAN device that takes its outer headers from the routes."""
    node.netns.ip("link", "add", DEVICE, "type", "vxlan", "external", "dstport", "4791")
    node.netns.ip("link", "set", DEVICE, "up")
    names = device_names_of(dump_links(node.nl))
    return node._replace(names=names, index_of={name: index for index, name in names.items()})


def nexthop_through(encap: Encap, family: int, gateway: str) -> Nexthop:
    return Nexthop(0x54000001, family, DEVICE, packed(gateway), ONLINK, 84, encap=encap)


def route_through(encap: Encap, family: int, dst: str, gateway: str) -> Route:
    metric, prefixlen = (1024, 48) if family == V6 else (0, 16)
    way: dict[str, Any] = {"dev": DEVICE, "gateway": packed(gateway), "flags": ONLINK, "encap": encap}
    return Route(family, packed(dst), prefixlen, metric=metric, protocol=84)._replace(**way)


@every_header
@both_families
def test_a_nexthop_of_ours_is_what_iproute2_reads(external: Node, case: Case, inside: tuple[int, str, str]) -> None:
    family, _dst, gateway = inside
    nexthop = nexthop_through(case.encap, family, gateway)
    external.apply(encode_nexthop("create", nexthop, external.index_of))
    shown = external.netns.ip("nexthop")
    assert case.shown in shown, shown
    assert f"via {gateway} dev {DEVICE}" in shown
    assert dump_nexthops(external.nl, external.names) == [nexthop]
    external.apply(encode_nexthop("delete", nexthop, external.index_of))
    assert external.netns.ip("nexthop") == ""


@every_header
@both_families
def test_a_nexthop_of_iproute2_is_what_we_read(external: Node, case: Case, inside: tuple[int, str, str]) -> None:
    family, _dst, gateway = inside
    words = f"nexthop add id 1409286145 via {gateway} dev {DEVICE} onlink proto 84 encap {case.told}"
    external.netns.ip(*words.split())
    assert dump_nexthops(external.nl, external.names) == [nexthop_through(case.encap, family, gateway)]


@every_header
@both_families
def test_a_route_of_ours_is_what_iproute2_reads(external: Node, case: Case, inside: tuple[int, str, str]) -> None:
    family, dst, gateway = inside
    route = route_through(case.encap, family, dst, gateway)
    external.apply(encode_route("create", route, external.index_of))
    shown = external.netns.ip("-6" if family == V6 else "-4", "route", "show", "proto", "84")
    assert case.shown in shown, shown
    assert dump_routes(external.nl, external.names, family, 84) == [route]
    external.apply(encode_route("delete", route, external.index_of))
    assert dump_routes(external.nl, external.names, family, 84) == []


@every_header
@both_families
def test_a_route_of_iproute2_is_what_we_read(external: Node, case: Case, inside: tuple[int, str, str]) -> None:
    family, dst, gateway = inside
    route = route_through(case.encap, family, dst, gateway)
    words = f"route add {dst}/{route.prefixlen} encap {case.told} via {gateway} dev {DEVICE} onlink proto 84"
    external.netns.ip("-6" if family == V6 else "-4", *words.split())
    assert dump_routes(external.nl, external.names, family, 84) == [route]


@pytest.mark.parametrize("family", [V4, V6])
def test_a_header_needs_no_gateway(external: Node, family: int) -> None:
    encap = CASES["least over IPv6"].encap
    nexthop = Nexthop(7, family, DEVICE, b"", 0, 84, encap=encap)
    dst, length = (packed("10.7.0.0"), 16) if family == V4 else (packed("fd07::"), 48)
    route = Route(family, dst, length, metric=1024 if family == V6 else 0, protocol=84, nhid=7)
    external.apply(
        encode_nexthop("create", nexthop, external.index_of), encode_route("create", route, external.index_of)
    )
    assert dump_nexthops(external.nl, external.names) == [nexthop]
    assert dump_routes(external.nl, external.names, family, 84) == [route]


@both_families
def test_a_route_by_nexthop_object_does_not_have_the_objects_header(
    external: Node, inside: tuple[int, str, str]
) -> None:
    family, dst, gateway = inside
    nexthop = nexthop_through(CASES["all"].encap, family, gateway)
    plain = route_through(CASES["least"].encap, family, dst, gateway)
    by_object = plain._replace(dev="", gateway=b"", flags=0, nhid=nexthop.id, encap=None)
    external.apply(
        encode_nexthop("create", nexthop, external.index_of),
        encode_route("create", plain, external.index_of),
        encode_route("replace", by_object, external.index_of),
    )
    assert dump_routes(external.nl, external.names, family, 84) == [by_object]
    shown = external.netns.ip("-6" if family == V6 else "-4", "route", "show", "proto", "84")
    assert "id 16777215 src 192.0.2.1 dst 192.0.2.12 ttl 9" in shown, shown


@both_families
def test_replace_gives_an_object_another_header_and_takes_it_away(external: Node, inside: tuple[int, str, str]) -> None:
    family, dst, gateway = inside
    first = nexthop_through(CASES["least"].encap, family, gateway)
    route = route_through(CASES["least"].encap, family, dst, gateway)._replace(
        dev="", gateway=b"", flags=0, nhid=first.id, encap=None
    )
    external.apply(encode_nexthop("create", first, external.index_of), encode_route("create", route, external.index_of))
    for case in (*CASES.values(), None):
        changed = first._replace(encap=case.encap if case else None)
        external.apply(encode_nexthop("replace", changed, external.index_of))
        assert dump_nexthops(external.nl, external.names) == [changed]
        assert dump_routes(external.nl, external.names, family, 84) == [route]


@every_header
def test_a_header_reads_in_iproute2s_words(case: Case) -> None:
    words = case.shown.strip()
    for choice_of_the_kernel in (" src 0.0.0.0", " src ::", " ttl 0", " tos 0", " hoplimit 0", " tc 0"):
        words = words.replace(choice_of_the_kernel, "")
    assert f"encap {encap_text(case.encap)}" == words


@st.composite
def any_encap(draw: st.DrawFn) -> Encap:
    type_, size = draw(st.sampled_from((("ip", 4), ("ip6", 16))))
    address = st.binary(min_size=size, max_size=size).filter(any)
    octet = st.integers(0, 255)
    # The kernel keeps other flags for itself.
    flags = draw(st.sampled_from((0, TUNNEL_KEY, TUNNEL_CSUM, TUNNEL_KEY | TUNNEL_CSUM)))
    src = draw(st.one_of(st.just(b""), address))
    return Encap(type_, draw(st.integers(0, 2**64 - 1)), draw(address), src, draw(octet), draw(octet), flags)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), any_encap()), max_size=12))
def test_any_headers_read_back_as_written(external: Node, headers: list[Encap | None]) -> None:
    nexthops = [
        Nexthop(number, V6, DEVICE, packed("fe80::7"), ONLINK, 84, encap=header)
        for number, header in enumerate(headers, 1)
    ]
    external.apply(*(encode_nexthop("create", nexthop, external.index_of) for nexthop in nexthops))
    try:
        assert {hop.id: hop for hop in dump_nexthops(external.nl, external.names)} == {hop.id: hop for hop in nexthops}
    finally:
        external.apply(*(encode_nexthop("delete", nexthop, external.index_of) for nexthop in nexthops))
