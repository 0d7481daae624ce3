# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes and the nexthop objects behind them: what several kinds ask for in the same way."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    RT_TABLE_MAIN,
    RTN_UNICAST,
    describe_route,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import records
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import NEXTHOP_IDS, PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

IP6_RT_PRIO_USER = 1024
"""The metric that the kernel gives an IPv6 route without one (net/ipv6_route.h)."""

FAMILIES = (AF_INET, AF_INET6)
NO_NEXTHOP_OBJECTS = (
    "this kernel has no nexthop objects (Linux 5.3): routes carry their gateways themselves, "
    "which costs the kernel time that grows with the square of the number of peers"
)


# A wanted unicast route: family, packed destination, prefix length, packed gateway, device, flags (RTNH_F_ONLINK or 0),
# metric, table.
Via = tuple[int, bytes, int, bytes, str, int, int, int]


class Observed(NamedTuple):
    """The host's nexthop objects, ours by key, the ids of the others; and our routes by key."""

    nexthops: dict[Hashable, Nexthop]
    taken: set[int]
    routes: dict[Hashable, Route]


def metric(family: int, value: int) -> int:
    """The metric as the kernel stores it."""
    return value or (IP6_RT_PRIO_USER if family == AF_INET6 else 0)


def observe(host: Host, tables: Iterable[int] = (RT_TABLE_MAIN,)) -> Observed:
    """Our nexthop objects and routes, whichever kind declared them."""
    names = host.names
    nexthops: dict[Hashable, Nexthop] = {}
    taken: set[int] = set()
    if host.has_nexthop_objects:
        for nexthop in dump_nexthops(host.netlink, names):
            if nexthop[5] == PROTOCOL:
                nexthops[nexthop[0]] = nexthop
            else:
                taken.add(nexthop[0])
    routes: dict[Hashable, Route] = {
        route[:6]: route
        for table in tables
        for family in FAMILIES
        for route in dump_routes(host.netlink, names, family, PROTOCOL, table)
    }
    return Observed(nexthops, taken, routes)


class Share(NamedTuple):
    """The nexthop objects on some devices, our unicast routes through them, and our other routes."""

    nexthops: dict[Hashable, Nexthop]
    routes: dict[Hashable, Route]
    others: dict[Hashable, Route]

    def take_over(self, wanted: dict[Hashable, Route]) -> None:
        """Count other routes of ours among those through the devices where they are to become such, in place."""
        self.routes.update((key, route) for key, route in self.others.items() if key in wanted)


def through(observed: Observed, devices: set[str]) -> Share:
    """What of ours leads through these devices, and what does not."""
    nexthops = {key: nexthop for key, nexthop in observed.nexthops.items() if nexthop[2] in devices}
    routes: dict[Hashable, Route] = {}
    others: dict[Hashable, Route] = {}
    for key, route in observed.routes.items():
        nhid = route[12]
        if (nhid in nexthops if nhid else route[9] in devices) and route[7] == RTN_UNICAST:
            routes[key] = route
        else:
            others[key] = route
    return Share(nexthops, routes, others)


def desire(
    wanted: Sequence[Via], observed: Observed, with_objects: bool
) -> tuple[dict[Hashable, Nexthop], dict[Hashable, Route]]:
    """The nexthop objects and routes for what is wanted.

    An object that stands keeps its id; a new one takes the lowest free one, so a prediction and what follows agree.
    """
    if not wanted:
        return {}, {}
    # By columns: there may be many thousands, and a row at a time takes three times as long.
    families, dsts, lengths, gateways, devs, flags, preferences, tables = zip(*wanted)
    metrics = [metric(family, preference) for family, preference in zip(families, preferences)]
    count = len(wanted)
    keys = zip(families, dsts, lengths, repeat(0, count), metrics, tables)
    fixed = (families, dsts, lengths, repeat(0), metrics, tables, repeat(PROTOCOL), repeat(RTN_UNICAST), repeat(0))
    rest = (repeat(b""), repeat(()))
    if not with_objects:
        return {}, dict(zip(keys, records(Route, *fixed, devs, gateways, flags, repeat(0), *rest)))
    numbers = _numbered(zip(devs, gateways), observed)
    hops = records(Nexthop, numbers, families, devs, gateways, flags, repeat(PROTOCOL), repeat(False))
    routes = records(Route, *fixed, repeat(""), repeat(b""), repeat(0), numbers, *rest)
    return dict(zip(numbers, hops)), dict(zip(keys, routes))


def _numbered(places: Iterable[tuple[str, bytes]], observed: Observed) -> list[int]:
    """The ids of the nexthop objects for these devices and gateways."""
    ids = {(nexthop[2], nexthop[3]): nexthop[0] for nexthop in reversed(list(observed.nexthops.values()))}
    used = observed.taken.union(ids.values())
    free = (number for number in NEXTHOP_IDS if number not in used)
    return [ids.get(place) or ids.setdefault(place, next(free)) for place in places]


def foreign_in_the_way(host: Host, current: dict[Hashable, Route], desired: dict[Hashable, Route]) -> list[str]:
    """A line for each route that would be made or changed although another owner's stands under the same key.

    The protocol is not part of the kernel's key, so a replace would silently take the other's route.
    """
    if current == desired:
        return []
    keys = {key for key, route in desired.items() if current.get(key) != route}
    lines: list[str] = []
    for family, table in sorted({(key[0], key[5]) for key in keys}):  # type: ignore[index]
        lines += [
            f"{_words(route)} exists and is not ours; remove it or give it another metric"
            for route in dump_routes(host.netlink, host.names, family, 0, table)
            if route.protocol != PROTOCOL and route[:6] in keys
        ]
    return lines


def astray(host: Host, gateways: set[bytes], wanted: Container[Hashable]) -> list[str]:
    """A line for each foreign IPv6 route that leads on-link gateways of ours another way.

    Those under the key of a wanted route are foreign_in_the_way's to name.

    The kernel refuses such a gateway, unless the route is the default one or rejects (ip6_route_check_nh_onlink).
    """
    if not gateways:
        return []
    by_length: dict[int, dict[int, Route]] = {}
    for route in dump_routes(host.netlink, host.names, AF_INET6):
        if route.prefixlen and route.type == RTN_UNICAST and (route.protocol == PROTOCOL or route[:6] not in wanted):
            number = int.from_bytes(route.dst.ljust(16, b"\0"), "big") >> (128 - route.prefixlen)
            by_length.setdefault(route.prefixlen, {}).setdefault(number, route)
    lengths = sorted(by_length, reverse=True)
    found: dict[Route, int] = {}
    for gateway in gateways:
        number = int.from_bytes(gateway, "big")
        covering = (by_length[length].get(number >> (128 - length)) for length in lengths)
        longest = next((route for route in covering if route), None)
        if longest and longest.protocol != PROTOCOL:
            found[longest] = found.get(longest, 0) + 1
    return [
        f"{_words(route)} leads {count} gateways of peers another way, and the kernel then refuses them; "
        "narrow that route, or choose podnet_pools outside of it"
        for route, count in found.items()
    ]


def _words(route: Route) -> str:
    return "route " + " ".join(
        str(value) if key == "dst" else key if value is True else f"{key} {value}"
        for key, value in describe_route(route).items()
    )
