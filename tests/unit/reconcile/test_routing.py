# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nexthop object a route goes by: one that stands keeps its number, also where its outer header changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import NEXTHOP_IDS, PROTOCOL
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Observed, desire

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Via

V4, V6 = 2, 10
FIRST = NEXTHOP_IDS[0]
ONLINK = 4


def via(block: int, gateway: bytes, encap: Encap | None) -> Via:
    family = V6 if len(gateway) == 16 else V4
    dst = bytes((10, 244, block, 0)) if family == V4 else bytes((253, block)) + bytes(14)
    return family, dst, 24, gateway, "gnv", ONLINK, 0, 254, encap


def nexthop(number: int, gateway: bytes, encap: Encap | None, family: int = V4) -> Nexthop:
    return Nexthop(FIRST + number, family, "gnv", gateway, ONLINK, PROTOCOL, encap=encap)


def observed(*nexthops: Nexthop, taken: tuple[int, ...] = ()) -> Observed:
    return Observed({hop.id: hop for hop in nexthops}, set(taken), {})


def header(last: int) -> Encap:
    return Encap("ip", 84, bytes((192, 0, 2, last)))


GATEWAY, OTHER = bytes((10, 244, 1, 0)), bytes((10, 244, 2, 0))


def numbers(wanted: list[Via], seen: Observed) -> list[int]:
    nexthops, routes = desire(wanted, seen, True)
    assert {route.nhid for route in routes.values()} == set(nexthops)
    return [route.nhid - FIRST for route in routes.values()]


def test_an_object_that_stands_keeps_its_number_and_a_new_one_takes_the_lowest_free() -> None:
    seen = observed(nexthop(1, OTHER, header(2)), taken=(FIRST,))
    assert numbers([via(1, GATEWAY, header(1)), via(2, OTHER, header(2))], seen) == [2, 1]


def test_another_outer_header_changes_the_object_in_place() -> None:
    seen = observed(nexthop(0, GATEWAY, header(1)), nexthop(1, OTHER, header(2)))
    wanted = [via(1, GATEWAY, header(9)), via(2, OTHER, header(2)), via(3, GATEWAY, header(9))]
    assert numbers(wanted, seen) == [0, 1, 0]
    nexthops, _routes = desire(wanted, seen, True)
    assert nexthops[FIRST] == nexthop(0, GATEWAY, header(9))


def test_an_object_with_a_header_and_one_without_are_two_where_both_are_wanted() -> None:
    seen = observed(nexthop(0, GATEWAY, None))
    assert numbers([via(1, GATEWAY, header(1)), via(2, GATEWAY, None)], seen) == [1, 0]


def test_objects_without_a_gateway_are_told_apart_by_their_headers_alone() -> None:
    # A peer that goes must not hand its routes to one that comes.
    seen = observed(nexthop(0, b"", header(1)), nexthop(1, b"", header(2)))
    assert numbers([via(1, b"", header(2)), via(2, b"", header(3))], seen) == [1, 2]


def test_of_two_objects_for_one_peer_one_is_changed_and_no_number_is_given_twice() -> None:
    seen = observed(nexthop(0, GATEWAY, header(1)), nexthop(1, GATEWAY, header(2)))
    found = numbers([via(1, GATEWAY, header(3)), via(2, GATEWAY, header(4))], seen)
    assert len(set(found)) == 2
    assert set(found) & {0, 1}
