# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outer headers that this kernel must not be given, or does not know, are read all the same."""

from __future__ import annotations

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap, encode_encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes, encode_route
from ansible_collections.podnet.fabric.tests.unit.netlink import recorded
from ansible_collections.podnet.fabric.tests.unit.netlink.recorded import DONE, INDEX_OF, NAMES, Recorded

PEER = bytes((192, 0, 2, 12))
ID = "0c00 0100 0000000000000007"
DST = "0800 0200 c000020c"
SRC = "0800 0300 c0000201"
TTL = "0500 0400 09 000000"
TOS = "0500 0500 04 000000"
FLAGS = "0600 0600 0004 0000"
# LWTUNNEL_IP_OPTS with a LWTUNNEL_IP_OPTS_GENEVE in it: class 0x0102, type 3, four bytes.
OPTIONS = "2000 0880 1c00 0180 0600 0100 0102 0000 0500 0200 03 000000 0800 0300 0a0b0c0d"


def nexthop(*attributes: str, type_: int = 2, id_: int = 9) -> bytes:
    """A nexthop object's message with an outer header of these attributes."""
    nest = bytes.fromhex("".join(attributes))
    kind = b"\x06\0\x07\0" + type_.to_bytes(2, "little") + b"\0\0"
    header = (4 + len(nest)).to_bytes(2, "little") + b"\x08\0" + nest
    body = recorded.NEXTHOP[:28] + id_.to_bytes(4, "little") + recorded.NEXTHOP[32:]
    message = bytearray(body + header + kind)
    message[:4] = len(message).to_bytes(4, "little")
    return bytes(message)


def read(*messages: bytes) -> list[Encap | None]:
    return [hop.encap for hop in dump_nexthops(Recorded(b"".join(messages) + DONE), NAMES)]


def test_options_of_foreign_headers_are_passed_over() -> None:
    message = nexthop(ID, DST, SRC, TOS, TTL, FLAGS, OPTIONS)
    assert read(message, message) == [Encap("ip", 7, PEER, bytes((192, 0, 2, 1)), 9, 4, 4)] * 2


def test_headers_that_have_the_same_size_and_another_order_are_told_apart() -> None:
    usual, other = nexthop(ID, DST, TTL, TOS), nexthop(ID, DST, TOS, TTL)
    assert read(usual, other, usual) == [Encap("ip", 7, PEER, b"", 9, 4)] * 3


def test_headers_of_another_type_are_told_from_each_other_and_from_none() -> None:
    labels = "0800 0100 00640100"
    found = read(nexthop(labels, type_=1, id_=1), nexthop(labels, type_=6, id_=2), nexthop(labels, type_=99, id_=3))
    assert found == [Encap("mpls"), Encap("bpf"), Encap("99")]
    assert read(nexthop(labels, type_=1), recorded.NEXTHOP) == [Encap("mpls"), None]


def test_what_is_not_said_is_nothing() -> None:
    assert read(nexthop(ID), nexthop(ID)) == [Encap("ip", 7)] * 2
    assert read(nexthop("")) == [Encap("ip")]


def test_a_route_by_nexthop_object_does_not_have_the_objects_header() -> None:
    nest = bytes.fromhex(ID + DST)
    header = bytes.fromhex("0600 1500 0200 0000") + (4 + len(nest)).to_bytes(2, "little") + b"\x16\0" + nest
    for start, encap in ((recorded.ROUTE_BY_NEXTHOP, None), (recorded.ROUTE_BY_GATEWAY, Encap("ip", 7, PEER))):
        message = bytearray(start + header)
        message[:4] = len(message).to_bytes(4, "little")
        (route,) = dump_routes(Recorded(bytes(message) + DONE), NAMES, 2, 84)
        assert route.encap == encap


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        (("0800 0100 00000007",), "attribute 1 of an outer header holds 4 bytes instead of 8"),
        ((ID, "1400 0200 20010db8000000000000000000000001"), "attribute 2 of an outer header holds 16 bytes"),
        ((ID, DST, "0600 0400 0900 0000"), "attribute 4 of an outer header holds 2 bytes instead of 1"),
        ((ID, "0c00 0200 c000020c"), "attribute 2 claims 12 bytes of the 8"),
    ],
)
@pytest.mark.parametrize("company", [(), (nexthop(ID, DST),)])
def test_what_is_wrong_with_a_header_is_said(
    attributes: tuple[str, ...], company: tuple[bytes, ...], complaint: str
) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        read(nexthop(*attributes), *company)
    # The same in a table whose rows differ, which is read row by row.
    with pytest.raises(ProtocolError, match=complaint):
        read(nexthop(*attributes), nexthop(*attributes, type_=99), *company)


@pytest.mark.parametrize(
    ("encap", "complaint"),
    [
        (Encap("ip", 7, bytes(16)), "has addresses of 4 bytes"),
        (Encap("ip6", 7, bytes(16), bytes(4)), "has addresses of 16 bytes"),
        (Encap("mpls"), "outer headers of type mpls are not ours to make"),
    ],
)
def test_a_header_that_cannot_be_is_refused(encap: Encap, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        encode_encap(encap, 7, 8)


def test_a_route_with_a_foreign_header_can_be_deleted() -> None:
    route = Route(2, recorded.GATEWAY, 24, protocol=84, dev="vx", encap=Encap("mpls"))
    assert encode_route("delete", route, INDEX_OF) == encode_route("delete", route._replace(encap=None), INDEX_OF)


def test_a_header_is_not_mistaken_for_a_missing_one() -> None:
    assert Nexthop(9, 2, "vx", b"", encap=Encap("ip")) != Nexthop(9, 2, "vx", b"")
