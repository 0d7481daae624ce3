# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes and the nexthop objects behind them: what several kinds ask for in the same way."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

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
    from collections.abc import Hashable, Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap

IP6_RT_PRIO_USER = 1024
"""The metric that the kernel gives an IPv6 route without one (net/ipv6_route.h)."""

FAMILIES = (AF_INET, AF_INET6)
NO_NEXTHOP_OBJECTS = (
    "this kernel has no nexthop objects (Linux 5.3): routes carry their gateways themselves, "
    "which costs the kernel time that grows with the square of the number of peers"
)


# A wanted unicast route: family, packed destination, prefix length, packed gateway, device, flags (RTNH_F_ONLINK or 0),
# metric, table, the outer header that a lightweight tunnel puts before the packet or None.
if TYPE_CHECKING:
    Via = tuple[int, bytes, int, bytes, str, int, int, int, Optional[Encap]]


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


def desire(
    wanted: Sequence[Via], observed: Observed, with_objects: bool
) -> tuple[dict[Hashable, Nexthop], dict[Hashable, Route]]:
    """The nexthop objects and routes for what is wanted.

    An object that stands keeps its id; a new one takes the lowest free one, so a prediction and what follows agree.
    """
    if not wanted:
        return {}, {}
    # By columns: there may be many thousands, and a row at a time takes three times as long.
    families, dsts, lengths, gateways, devs, flags, preferences, tables, encaps = zip(*wanted)
    metrics = [metric(family, preference) for family, preference in zip(families, preferences)]
    count = len(wanted)
    keys = zip(families, dsts, lengths, repeat(0, count), metrics, tables)
    fixed = (families, dsts, lengths, repeat(0), metrics, tables, repeat(PROTOCOL), repeat(RTN_UNICAST), repeat(0))
    rest = (repeat(b""), repeat(()))
    if not with_objects:
        return {}, dict(zip(keys, records(Route, *fixed, devs, gateways, flags, repeat(0), *rest, encaps)))
    numbers = _numbered(zip(families, devs, gateways, encaps), observed)
    hops = records(Nexthop, numbers, families, devs, gateways, flags, repeat(PROTOCOL), repeat(False), encaps)
    routes = records(Route, *fixed, repeat(""), repeat(b""), repeat(0), numbers, *rest, repeat(None))
    return dict(zip(numbers, hops)), dict(zip(keys, routes))


def _numbered(places: Iterable[tuple[int, str, bytes, Any]], observed: Observed) -> list[int]:
    """The ids of the nexthop objects for these families, devices, gateways and outer headers."""
    ids = {(hop[1], hop[2], hop[3], hop[7]): hop[0] for hop in reversed(list(observed.nexthops.values()))}
    wanted = list(places)
    numbers = [ids.get(place, 0) for place in wanted]
    if 0 not in numbers:
        return numbers
    used = observed.taken.union(ids.values())
    free = (number for number in NEXTHOP_IDS if number not in used)
    # An object of which only the outer header is another one is changed in place, and the peer's routes with it.
    outdated = ids.keys() - set(wanted)
    spare = {place[:3]: ids[place] for place in sorted(outdated, key=ids.__getitem__) if place[2]}
    for place in wanted:
        if place not in ids:
            ids[place] = spare.pop(place[:3], 0) or next(free)
    return [ids[place] for place in wanted]


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
