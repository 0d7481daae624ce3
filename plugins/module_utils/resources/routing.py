# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes and the nexthop objects behind them: what several kinds ask for in the same way."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    RT_TABLE_MAIN,
    RTN_UNICAST,
    RTNH_F_ONLINK,
    describe_route,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import NEXTHOP_IDS, PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

IP6_RT_PRIO_USER = 1024
"""The metric that the kernel gives an IPv6 route without one (net/ipv6_route.h)."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)
NO_NEXTHOP_OBJECTS = (
    "this kernel has no nexthop objects (Linux 5.3): routes carry their gateways themselves, "
    "which costs the kernel time that grows with the square of the number of peers"
)


class Via(NamedTuple):
    """A wanted unicast route through a gateway. Addresses are packed."""

    family: int
    dst: bytes
    prefixlen: int
    gateway: bytes
    dev: str
    onlink: int
    metric: int = 0
    table: int = RT_TABLE_MAIN


class Observed(NamedTuple):
    """The host's nexthop objects, ours by key, the ids of the others; and our routes by key."""

    nexthops: dict[Hashable, Nexthop]
    taken: set[int]
    routes: dict[Hashable, Route]


def metric(family: int, value: int) -> int:
    """The metric as the kernel stores it."""
    return value or (IP6_RT_PRIO_USER if family == socket.AF_INET6 else 0)


def observe(host: Host, tables: Iterable[int] = (RT_TABLE_MAIN,)) -> Observed:
    """Our nexthop objects and routes, whichever kind declared them."""
    names = host.names
    nexthops: dict[Hashable, Nexthop] = {}
    taken: set[int] = set()
    if host.has_nexthop_objects:
        for nexthop in dump_nexthops(host.netlink, names):
            if nexthop[5] == PROTOCOL:
                nexthops[nexthop[:1]] = nexthop
            else:
                taken.add(nexthop[0])
    routes: dict[Hashable, Route] = {
        route[:6]: route
        for table in tables
        for family in FAMILIES
        for route in dump_routes(host.netlink, names, family, PROTOCOL, table)
    }
    return Observed(nexthops, taken, routes)


def through(observed: Observed, devices: set[str]) -> tuple[dict[Hashable, Nexthop], dict[Hashable, Route]]:
    """Of what was observed: the nexthop objects on these devices, and the unicast routes that lead through them."""
    nexthops = {key: nexthop for key, nexthop in observed.nexthops.items() if nexthop[2] in devices}
    ids = {nexthop[0] for nexthop in nexthops.values()}
    routes = {
        key: route
        for key, route in observed.routes.items()
        if (route.nhid in ids if route.nhid else route.dev in devices) and route.type == RTN_UNICAST
    }
    return nexthops, routes


def desire(
    wanted: Sequence[Via], observed: Observed, with_objects: bool
) -> tuple[dict[Hashable, Nexthop], dict[Hashable, Route]]:
    """The nexthop objects and routes for what is wanted.

    An object that stands keeps its id; a new one takes the lowest free one, so a prediction and what follows agree.
    """
    nexthops: dict[Hashable, Nexthop] = {}
    routes: dict[Hashable, Route] = {}
    if not with_objects:
        for via in wanted:
            route = _route(via, dev=via.dev, gateway=via.gateway, flags=RTNH_F_ONLINK if via.onlink else 0)
            routes[route[:6]] = route
        return nexthops, routes
    standing = {(nexthop[2], nexthop[3]): nexthop[0] for nexthop in reversed(list(observed.nexthops.values()))}
    used = observed.taken | set(standing.values())
    free = (number for number in NEXTHOP_IDS if number not in used)
    ids: dict[tuple[str, bytes], int] = {}
    for via in wanted:
        place = (via.dev, via.gateway)
        number = ids.get(place)
        if number is None:
            number = ids[place] = standing.get(place) or next(free)
            flags = RTNH_F_ONLINK if via.onlink else 0
            nexthops[number,] = Nexthop(number, via.family, via.dev, via.gateway, flags, PROTOCOL, False)
        route = _route(via, nhid=number)
        routes[route[:6]] = route
    return nexthops, routes


def _route(via: Via, dev: str = "", gateway: bytes = b"", flags: int = 0, nhid: int = 0) -> Route:
    return Route(
        via.family,
        via.dst,
        via.prefixlen,
        0,
        metric(via.family, via.metric),
        via.table,
        PROTOCOL,
        RTN_UNICAST,
        0,
        dev,
        gateway,
        flags,
        nhid,
    )


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


def _words(route: Route) -> str:
    return "route " + " ".join(
        str(value) if key == "dst" else key if value is True else f"{key} {value}"
        for key, value in describe_route(route).items()
    )
