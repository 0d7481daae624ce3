# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kind is in charge of a route or a nexthop object of ours that leads through an interface that is not ours.

Through a device of ours the device tells. Through the underlay the declarations do: what another kind declares is that
kind's, and the rest is anybody's, so that what a killed run has left is cleared away by whichever kind comes next.
A route's key does not tell it: moving from one dataplane to another is replacing routes under the same keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    RT_TABLE_MAIN,
    RTN_UNICAST,
    RTNH_F_ONLINK,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_ip, declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import DATAPLANES, marked
from ansible_collections.podnet.fabric.plugins.module_utils.resources import peers as peering
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import metric

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Observed, Via

ROUTE = "route"


class Share(NamedTuple):
    """What of ours a kind is in charge of, by key."""

    nexthops: dict[Hashable, Nexthop]
    routes: dict[Hashable, Route]


def share_of(
    host: Host,
    kind: str,
    devices: set[str],
    observed: Observed,
    nexthops: Mapping[Hashable, Nexthop],
    routes: Mapping[Hashable, Route],
) -> Share:
    """Our nexthop objects and unicast routes that a kind changes and removes.

    :param devices: the kind's own devices
    :param nexthops: what it wants; what stands of that is in its charge wherever it leads
    :param routes: likewise
    """
    ours = {name for name, link in host.links.items() if marked(link)} - devices
    keys: set[Any] = set()
    places: set[Any] = set()
    for via in _declared_by_others(host, kind):
        keys.add((*via[:3], 0, via[6], via[7]))
        places.add((via[4], via[3]))
    # What is wanted needs no second look: with nothing to do, that is everything.
    held: dict[Hashable, Nexthop] = dict(observed.nexthops)
    for key in observed.nexthops.keys() - nexthops.keys():
        hop = observed.nexthops[key]
        if not (hop[2] in devices or (hop[2] not in ours and hop[2:4] not in places)):
            del held[key]
    mine: dict[Hashable, Route] = dict(observed.routes)
    for key in observed.routes.keys() - routes.keys():
        route = observed.routes[key]
        through = observed.nexthops.get(route[12])
        device = through[2] if through else route[9]
        unicast = route[7] == RTN_UNICAST
        if not (unicast and (device in devices or (device not in ours and key not in keys))):
            del mine[key]
    return Share(held, mine)


def _declared_by_others(host: Host, kind: str) -> Iterator[Via]:
    """The routes through interfaces that are not ours which other kinds declare."""
    for other in host.declarations.kinds():
        if other == kind:
            continue
        if other == ROUTE:
            for item in host.declarations.read(other).values():
                yield from map(route_via, item["routes"])
        elif other in DATAPLANES:
            yield from direct_vias(host.declarations.read(other))


def route_via(route: Mapping[str, Any]) -> Via:
    """A route of kind `route` as the kernel is to have it."""
    family, dst, length = declared_network(route["dst"])
    flags = RTNH_F_ONLINK if route["onlink"] else 0
    return family, dst, length, declared_ip(route["via"]), route["dev"], flags, route["metric"], route["table"], None


def direct_vias(items: Items) -> Iterator[Via]:
    """The routes to on-link peers that items of a dataplane declare, unless they only stand by."""
    for item in items.values():
        if item.get("standby") or not item.get("underlay"):
            continue
        on_link = [peer for peer in item.get("peers", ()) if "direct" in peer]
        for block in peering.pack(on_link):
            if block.direct:
                yield direct_via(block, item["underlay"])


def direct_via(block: peering.Block, underlay: str) -> Via:
    """The route to a block of an on-link peer: its underlay address is the gateway."""
    family, dst, length = block[:3]
    return family, dst, length, block.outer, underlay, 0, metric(family, 0), RT_TABLE_MAIN, None
