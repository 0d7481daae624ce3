# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to the kernel, byte for byte."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import Address, encode_address
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, encode_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Settings, encode_link
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour, encode_neighbour
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, encode_nexthop
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Hop, Route, encode_route
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.rule import Rule, encode_rule
from ansible_collections.podnet.fabric.tests.unit.netlink.recorded import GATEWAY, INDEX_OF, MAC, OTHER_GATEWAY

V6 = bytes.fromhex("fd000000000000000000000000000001")
NETWORK = bytes((10, 244, 0, 0))
ROUTE = Route(2, GATEWAY, 24, protocol=84, nhid=0x54000001)
# Encoder, verb, object, message; the sequence number and the port id are the connection's.
CASES: dict[str, tuple[Callable[..., bytes], str, Any, str]] = {
    "address": (
        encode_address,
        "create",
        Address("vx", 2, NETWORK, 32, 0, 0x80 | 0x200),
        "30000000 1400 0106 00000000 00000000 02 20 00 00 04000000"
        "0800 0200 0af40000 0800 0100 0af40000 0800 0800 00020000",
    ),
    "address, to delete": (
        encode_address,
        "delete",
        Address("vx", 10, V6, 64),
        "40000000 1500 0100 00000000 00000000 0a 40 00 00 04000000"
        "1400 0200 fd000000000000000000000000000001 1400 0100 fd000000000000000000000000000001",
    ),
    "neighbour": (
        encode_neighbour,
        "replace",
        Neighbour("vx", GATEWAY, MAC),
        "30000000 1c00 0105 00000000 00000000 02000000 04000000 8000 00 00"
        "0a00 0200 020000000002 0000 0800 0100 0a010000",
    ),
    "neighbour, IPv6": (
        encode_neighbour,
        "create",
        Neighbour("vx", V6, MAC),
        "3c000000 1c00 0106 00000000 00000000 0a000000 04000000 8000 00 00"
        "0a00 0200 020000000002 0000 1400 0100 fd000000000000000000000000000001",
    ),
    "neighbour, unresolved, to delete": (
        encode_neighbour,
        "delete",
        Neighbour("vx", GATEWAY, b"", 0x20),
        "24000000 1d00 0100 00000000 00000000 02000000 04000000 2000 00 00 0800 0100 0a010000",
    ),
    "fdb": (
        encode_fdb,
        "create",
        FdbEntry("vx", MAC, bytes((192, 0, 2, 2))),
        "30000000 1c00 0106 00000000 00000000 07000000 04000000 c000 02 00"
        "0a00 0200 020000000002 0000 0800 0100 c0000202",
    ),
    "fdb, flooding with port and VNI": (
        encode_fdb,
        "append",
        FdbEntry("vx", bytes(6), bytes((192, 0, 2, 2)), port=4789, vni=85),
        "40000000 1c00 010c 00000000 00000000 07000000 04000000 c000 02 00"
        "0a00 0200 000000000000 0000 0800 0100 c0000202 0600 0600 12b5 0000 0800 0700 55000000",
    ),
    "nexthop": (
        encode_nexthop,
        "create",
        Nexthop(0x54000001, 2, "vx", GATEWAY, 4, 84),
        "30000000 6800 0106 00000000 00000000 02 00 54 00 04000000"
        "0800 0100 01000054 0800 0500 04000000 0800 0600 0a010000",
    ),
    "nexthop, blackhole": (
        encode_nexthop,
        "replace",
        Nexthop(7, 10, "", b"", 0, 84, blackhole=True),
        "24000000 6800 0105 00000000 00000000 0a 00 54 00 00000000 0800 0100 07000000 0400 0400",
    ),
    "nexthop, outer header": (
        encode_nexthop,
        "create",
        Nexthop(0x54000001, 2, "vx", GATEWAY, 4, 84, encap=Encap("ip", 84, OTHER_GATEWAY, NETWORK, 9, 4, 0x0104)),
        "70000000 6800 0106 00000000 00000000 02 00 54 00 04000000"
        "0800 0100 01000054 0800 0500 04000000 0800 0600 0a010000 0600 0700 0200 0000 3800 0880"
        "0c00 0100 0000000000000054 0800 0200 0a020000 0800 0300 0af40000 0500 0400 09 000000 0500 0500 04 000000"
        "0600 0600 0104 0000",
    ),
    "nexthop, IPv6 outer header, no gateway": (
        encode_nexthop,
        "replace",
        Nexthop(7, 10, "vx", b"", 0, 84, encap=Encap("ip6", 0, V6)),
        "80000000 6800 0105 00000000 00000000 0a 00 54 00 00000000 0800 0100 07000000 0800 0500 04000000"
        "0600 0700 0400 0000 5000 0880"
        "0c00 0100 0000000000000000 1400 0200 fd000000000000000000000000000001"
        "1400 0300 00000000000000000000000000000000 0500 0400 00 000000 0500 0500 00 000000 0600 0600 0000 0000",
    ),
    "nexthop, to delete": (
        encode_nexthop,
        "delete",
        Nexthop(0x54000001, 2, "vx", GATEWAY, 4, 84),
        "20000000 6900 0100 00000000 00000000 00 00 00 00 00000000 0800 0100 01000054",
    ),
    "route": (
        encode_route,
        "create",
        ROUTE,
        "3c000000 1800 0106 00000000 00000000 02 18 00 00 fe 54 00 01 00000000"
        "0800 0f00 fe000000 0800 0600 00000000 0800 0100 0a010000 0800 1e00 01000054",
    ),
    "route, to delete": (
        encode_route,
        "delete",
        ROUTE,
        "3c000000 1900 0100 00000000 00000000 02 18 00 00 fe 54 ff 01 00000000"
        "0800 0f00 fe000000 0800 0600 00000000 0800 0100 0a010000 0800 1e00 01000054",
    ),
    "route, onlink, in a table above 255": (
        encode_route,
        "replace",
        Route(2, OTHER_GATEWAY, 24, 0, 9, 1000, 84, dev="vx", gateway=OTHER_GATEWAY, flags=4),
        "44000000 1800 0105 00000000 00000000 02 18 00 00 00 54 00 01 04000000"
        "0800 0f00 e8030000 0800 0600 09000000 0800 0100 0a020000 0800 0400 04000000 0800 0500 0a020000",
    ),
    "route, outer header": (
        encode_route,
        "create",
        Route(2, OTHER_GATEWAY, 24, protocol=84, dev="vx", encap=Encap("ip", 84, GATEWAY)),
        "7c000000 1800 0106 00000000 00000000 02 18 00 00 fe 54 00 01 00000000"
        "0800 0f00 fe000000 0800 0600 00000000 0800 0100 0a020000 0800 0400 04000000 0600 1500 0200 0000 3800 1680"
        "0c00 0100 0000000000000054 0800 0200 0a010000 0800 0300 00000000 0500 0400 00 000000 0500 0500 00 000000"
        "0600 0600 0000 0000",
    ),
    "route, IPv6, default metric": (
        encode_route,
        "append",
        Route(10, V6, 128, protocol=84, type=6),
        "40000000 1800 010c 00000000 00000000 0a 80 00 00 fe 54 00 06 00000000"
        "0800 0f00 fe000000 0800 0600 00040000 1400 0100 fd000000000000000000000000000001",
    ),
    "route, two ways, one over IPv6": (
        encode_route,
        "create",
        Route(2, GATEWAY, 24, protocol=84, nexthops=(Hop("vx", GATEWAY, 1, 4), Hop("vx", V6, 3))),
        "68000000 1800 0106 00000000 00000000 02 18 00 00 fe 54 00 01 00000000"
        "0800 0f00 fe000000 0800 0600 00000000 0800 0100 0a010000 3400 0900"
        "1000 04 00 04000000 0800 0500 0a010000"
        "2000 00 02 04000000 1600 1200 0a00 fd000000000000000000000000000001 0000",
    ),
    "link": (
        encode_link,
        "create",
        Settings(
            "x0", "vxlan", 1450, MAC, group=84, parent="vx", data={"id": 85, "local": NETWORK, "port": 4789, "ttl": 9}
        ),
        "80000000 1000 0106 00000000 00000000 0000 0000 00000000 00000000 00000000"
        "0700 0300 783000 00 0a00 0100 020000000002 0000 0800 0400 aa050000 0800 1b00 54000000"
        "3c00 1200 0a00 0100 76786c616e00 0000 2c00 0200"
        "0800 0100 55000000 0800 0400 0af40000 0600 0f00 12b5 0000 0500 0500 09 000000 0800 0300 04000000",
    ),
    "link, external, of IPv6": (
        encode_link,
        "create",
        Settings("i1", "ip6tnl", data={"external": True, "proto": 41, "local": V6}),
        "5c000000 1000 0106 00000000 00000000 0000 0000 00000000 00000000 00000000 0700 0300 693100 00"
        "3400 1200 0b00 0100 697036746e6c00 00 2400 0200"
        "0400 1300 0500 0900 29 000000 1400 0200 fd000000000000000000000000000001",
    ),
    "link, not external, no data": (
        encode_link,
        "create",
        Settings("w0", "wireguard", data={}),
        "3c000000 1000 0106 00000000 00000000 0000 0000 00000000 00000000 00000000 0700 0300 773000 00"
        "1400 1200 0e00 0100 7769726567756172 6400 0000",
    ),
    "link, to change": (
        encode_link,
        "change",
        Settings("x0", alias="podnet:x", up=True, addr_gen_mode=1),
        "44000000 1000 0100 00000000 00000000 0000 0000 00000000 01000000 01000000 0700 0300 783000 00"
        "0c00 1400 706f646e65743a78 1000 1a00 0c00 0a00 0500 0800 01 000000",
    ),
    "link, to take down": (
        encode_link,
        "change",
        Settings("x0", up=False),
        "28000000 1000 0100 00000000 00000000 0000 0000 00000000 00000000 01000000 0700 0300 783000 00",
    ),
    "link, to delete": (
        encode_link,
        "delete",
        Settings("vx"),
        "20000000 1100 0100 00000000 00000000 0000 0000 04000000 00000000 00000000",
    ),
    "rule": (
        encode_rule,
        "create",
        Rule(2, 100, 77, src=NETWORK, src_len=16, iif="vx", protocol=84, invert=True),
        "44000000 2000 0106 00000000 00000000 02 00 10 00 4d 00 00 01 02000000"
        "0800 0600 64000000 0500 1500 54 000000 0800 0f00 4d000000 0800 0200 0af40000 0700 0300 767800 00",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_message_is_what_the_kernel_expects(case: str) -> None:
    encode, verb, described, expected = CASES[case]
    message = encode(verb, described, INDEX_OF)
    assert message.hex(" ", 4) == bytes.fromhex(expected).hex(" ", 4)
    assert struct.unpack_from("=I", message)[0] == len(message)
    assert len(message) % 4 == 0


@pytest.mark.parametrize(
    ("encode", "described"),
    [
        (encode_address, Address("eth9", 2, GATEWAY, 24)),
        (encode_neighbour, Neighbour("eth9", GATEWAY, MAC)),
        (encode_fdb, FdbEntry("eth9", MAC, GATEWAY)),
        (encode_nexthop, Nexthop(1, 2, "eth9", GATEWAY)),
        (encode_link, Settings("x0", "vxlan", parent="eth9")),
        (encode_route, Route(2, GATEWAY, 24, dev="eth9")),
        (encode_route, Route(2, GATEWAY, 24, nexthops=(Hop("eth9", GATEWAY),))),
    ],
)
def test_a_device_that_is_not_there_is_named(encode: Callable[..., bytes], described: object) -> None:
    with pytest.raises(NetlinkError, match=r"No such device: there is no device 'eth9'") as caught:
        encode("create", described, INDEX_OF)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("encode", "described"),
    [
        (encode_neighbour, Neighbour("vx", b"\x0a", MAC)),
        (encode_fdb, FdbEntry("vx", MAC[:5], GATEWAY)),
        (encode_fdb, FdbEntry("vx", MAC, GATEWAY + b"\0")),
        (encode_nexthop, Nexthop(1, 2, "vx", V6)),
        (encode_route, Route(2, V6, 24)),
        (encode_route, Route(10, GATEWAY, 24)),
        (encode_route, Route(10, V6, 64, dev="vx", gateway=GATEWAY)),
        (encode_route, Route(2, GATEWAY, 24, dev="vx", gateway=MAC)),
        (encode_route, Route(2, GATEWAY, 24, dev="vx", prefsrc=V6)),
        (encode_rule, Rule(10, 1, 1, src=GATEWAY, src_len=8)),
        (encode_address, Address("vx", 10, GATEWAY, 24)),
    ],
)
def test_an_address_of_a_wrong_size_is_refused_and_not_cut(encode: Callable[..., bytes], described: object) -> None:
    with pytest.raises(ValueError, match="bytes"):
        encode("create", described, INDEX_OF)


@pytest.mark.parametrize(
    ("kind", "data", "complaint"),
    [
        ("ipip", {"local": V6}, "links of kind ipip have no local like"),
        ("vxlan", {"local": "192.0.2.1"}, "links of kind vxlan have no local like '192.0.2.1'"),
        ("geneve", {"vni": 7}, "links of kind geneve have no vni like 7"),
        ("wireguard", {"port": 7}, "links of kind wireguard have no port like 7"),
    ],
)
def test_an_attribute_that_a_kind_does_not_have_is_refused(kind: str, data: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        encode_link("create", Settings("x0", kind, data=data), INDEX_OF)
