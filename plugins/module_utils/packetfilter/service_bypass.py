# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs go by that send packets between pods on past the host (ebpf/bypass.h): where addresses are, and ways.

A way is a device by which the node's routes lead to pods of other nodes. It has to be one of Ethernet that needs no
more than a frame: what takes the route's outer header from the kernel stays the kernel's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import RTN_UNICAST, dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import INSIDE_KEY, packed
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import (
    BITS,
    aligned,
    holds,
    merged,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route
    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_target import Declared
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges

Elements = Mapping[str, Mapping[bytes, bytes]]
"""By map."""

PLACES, WAYS = MAPS = ("places", "ways")

ELSEWHERE, HERE, NO_POD = 1, 2, 3
_WORDS = {ELSEWHERE: "pods of other nodes", HERE: "pods", NO_POD: "no pods"}
NUMBER = struct.Struct("=I")
WAY = struct.Struct("=I6s2x")

_FAMILIES = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_MAC = 6
_HOME = NUMBER.pack(0)
_FRAMED = ("", "veth", "vxlan", "geneve", "vlan", "bond", "team", "bridge", "macvlan")


def ways(declared: Declared, bridge: str, host: Host) -> list[str]:
    """The devices by which the main table leads to pods of other nodes."""
    found: set[str] = set()
    objects = (
        {each.id: each.dev for each in dump_nexthops(host.netlink, host.names)} if host.has_nexthop_objects else {}
    )
    for family, number in _FAMILIES.items():
        pods = declared.pods.get(family, ())
        for route in dump_routes(host.netlink, host.names, number) if pods else ():
            if route.type == RTN_UNICAST and route.prefixlen and _touches(pods, family, route):
                found.update((route.dev, objects.get(route.nhid, ""), *(hop.dev for hop in route.nexthops)))
    return sorted(name for name in found if name != bridge and name in host.links and _takes_frames(host.links[name]))


def render(declared: Declared, devices: Collection[str], bridge: str, host: Host) -> Elements:
    """The elements, by map; none of ways where there is no bridge."""
    found: dict[str, dict[bytes, bytes]] = {PLACES: {}, WAYS: {}}
    for family, bits in BITS.items():
        for place, ranges in (
            (ELSEWHERE, declared.pods.get(family, ())),
            (HERE, declared.blocks.get(family, ())),
            (NO_POD, declared.ranges.get(family, ())),
            (NO_POD, _services(declared, family)),
        ):
            for first, length in aligned(bits, ranges):
                key = INSIDE_KEY.pack(32 + length, family == 6, packed(family, first))
                found[PLACES][key] = NUMBER.pack(place)
    home = host.links.get(bridge)
    if home is not None and len(home.mac) == _MAC:
        for link in (home, *(host.links[each] for each in devices)):
            found[WAYS][NUMBER.pack(link.index)] = WAY.pack(link.index, link.mac)
        found[WAYS][_HOME] = WAY.pack(home.index, home.mac)  # the last one: as long as it is not there nothing passes
    return found


def describe(elements: Elements, names: Mapping[int, str]) -> list[str]:
    """What the elements say, a line each, sorted."""
    lines = []
    for key, value in elements[PLACES].items():
        length, ipv6, address = INSIDE_KEY.unpack(key)
        (place,) = NUMBER.unpack(value)
        prefix = IP_TEXTS[address if ipv6 else address[:4]]
        lines.append(f"{_WORDS.get(place, place)} in {prefix}/{length - 32}")
    for key, value in elements[WAYS].items():
        index, mac = WAY.unpack(value)
        role = "the bridge is" if key == _HOME else "a way is"
        lines.append(f"{role} {names.get(index, index)} {mac.hex(':')}")
    return sorted(lines)


def _services(declared: Declared, family: int) -> Ranges:
    """The addresses of services that are none of the cluster's, where they might be taken for a pod's."""
    known, pods = declared.ranges.get(family, ()), declared.pods.get(family, ())
    addresses = {
        frontend.address
        for frontend in declared.table.frontends
        if frontend.family == family and frontend.address is not None
    }
    return merged((each, each) for each in addresses if holds(pods, each) and not holds(known, each))


def _touches(pods: Ranges, family: int, route: Route) -> bool:
    first = int.from_bytes(route.dst, "big")
    last = first | (1 << (BITS[family] - route.prefixlen)) - 1
    return any(first <= end and begin <= last for begin, end in pods)


def _takes_frames(link: Link) -> bool:
    return link.kind in _FRAMED and len(link.mac) == _MAC and not link.master and not link.data.get("external")
