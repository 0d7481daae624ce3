# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which route the kernel takes to an address."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, encode_nexthop
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import (
    RTN_BLACKHOLE,
    RTN_LOCAL,
    Route,
    encode_route,
    lookup_route,
)
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
NHID = 0x54000001


def test_the_longest_prefix_is_told_as_it_stands_in_the_table(node: Node) -> None:
    wide = Route(V4, packed("10.244.0.0"), 16, protocol=84, dev="v0", gateway=packed("192.0.2.9"))
    narrow = Route(V4, packed("10.244.7.0"), 24, protocol=99, dev="br0", scope=253)
    node.apply(encode_route("create", wide, node.index_of), encode_route("create", narrow, node.index_of))
    assert lookup_route(node.nl, node.names, packed("10.244.1.2")) == wide
    assert lookup_route(node.nl, node.names, packed("10.244.7.2")) == narrow


def test_a_route_of_ipv6_is_told(node: Node) -> None:
    route = Route(V6, packed("fd00:7::"), 64, protocol=84, dev="br0", metric=1024)
    node.apply(encode_route("create", route, node.index_of))
    assert lookup_route(node.nl, node.names, packed("fd00:7::9")) == route


def test_a_route_by_a_nexthop_object_tells_the_object(node: Node) -> None:
    nexthop = Nexthop(NHID, V4, "v0", packed("192.0.2.9"), 0, 84)
    route = Route(V4, packed("10.244.1.0"), 24, protocol=84, nhid=NHID)
    node.apply(encode_nexthop("create", nexthop, node.index_of), encode_route("create", route, node.index_of))
    assert lookup_route(node.nl, node.names, packed("10.244.1.2")) == route


def test_an_address_of_ones_own_is_local(node: Node) -> None:
    assert lookup_route(node.nl, node.names, packed("192.0.2.1")).type == RTN_LOCAL


@pytest.mark.parametrize("address", ["10.99.0.1", "fd00:99::1"])
def test_where_no_route_is_the_kernel_says_so(node: Node, address: str) -> None:
    with pytest.raises(NetlinkError) as caught:
        lookup_route(node.nl, node.names, packed(address))
    assert caught.value.errno == errno.ENETUNREACH


def test_a_blackhole_is_an_error_of_ipv4(node: Node) -> None:
    route = Route(V4, packed("10.244.3.0"), 24, protocol=84, type=RTN_BLACKHOLE)
    node.apply(encode_route("create", route, node.index_of))
    with pytest.raises(NetlinkError) as caught:
        lookup_route(node.nl, node.names, packed("10.244.3.1"))
    assert caught.value.errno == errno.EINVAL
    # The connection is in order afterwards.
    assert lookup_route(node.nl, node.names, packed("192.0.2.1")).type == RTN_LOCAL
