# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's dataplane is, read off the kernel and the declarations: for reports, for status, for 3 a.m.

Nothing is changed here, and nothing that is not ours is told, but for the routes that were asked for.
"""

from __future__ import annotations

import errno
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, observed
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    FDB,
    NEIGHBOURS,
    NEXTHOPS,
    NUD_NOARP,
    ROUTES,
    ip_text,
    mac_text,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import dump_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import dump_neighbours
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import RTN_LOCAL, RTN_UNICAST, lookup_route
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import GROUP, PROTOCOL
from ansible_collections.podnet.fabric.plugins.module_utils.resources.peers import named_by_underlay
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import observe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route

DATAPLANES = ("vxlan",)
"""The kinds that carry packets between nodes; each is the name of its declaration and of its links' alias."""

_ALIAS = "podnet:"
# What the kernel answers for routes that reject (ip-route(8)), and where there is none.
_REFUSALS = {
    errno.ENETUNREACH: "no route",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.EINVAL: "blackhole",
}


class Kernel(NamedTuple):
    """What was read off the kernel."""

    kinds: dict[str, str]  # of our links, by name
    nexthops: dict[int, Nexthop]
    routes: list[Route]
    neighbours: list[Neighbour]
    fdb: list[FdbEntry]


def addresses_of(texts: Sequence[str]) -> list[str]:
    """The addresses to look up, without prefix lengths; raises InvalidInput with every one that is none."""
    inspection = Inspection()
    bare = [text.partition("/")[0] for text in texts]
    for position, text in enumerate(bare):
        inspection.ip(f"to[{position}]", text)
    inspection.conclude()
    return bare


def describe(host: Host, declarations: Declarations, to: Sequence[str]) -> dict[str, Any]:
    """The node's dataplane as the module returns it.

    :param to: addresses to look up, checked
    """
    declared = {kind: declarations.read(kind) for kind in declarations.kinds()}
    kernel = _read(host)
    names = host.names
    links = [observed(link) for link in host.links.values() if link.name in kernel.kinds]
    addresses = [address for address in dump_addresses(host.netlink, names) if address.dev in kernel.kinds]
    return {
        "dataplane": _dataplane(declared, kernel),
        "declared": declared,
        "blocks": [block for item in declared.get("ipam_block", {}).values() for block in item["blocks"]],
        "mtu": min((link.mtu for link in links), default=None),
        "links": [LINKS.describe(link) for link in links],
        "addresses": [ADDRESSES.describe(address) for address in addresses],
        "nexthops": [NEXTHOPS.describe(nexthop) for nexthop in kernel.nexthops.values()],
        "routes": [ROUTES.describe(route) for route in kernel.routes],
        "neighbours": [NEIGHBOURS.describe(neighbour) for neighbour in kernel.neighbours],
        "fdb": [FDB.describe(entry) for entry in kernel.fdb],
        "lookups": [look_up(host, kernel, declared, address) for address in to],
    }


def _read(host: Host) -> Kernel:
    kinds = {
        link.name: _kind(link.alias, link.kind) for link in host.links.values() if _is_ours(link.alias, link.group)
    }
    seen = observe(host)
    indexes = [host.index[name] for name in kinds]
    names = host.names
    return Kernel(
        kinds,
        {nexthop.id: nexthop for nexthop in seen.nexthops.values()},
        list(seen.routes.values()),
        [
            neighbour
            for index in indexes
            for neighbour in dump_neighbours(host.netlink, names, index)
            if neighbour.state != NUD_NOARP  # multicast groups, which need no entry
        ],
        [
            entry
            for name, kind in kinds.items()
            if kind in DATAPLANES
            for entry in dump_fdb(host.netlink, names, host.index[name])
        ],
    )


def _is_ours(alias: str, group: int) -> bool:
    return alias.startswith(_ALIAS) or (group == GROUP and not alias)


def _kind(alias: str, kind: str) -> str:
    return alias[len(_ALIAS) :] if alias.startswith(_ALIAS) else kind


def _dataplane(declared: Mapping[str, Items], kernel: Kernel) -> str | None:
    """The declared one; where nothing is declared, the one that is there all the same."""
    for kind in DATAPLANES:
        if declared.get(kind):
            return kind
    return next((kind for kind in kernel.kinds.values() if kind in DATAPLANES), None)


def look_up(host: Host, kernel: Kernel, declared: Mapping[str, Items], address: str) -> dict[str, Any]:
    """Where the kernel sends a packet to this address, and which dataplane that is.

    `dataplane` is one of DATAPLANES (to another node's pod), "bridge" (to a pod of this node), "local" (the node
    itself), "other" (a way that is not ours) or None (nowhere); `problem` says what is missing on the way.
    """
    packed = ip_address(address).packed
    found: dict[str, Any] = dict.fromkeys(("dataplane", "dev", "via", "lladdr", "underlay", "peer", "route", "problem"))
    found = {"to": address, **found}
    try:
        route = lookup_route(host.netlink, host.names, packed)
    except NetlinkError as error:
        return {**found, "problem": _REFUSALS.get(error.errno or 0, str(error))}
    found["route"] = ROUTES.describe(route)
    if route.type != RTN_UNICAST:
        found["dataplane"] = "local" if route.type == RTN_LOCAL else None
        found["problem"] = None if route.type == RTN_LOCAL else found["route"].get("type", str(route.type))
        return found
    dev, gateway = _way(route, kernel)
    kind = kernel.kinds.get(dev, "other")
    found.update(dataplane=kind, dev=dev or None, via=ip_text(gateway) or None)
    if kind in DATAPLANES:
        found.update(_through_tunnel(kernel, declared.get(kind, {}), dev, gateway))
        if route.protocol != PROTOCOL:
            found["problem"] = found["problem"] or f"a route of protocol {route.protocol} leads there, none of ours"
    elif kind == "other" and _in_pool(packed, declared):
        found["problem"] = "an address of the pod network, but no route of ours leads to it"
    return found


def _way(route: Route, kernel: Kernel) -> tuple[str, bytes]:
    if not route.nhid:
        return route.dev, route.gateway
    nexthop = kernel.nexthops.get(route.nhid)
    return ("", b"") if nexthop is None else (nexthop.dev, nexthop.gateway)


def _through_tunnel(kernel: Kernel, items: Items, dev: str, gateway: bytes) -> dict[str, Any]:
    """The rest of the way: the gateway's MAC by the neighbour table, that MAC's underlay address by the FDB."""
    near = next((one for one in kernel.neighbours if (one.dev, one.dst) == (dev, gateway) and one.lladdr), None)
    if near is None:
        return {"problem": f"no neighbour entry for {ip_text(gateway)} on {dev}; run site.yml"}
    entry = next((one for one in kernel.fdb if (one.dev, one.lladdr) == (dev, near.lladdr) and one.dst), None)
    if entry is None:
        missing = f"no FDB entry for {mac_text(near.lladdr)} on {dev}; run site.yml"
        return {"lladdr": mac_text(near.lladdr), "problem": missing}
    underlay = ip_text(entry.dst)
    peers = [peer for item in items.values() for peer in item["peers"]]
    name = named_by_underlay(peers).get(entry.dst)
    problem = None if name else f"no declared peer has the underlay address {underlay}; run site.yml"
    return {"lladdr": mac_text(near.lladdr), "underlay": underlay, "peer": name, "problem": problem}


def _in_pool(packed: bytes, declared: Mapping[str, Items]) -> bool:
    pools = [pool["cidr"] for item in declared.get("ipam_pool", {}).values() for pool in item["pools"]]
    networks = [
        ip_network((address, length), strict=False) for _family, address, length in map(declared_network, pools)
    ]
    return any(
        ip_address(packed) in network for network in networks if len(network.network_address.packed) == len(packed)
    )
