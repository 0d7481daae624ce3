# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel would do with a packet to an address: route, device, and what the device puts around the packet.

Ours and foreign devices are followed alike. Nothing is sent; what is really sent is trail.py's.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    NUD_NOARP,
    describe_route,
    ip_text,
    mac_text,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import dump_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import dump_neighbours
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import RTN_LOCAL, RTN_UNICAST, lookup_route
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import PROTOCOL, alias, marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route

# What the kernel answers for routes that reject (ip-route(8)), and where there is none.
REFUSALS = {
    errno.ENETUNREACH: "no route",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.EINVAL: "blackhole",
}
# Kind of a link (IFLA_INFO_KIND) -> what it makes of a packet, in the words of probe/decode.py.
ETHERNET_TUNNELS = {"vxlan": "vxlan", "geneve": "geneve", "gretap": "gre", "ip6gretap": "gre"}
IP_TUNNELS = {"ipip": "ipip", "ip6tnl": "ip6ip6", "sit": "ip6ip6", "gre": "gre", "ip6gre": "gre"}
TUNNELS = {**ETHERNET_TUNNELS, **IP_TUNNELS, "wireguard": "wireguard"}
# Protocol numbers of routing daemons: BIRD, FRR's bgpd (rt_protos of iproute2).
BGP_PROTOCOLS = (12, 186)
_ZERO_MAC = bytes(6)


class Endpoint(NamedTuple):
    """Where a WireGuard device sends packets for a prefix."""

    address: bytes
    prefixlen: int
    outer: bytes  # empty as long as the peer has none
    port: int


class Kernel(NamedTuple):
    """What ways are worked out from."""

    links: Mapping[str, Link]
    kinds: Mapping[str, str]  # of our links, by name
    nexthops: Mapping[int, Nexthop]  # everybody's
    neighbours: Mapping[tuple[str, bytes], Neighbour]  # on our links and on all tunnels, by device and address
    entries: Sequence[FdbEntry]  # of all tunnels that have an FDB
    fdb: Mapping[tuple[str, bytes], FdbEntry]  # the same by device and MAC
    endpoints: Mapping[str, Sequence[Endpoint]]  # of the peers of all WireGuard devices, by device


class Way(NamedTuple):
    """The way of a packet, as far as the kernel's tables tell it. Empty texts and None: does not apply, or unknown."""

    to: str
    carrier: str  # a value of TUNNELS, "host_gw", "bgp", "routed" (direct routes), "on-link", "bridge", "local" or ""
    ours: bool = False  # the device or the route carries our mark
    dev: str = ""
    kind: str = ""  # of the device
    via: str = ""
    lladdr: str = ""
    outer: str = ""  # where the outer packet, or the packet itself, goes next on the underlay
    vni: int | None = None
    port: int | None = None
    protocol: int = 0  # of the route: who made it
    route: Mapping[str, Any] | None = None
    several: bool = False  # a multipath route, of which this is the first way
    problem: str = ""  # why a packet would not get there


def read(host: Host) -> Kernel:
    """Read the tables once for all addresses."""
    names, index = host.names, host.index
    kinds = {link.name: _our_kind(link) for link in host.links.values() if marked(link)}
    ethernet = [link.name for link in host.links.values() if link.kind in ETHERNET_TUNNELS]
    entries = [entry for name in ethernet for entry in dump_fdb(host.netlink, names, index[name])]
    return Kernel(
        dict(host.links),
        kinds,
        {nexthop.id: nexthop for nexthop in dump_nexthops(host.netlink, names)} if host.has_nexthop_objects else {},
        {
            (near.dev, near.dst): near
            for name in {**dict.fromkeys(kinds), **dict.fromkeys(ethernet)}
            for near in dump_neighbours(host.netlink, names, index[name])
            if near.state != NUD_NOARP  # multicast groups, which need no entry
        },
        entries,
        {(entry.dev, entry.lladdr): entry for entry in entries},
        _endpoints([link.name for link in host.links.values() if link.kind == "wireguard"]),
    )


def _endpoints(devices: Sequence[str]) -> dict[str, list[Endpoint]]:
    """The peers' endpoints by what they may be sent; of no device where the kernel does not tell."""
    found: dict[str, list[Endpoint]] = {}
    if not devices:
        return found
    # A protocol of its own, which few nodes need.
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink import wireguard
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import family_id, open_generic

    with open_generic() as generic:
        try:
            family = family_id(generic, wireguard.FAMILY)
            for name in devices:
                found[name] = [
                    Endpoint(address, length, peer.endpoint, peer.port)
                    for peer in wireguard.get_device(generic, family, name).peers
                    for _family, address, length in peer.allowed_ips
                ]
        except NetlinkError:
            return found
    return found


def _our_kind(link: Link) -> str:
    mark = alias("")
    return link.alias[len(mark) :] if link.alias.startswith(mark) else link.kind


def find(host: Host, kernel: Kernel, address: str) -> Way:
    """The way to an address, given as text without a prefix length."""
    packed = packed_ip(address) or b""
    try:
        route = lookup_route(host.netlink, host.names, packed)
    except NetlinkError as error:
        return Way(address, "", problem=REFUSALS.get(error.errno or 0, str(error)))
    return follow(kernel, address, packed, route)


def follow(kernel: Kernel, address: str, packed: bytes, route: Route) -> Way:
    """The way that a route means."""
    shown = describe_route(route)
    if route.type != RTN_UNICAST:
        local = route.type == RTN_LOCAL
        refusal = "" if local else str(shown.get("type", route.type))
        return Way(address, "local" if local else "", protocol=route.protocol, route=shown, problem=refusal)
    dev, gateway, encap, several = _hop(route, kernel)
    link = kernel.links.get(dev)
    kind = link.kind if link else ""
    way = Way(
        address,
        "",
        ours=dev in kernel.kinds or route.protocol == PROTOCOL,
        dev=dev,
        kind=kind,
        via=ip_text(gateway),
        protocol=route.protocol,
        route=shown,
        several=several > 1,
    )
    if link is None:
        return way._replace(problem=f"the route leads through {dev or 'no device'}, which is not here")
    if kind in TUNNELS:
        return _tunnelled(kernel, link, way, gateway or packed, encap)
    if kind == "bridge" and not gateway:
        return way._replace(carrier="bridge")
    if not gateway:
        return way._replace(carrier="on-link", outer=address)
    carrier = "host_gw" if route.protocol == PROTOCOL else "bgp" if route.protocol in BGP_PROTOCOLS else "routed"
    return way._replace(carrier=carrier, outer=way.via)


def _hop(route: Route, kernel: Kernel) -> tuple[str, bytes, Any, int]:
    """Device, gateway, outer header, and the number of ways that there are."""
    if route.nhid:
        nexthop = kernel.nexthops.get(route.nhid)
        return ("", b"", None, 0) if nexthop is None else (nexthop.dev, nexthop.gateway, nexthop.encap, 1)
    if route.nexthops:
        return route.nexthops[0].dev, route.nexthops[0].gateway, None, len(route.nexthops)
    return route.dev, route.gateway, route.encap, 1


def _tunnelled(kernel: Kernel, link: Link, way: Way, next_hop: bytes, encap: Any) -> Way:
    """What a tunnel device puts around the packet: out of the route, the device or the tables of the device."""
    port, vni = link.data.get("port"), link.data.get("id")
    remote = link.data.get("remote") or b""
    way = way._replace(carrier=_carrier(link, way.to), port=port, vni=vni)
    if encap is not None:
        near = kernel.neighbours.get((link.name, next_hop))
        vni = getattr(encap, "id", 0) if link.kind in ETHERNET_TUNNELS else None
        seen = mac_text(near.lladdr) if near is not None and near.lladdr else ""
        return way._replace(outer=ip_text(getattr(encap, "dst", b"")), vni=vni, lladdr=seen)
    if link.kind == "wireguard":
        return _by_key(kernel, link.name, way)
    if link.kind in IP_TUNNELS:
        # Without a remote end of its own, a tunnel takes the gateway for it (ip_tunnel_xmit).
        return way._replace(outer=ip_text(remote if any(remote) else next_hop))
    return _by_mac(kernel, link, way, next_hop, remote)


def _by_key(kernel: Kernel, dev: str, way: Way) -> Way:
    """The peer that the packet's own destination belongs to; no gateway counts."""
    packed = packed_ip(way.to) or b""
    if dev not in kernel.endpoints:
        return way
    fitting = [
        end
        for end in kernel.endpoints[dev]
        if len(end.address) == len(packed) and _same_prefix(end.address, packed, end.prefixlen)
    ]
    if not fitting:
        return way._replace(problem=f"no peer of {dev} is allowed {way.to}")
    best = max(fitting, key=lambda end: end.prefixlen)
    if not best.outer:
        return way._replace(problem=f"the peer of {dev} that is allowed {way.to} has no endpoint yet")
    return way._replace(outer=ip_text(best.outer), port=best.port)


def _same_prefix(one: bytes, other: bytes, length: int) -> bool:
    spare = 8 * len(one) - length
    return int.from_bytes(one, "big") >> spare == int.from_bytes(other, "big") >> spare


def _by_mac(kernel: Kernel, link: Link, way: Way, next_hop: bytes, remote: bytes) -> Way:
    """The next hop's MAC by the neighbour table, that MAC's underlay address by the FDB."""
    cure = "; run site.yml" if link.name in kernel.kinds else ""
    near = kernel.neighbours.get((link.name, next_hop))
    if near is None or not near.lladdr:
        return way._replace(problem=f"no neighbour entry for {ip_text(next_hop)} on {link.name}{cure}")
    mac = mac_text(near.lladdr)
    entry = kernel.fdb.get((link.name, near.lladdr)) or kernel.fdb.get((link.name, _ZERO_MAC))
    if entry is not None and entry.dst:
        return way._replace(lladdr=mac, outer=ip_text(entry.dst), vni=entry.vni or way.vni, port=entry.port or way.port)
    if any(remote):
        return way._replace(lladdr=mac, outer=ip_text(remote))
    return way._replace(lladdr=mac, problem=f"no FDB entry for {mac} on {link.name}{cure}")


def _carrier(link: Link, address: str) -> str:
    if link.kind == "ip6tnl" and ":" not in address:
        return "ipip"  # it takes packets of both families
    return TUNNELS[link.kind]
