# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
r"""Answers of a kernel (Linux 6.18, little-endian), byte for byte, and what they say. Device 4 is vx.

They were made by

    ip link add vx type vxlan id 84 dstport 4789 local 192.0.2.1 nolearning
    ip addr add 10.244.0.0/32 dev vx
    ip neigh add 10.1.0.0 lladdr 02:00:00:00:00:02 dev vx nud permanent
    bridge fdb add 02:00:00:00:00:02 dev vx dst 192.0.2.2 self permanent
    ip nexthop add id 1409286145 via 10.1.0.0 dev vx onlink proto 84
    ip route add 10.1.0.0/24 nhid 1409286145 proto 84
    ip route add 10.2.0.0/24 via 10.2.0.0 dev vx onlink proto 84
    ip route add blackhole 10.244.0.0/24 proto 84
    ip route add 10.9.0.0/24 proto 84 nexthop via 10.1.0.0 dev vx onlink nexthop via 10.2.0.0 dev vx onlink weight 3
    ip rule add from 10.244.0.0/16 lookup 77 priority 100 protocol 84

and, where vx is `external`,

    ip nexthop add id 9 via fe80::7 dev vx onlink proto 84 encap ip id 7 dst 192.0.2.12
    ip nexthop add id 10 via 10.0.0.1 dev vx onlink proto 84 encap ip6 id 7 \
        dst 2001:db8::1 src 2001:db8::2 hoplimit 5 tc 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import Address, dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.answer import Answer
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, dump_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import dump_links
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour, dump_neighbours
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Hop, Route, dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.rule import Rule, dump_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block

NAMES = {1: "lo", 4: "vx"}
INDEX_OF = {"lo": 1, "vx": 4}
SEQUENCE = 0x54
DONE = bytes.fromhex("14000000 0300 0200 54000000 89030000 00000000")

ADDRESS = bytes.fromhex(
    "4c000000 1400 2200 54000000 89030000 02 20 80 00 04000000"
    "0800 0100 0af40000 0800 0200 0af40000 0700 0300 76780000 0800 0800 80000000"
    "1400 0600 ffffffff ffffffff 76a10400 76a10400"
)
NEIGHBOUR = bytes.fromhex(
    "4c000000 1c00 2200 54000000 89030000 02000000 04000000 8000 00 01"
    "0800 0100 0a010000 0a00 0200 020000000002 0000 0800 0400 00000000"
    "1400 0300 06000000 06000000 06000000 00000000"
)
FDB = bytes.fromhex(
    "44000000 1c00 0200 54000000 89030000 07000000 04000000 c000 02 01"
    "0a00 0200 020000000002 0000 0800 0100 c0000202"
    "1400 0300 00000000 06000000 06000000 00000000"
)
NEXTHOP = bytes.fromhex(
    "30000000 6800 0200 54000000 89030000 02 fd 54 00 040000000800 0100 01000054 0800 0500 04000000 0800 0600 0a010000"
)
NEXTHOP_WITH_HEADER = bytes.fromhex(
    "7c000000 6800 0200 54000000 89030000 0a fd 54 00 04000000 0800 0100 09000000 0800 0500 04000000"
    "1400 0600 fe800000000000000000000000000007"
    "3800 0800 0c00 0100 0000000000000007 0800 0200 c000020c 0800 0300 00000000 0500 0500 00 000000"
    "0500 0400 00 000000 0600 0600 0000 0000 0600 0700 0200 0000"
)
NEXTHOP_WITH_IPV6_HEADER = bytes.fromhex(
    "88000000 6800 0200 54000000 89030000 02 fd 54 00 04000000 0800 0100 0a000000 0800 0500 04000000"
    "0800 0600 0a000001"
    "5000 0800 0c00 0100 0000000000000007 1400 0200 20010db8000000000000000000000001"
    "1400 0300 20010db8000000000000000000000002 0500 0500 03 000000 0500 0400 05 000000 0600 0600 0000 0000"
    "0600 0700 0400 0000"
)
ROUTE_BY_NEXTHOP = bytes.fromhex(
    "44000000 1800 2200 54000000 89030000 02 18 00 00 fe 54 00 01 04000000"
    "0800 0f00 fe000000 0800 0100 0a010000 0800 1e00 01000054 0800 0500 0a010000 0800 0400 04000000"
)
ROUTE_BY_GATEWAY = bytes.fromhex(
    "3c000000 1800 2200 54000000 89030000 02 18 00 00 fe 54 00 01 04000000"
    "0800 0f00 fe000000 0800 0100 0a020000 0800 0500 0a020000 0800 0400 04000000"
)
ROUTE_OF_TWO_WAYS = bytes.fromhex(
    "50000000 1800 2200 54000000 89030000 02 18 00 00 fe 54 00 01 00000000"
    "0800 0f00 fe000000 0800 0100 0a090000 2400 0900"
    "1000 04 00 04000000 0800 0500 0a010000 1000 04 02 04000000 0800 0500 0a020000"
)
BLACKHOLE = bytes.fromhex(
    "2c000000 1800 2200 54000000 89030000 02 18 00 00 fe 54 00 06 00000000 0800 0f00 fe000000 0800 0100 0af40000"
)
RULE = bytes.fromhex(
    "44000000 2000 0200 54000000 89030000 02 00 10 00 4d 00 00 01 00000000"
    "0800 0f00 4d000000 0800 0e00 ffffffff 0500 1500 54 000000 0800 0600 64000000 0800 0200 0af40000"
)
# Shortened: of 48 attributes those that are read, and two that are not.
LINK = bytes.fromhex(
    "98000000 1000 0200 54000000 89030000 0000 0100 04000000 43100100 00000000"
    "0700 0300 76780000 0800 0d00 e8030000 0800 0400 aa050000 0500 2100 01 000000 0a00 0100 020000000001 0000"
    "4c00 1200 0a00 0100 76786c616e00 0000 3c00 0200"
    "0800 0100 54000000 0800 0300 04000000 0800 0400 c0000201 0500 0700 00 000000"
    "0600 0f00 12b5 0000 0800 0900 00000000 0500 0500 00 000000"
)
# An EINVAL with words, for the first message of a batch that begins with sequence number 0x54.
REFUSAL = bytes.fromhex(
    "44000000 0200 0003 54000000 89030000 eaffffff 3c000000 1800 0506 54000000 00000000"
    "1e00 0100 4e657874686f7020696420646f6573206e6f7420657869737400 0000"
)

DATAGRAMS = {
    "links": LINK,
    "addresses": ADDRESS,
    "neighbours": NEIGHBOUR * 2,
    "fdb": FDB * 2,
    "nexthops": NEXTHOP * 2,
    "headers": NEXTHOP_WITH_HEADER * 2 + NEXTHOP + NEXTHOP_WITH_IPV6_HEADER,
    "routes": ROUTE_BY_NEXTHOP * 2 + ROUTE_BY_GATEWAY + ROUTE_OF_TWO_WAYS + BLACKHOLE,
    "rules": RULE,
}

GATEWAY = bytes((10, 1, 0, 0))
OTHER_GATEWAY = bytes((10, 2, 0, 0))
MAC = bytes((2, 0, 0, 0, 0, 2))
LINK_LOCAL = bytes.fromhex("fe800000000000000000000000000007")
PEER = bytes.fromhex("20010db8000000000000000000000001")
NODE = bytes.fromhex("20010db8000000000000000000000002")
SAID: dict[str, Sequence[object]] = {
    "addresses": [Address("vx", 2, bytes((10, 244, 0, 0)), 32, 0, 0x80)],
    "neighbours": [Neighbour("vx", GATEWAY, MAC, 0x80, 0)] * 2,
    "fdb": [FdbEntry("vx", MAC, bytes((192, 0, 2, 2)), 0xC0, 2)] * 2,
    "nexthops": [Nexthop(0x54000001, 2, "vx", GATEWAY, 4, 84)] * 2,
    "headers": [
        *[Nexthop(9, 10, "vx", LINK_LOCAL, 4, 84, encap=Encap("ip", 7, bytes((192, 0, 2, 12))))] * 2,
        Nexthop(0x54000001, 2, "vx", GATEWAY, 4, 84),
        Nexthop(10, 2, "vx", bytes((10, 0, 0, 1)), 4, 84, encap=Encap("ip6", 7, PEER, NODE, 5, 3)),
    ],
    "routes": [
        *[Route(2, GATEWAY, 24, protocol=84, nhid=0x54000001)] * 2,
        Route(2, OTHER_GATEWAY, 24, protocol=84, dev="vx", gateway=OTHER_GATEWAY, flags=4),
        Route(
            2,
            bytes((10, 9, 0, 0)),
            24,
            protocol=84,
            nexthops=(Hop("vx", GATEWAY, 1, 4), Hop("vx", OTHER_GATEWAY, 3, 4)),
        ),
        Route(2, bytes((10, 244, 0, 0)), 24, protocol=84, type=6),
    ],
    "rules": [Rule(2, 100, 77, src=bytes((10, 244, 0, 0)), src_len=16, protocol=84)],
}


class Recorded(Netlink):
    """A connection to a recording instead of the kernel."""

    def __init__(self, *datagrams: bytes) -> None:
        self.strict = True
        self._datagrams = list(datagrams)

    def dump(self, kind: int, body: bytes) -> list[Block]:
        answer = Answer(SEQUENCE)
        for datagram in self._datagrams:
            if answer.add(datagram):
                break
        return answer.blocks()


READERS: dict[str, Callable[[Netlink], Sequence[object]]] = {
    "links": dump_links,
    "addresses": lambda nl: dump_addresses(nl, NAMES),
    "neighbours": lambda nl: dump_neighbours(nl, NAMES),
    "fdb": lambda nl: dump_fdb(nl, NAMES, 4),
    "nexthops": lambda nl: dump_nexthops(nl, NAMES),
    "headers": lambda nl: dump_nexthops(nl, NAMES),
    "routes": lambda nl: dump_routes(nl, NAMES, 2, 84),
    "rules": lambda nl: dump_rules(nl, 2, 84),
}
