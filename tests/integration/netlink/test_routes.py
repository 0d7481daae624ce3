# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes: ours and pyroute2's view of the kernel are the same, in both directions."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import route as codec
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, encode_nexthop
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import (
    RT_SCOPE_LINK,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNREACHABLE,
    RTNH_F_ONLINK,
    Hop,
    Route,
    dump_routes,
    encode_route,
)
from ansible_collections.podnet.fabric.tests.integration.netlink import oracle
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)


def v4(dst: str, prefixlen: int, **fields: Any) -> Route:
    return Route(V4, packed(dst), prefixlen, protocol=84)._replace(**fields)


def v6(dst: str, prefixlen: int, **fields: Any) -> Route:
    return Route(V6, packed(dst), prefixlen, metric=1024, protocol=84)._replace(**fields)


ROUTES = {
    "gateway on the link": v4("10.0.0.0", 8, dev="v0", gateway=packed("192.0.2.7")),
    "gateway said to be on the link": v4("10.1.0.0", 16, dev="vx", gateway=packed("10.1.0.0"), flags=RTNH_F_ONLINK),
    "device": v4("10.2.0.0", 16, dev="br0", scope=RT_SCOPE_LINK),
    "blackhole": v4("10.3.0.0", 16, type=RTN_BLACKHOLE),
    "unreachable": v4("10.4.0.0", 16, type=RTN_UNREACHABLE),
    "prohibit": v4("10.5.0.0", 16, type=RTN_PROHIBIT),
    "throw": v4("10.6.0.0", 16, type=RTN_THROW),
    "metric": v4("10.7.0.0", 16, dev="v0", gateway=packed("192.0.2.7"), metric=4_000_000_000),
    "tos": v4("10.8.0.0", 16, dev="v0", gateway=packed("192.0.2.7"), tos=0x10),
    "another owner": v4("10.9.0.0", 16, dev="v0", gateway=packed("192.0.2.7"), protocol=186),
    "source": v4("10.10.0.0", 16, dev="v0", gateway=packed("192.0.2.7"), prefsrc=packed("192.0.2.1")),
    "default route": v4("0.0.0.0", 0, dev="v0", gateway=packed("192.0.2.9")),
    "host": v4("203.0.113.5", 32, dev="v0", gateway=packed("192.0.2.9")),
    "gateway of the other family": v4("10.11.0.0", 16, dev="v0", gateway=packed("fe80::1")),
    "two ways": v4(
        "10.12.0.0", 16, nexthops=(Hop("v0", packed("192.0.2.7")), Hop("vx", packed("10.9.9.9"), 5, RTNH_F_ONLINK))
    ),
    "IPv6 gateway": v6("fd00::", 16, dev="v0", gateway=packed("fe80::1")),
    "IPv6 gateway said to be on the link": v6("fd01::", 48, dev="vx", gateway=packed("fd01::"), flags=RTNH_F_ONLINK),
    "IPv6 device": v6("fd02::", 64, dev="br0"),
    "IPv6 blackhole": v6("fd03::", 64, type=RTN_BLACKHOLE),
    "IPv6 unreachable": v6("fd04::", 64, type=RTN_UNREACHABLE),
    "IPv6 prohibit": v6("fd05::", 64, type=RTN_PROHIBIT),
    "IPv6 metric": v6("fd06::", 64, dev="br0", metric=7),
    "IPv6 default route": v6("::", 0, dev="v0", gateway=packed("fe80::9")),
    "IPv6 host": v6("fd07::1", 128, dev="v0", gateway=packed("fe80::9")),
    "IPv6 two ways": v6("fd08::", 64, nexthops=(Hop("v0", packed("fe80::7")), Hop("v0", packed("fe80::8"), 5))),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("table", [254, 100, 100_000])
def test_a_route_of_ours_is_what_pyroute2_reads(node: Node, route: Route, table: int) -> None:
    route = route._replace(table=table)
    node.apply(encode_route("create", route, node.index_of))
    assert route in oracle.routes(node, route.family, table)
    assert route in dump_routes(node.nl, node.names, route.family, table=table)
    node.apply(encode_route("delete", route, node.index_of))
    assert route not in oracle.routes(node, route.family, table)


def test_every_table_reads_as_pyroute2_reads_it(node: Node) -> None:
    node.apply(*(encode_route("create", route, node.index_of) for route in ROUTES.values()))
    for family in (V4, V6):
        for table in (254, 255):
            assert sorted(dump_routes(node.nl, node.names, family, table=table)) == oracle.routes(node, family, table)


MADE_BY_IPROUTE2 = {
    "10.1.0.0/16 via 192.0.2.7 proto 84": v4("10.1.0.0", 16, dev="v0", gateway=packed("192.0.2.7")),
    "10.1.0.0/16 dev br0 proto 84 metric 9 table 77": v4(
        "10.1.0.0", 16, dev="br0", scope=RT_SCOPE_LINK, metric=9, table=77
    ),
    "10.1.0.0/16 via 10.1.0.0 dev vx onlink proto 84": v4(
        "10.1.0.0", 16, dev="vx", gateway=packed("10.1.0.0"), flags=RTNH_F_ONLINK
    ),
    "blackhole 10.1.0.0/16 proto 84": v4("10.1.0.0", 16, type=RTN_BLACKHOLE),
    "10.1.0.0/16 via 192.0.2.7 proto 84 mtu 1400 advmss 1300": v4(
        "10.1.0.0", 16, dev="v0", gateway=packed("192.0.2.7")
    ),
    "10.1.0.0/16 proto 84 nexthop via 192.0.2.7 nexthop via 192.0.2.8 weight 4": v4(
        "10.1.0.0", 16, nexthops=(Hop("v0", packed("192.0.2.7")), Hop("v0", packed("192.0.2.8"), 4))
    ),
    "default via inet6 fe80::7 dev v0 proto 84": v4("0.0.0.0", 0, dev="v0", gateway=packed("fe80::7")),
    "fd00::/48 via fe80::7 dev v0 proto 84": v6("fd00::", 48, dev="v0", gateway=packed("fe80::7")),
    "fd00::/48 via fd00:: dev vx onlink proto 84 metric 5": v6(
        "fd00::", 48, dev="vx", gateway=packed("fd00::"), flags=RTNH_F_ONLINK, metric=5
    ),
    "blackhole fd00::/48 proto 84": v6("fd00::", 48, type=RTN_BLACKHOLE),
    "fd00::/48 dev br0 proto 84 expires 1000": v6("fd00::", 48, dev="br0"),
    "default via fe80::7 dev v0 proto 84 table 1000": v6("::", 0, dev="v0", gateway=packed("fe80::7"), table=1000),
}


@pytest.mark.parametrize("command", MADE_BY_IPROUTE2)
def test_a_route_of_iproute2_is_what_we_read(node: Node, command: str) -> None:
    route = MADE_BY_IPROUTE2[command]
    node.netns.ip("-6" if route.family == V6 else "-4", "route", "add", *command.split())
    assert dump_routes(node.nl, node.names, route.family, 84, route.table) == [route]


@pytest.mark.parametrize(("family", "gateway", "dst"), [(V4, "10.9.0.0", "10.9.0.0"), (V6, "fd09::", "fd09::")])
def test_a_route_by_nexthop_object_names_only_the_object(node: Node, family: int, gateway: str, dst: str) -> None:
    route = (v4 if family == V4 else v6)(dst, 24, nhid=0x54000001)
    node.apply(
        encode_nexthop("create", Nexthop(0x54000001, family, "vx", packed(gateway), 4, 84), node.index_of),
        encode_route("create", route, node.index_of),
    )
    assert dump_routes(node.nl, node.names, family, 84) == [route]
    (shown,) = node.netns.ip_json("-6" if family == V6 else "-4", "route", "show", "proto", "84")
    assert (shown["nhid"], shown["gateway"], shown["dev"]) == (0x54000001, gateway, "vx")
    node.apply(encode_route("delete", route, node.index_of))
    assert dump_routes(node.nl, node.names, family, 84) == []


def test_replace_swaps_a_gateway_for_a_nexthop_object_in_place(node: Node) -> None:
    plain = ROUTES["gateway said to be on the link"]
    by_object = plain._replace(dev="", gateway=b"", flags=0, nhid=5)
    node.apply(
        encode_route("create", plain, node.index_of),
        encode_nexthop("create", Nexthop(5, V4, "vx", plain.gateway, 4, 84), node.index_of),
        encode_route("replace", by_object, node.index_of),
    )
    assert dump_routes(node.nl, node.names, V4, 84) == [by_object]


def test_delete_spares_another_owners_route_of_the_same_key(node: Node) -> None:
    route = ROUTES["blackhole"]
    foreign = route._replace(protocol=186)
    node.apply(encode_route("create", foreign, node.index_of))
    ((_nth, error),) = node.nl.batch([encode_route("delete", route, node.index_of)])
    assert error.errno == errno.ESRCH
    assert foreign in dump_routes(node.nl, node.names, V4)


def test_append_puts_a_second_route_beside_the_first(node: Node) -> None:
    first, second = ROUTES["gateway on the link"], ROUTES["gateway on the link"]._replace(gateway=packed("192.0.2.8"))
    node.apply(encode_route("create", first, node.index_of), encode_route("append", second, node.index_of))
    assert dump_routes(node.nl, node.names, V4, 84) == [first, second]


def test_ipv6_without_a_metric_gets_the_kernels_default(node: Node) -> None:
    route = v6("fd00::", 64, dev="br0", metric=0)
    node.apply(encode_route("create", route, node.index_of))
    assert dump_routes(node.nl, node.names, V6, 84) == [route._replace(metric=codec.IPV6_DEFAULT_METRIC)]


@pytest.mark.parametrize("family", [V4, V6])
def test_the_kernel_does_the_filtering(node: Node, family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = v4("10.1.0.0", 16, type=RTN_BLACKHOLE) if family == V4 else v6("fd01::", 64, type=RTN_BLACKHOLE)
    longer = ours._replace(prefixlen=30, protocol=3)
    others = [longer, ours._replace(table=99), longer._replace(table=99)]
    node.apply(*(encode_route("create", route, node.index_of) for route in (ours, *others)))
    lengths: list[int] = []
    dump = node.nl.dump

    def counted(kind: int, body: bytes) -> object:
        blocks = dump(kind, body)
        lengths.append(sum(len(block.data) // block.stride for block in blocks))
        return blocks

    monkeypatch.setattr(node.nl, "dump", counted)
    assert dump_routes(node.nl, node.names, family, 84) == [ours]
    assert len(dump_routes(node.nl, node.names, family, 84, table=0)) == 2
    assert len(dump_routes(node.nl, node.names, family, table=99)) == 2
    assert lengths == [1, 2, 2]


@pytest.mark.parametrize("family", [V4, V6])
def test_a_table_that_does_not_exist_is_empty(node: Node, family: int) -> None:
    assert dump_routes(node.nl, node.names, family, 84, table=4242) == []


def _masked(address: int, bits: int, prefixlen: int) -> bytes:
    return (address >> (bits - prefixlen) << (bits - prefixlen)).to_bytes(bits // 8, "big")


@st.composite
def any_route(draw: st.DrawFn) -> Route:
    family = draw(st.sampled_from((V4, V6)))
    bits = 32 if family == V4 else 128
    prefixlen = draw(st.integers(1, bits))
    # Unicast only: 1.0.0.0/8 to 126.0.0.0/8, and 2000::/3.
    top = draw(st.integers(1, 126)) << 24 if family == V4 else 1 << 125
    dst = _masked(top | draw(st.integers(0, (1 << (24 if family == V4 else 120)) - 1)), bits, prefixlen)
    way = draw(st.sampled_from(("blackhole", "device", "gateway")))
    route = Route(
        family,
        dst,
        prefixlen,
        metric=draw(st.integers(1, 0xFFFFFFFF)),
        table=draw(st.sampled_from((254, 7, 70_000))),
        protocol=draw(st.integers(3, 255)),
    )
    if way == "blackhole":
        return route._replace(type=RTN_BLACKHOLE)
    if way == "device":
        return route._replace(dev="br0", scope=RT_SCOPE_LINK if family == V4 else 0)
    gateway = packed(draw(st.sampled_from(("192.0.2.7", "192.0.2.8") if family == V4 else ("fe80::7", "fe80::8"))))
    return route._replace(dev="v0", gateway=gateway, flags=draw(st.sampled_from((0, RTNH_F_ONLINK))))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_route(), min_size=1, max_size=12, unique_by=lambda route: route[:6]))
def test_any_routes_read_back_as_written(node: Node, routes: list[Route]) -> None:
    routes = [route for route in routes if route.dst.strip(b"\0")]
    node.apply(*(encode_route("create", route, node.index_of) for route in routes))
    try:
        for family in (V4, V6):
            for table in (254, 7, 70_000):
                made = sorted(route for route in routes if route.family == family and route.table == table)
                read = sorted(dump_routes(node.nl, node.names, family, table=table))
                assert set(made) <= set(read)
                assert read == oracle.routes(node, family, table)
    finally:
        node.apply(*(encode_route("delete", route, node.index_of) for route in routes))
