# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dataplanes have in common: where a node stands on the underlay, its MTU, its peers, and the routes to them.

A dataplane's item holds `local`, `second_local` (the node's underlay address of the other family, or empty),
`underlay`, `mtu`, `nexthop_objects`, `standby` and `peers`, and what is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.resources import peers as peering
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import IPV6_MIN_MTU
from ansible_collections.podnet.fabric.plugins.module_utils.resources.charge import share_of
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import (
    NO_NEXTHOP_OBJECTS,
    desire,
    foreign_in_the_way,
    observe,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Via


HOP_LIMIT = 64
"""Of outer headers that stand in routes, where the kernel puts none of its own: IANA's default TTL."""


class Routing(NamedTuple):
    """The routes of a dataplane and the nexthop objects behind them: what there is, what is wanted."""

    current: dict[str, dict[Hashable, Any]]
    desired: dict[str, dict[Hashable, Any]]
    conflicts: list[str]
    notes: list[str]


def normal(
    inspection: Inspection, params: Mapping[str, Any], overhead: Mapping[int, int], host: Host
) -> dict[str, Any]:
    """The part of an item that all dataplanes have, out of a module's parameters.

    :param overhead: bytes that the dataplane adds to a pod's packet, by the family of the underlay address (4 or 6)
    """
    local = inspection.ip("local", params["local"])
    underlay = _underlay(inspection, params, local, host) if local else ""
    second = params.get("second_local") or ""
    if second:
        _second(inspection, second, local, underlay, host)
    peers = peering.inspect(inspection, params["peers"], params["local"])
    if not inspection.findings:
        peering.confirm_direct(inspection, peers, underlay, host)
    objects = params.get("nexthop_objects") or "auto"
    if objects == "always" and not host.has_nexthop_objects:
        inspection.refuse("nexthop_objects", "always", "this kernel has none (Linux 5.3); choose auto or never")
    return {
        "local": params["local"],
        "second_local": second,
        "underlay": underlay if underlay != "lo" else "",
        "mtu": _mtu(inspection, params.get("mtu"), overhead[6 if len(local or b"") == 16 else 4], underlay, host),
        "nexthop_objects": objects,
        "standby": bool(params.get("standby")),
        "peers": peers,
    }


def _underlay(inspection: Inspection, params: Mapping[str, Any], local: bytes, host: Host) -> str:
    """The interface that bears the local address."""
    bearing = [address.dev for address in dump_addresses(host.netlink, host.names) if address.address == local]
    wanted = params.get("underlay") or "auto"
    known = ", ".join(sorted(host.links))
    if wanted != "auto" and wanted not in host.links:
        inspection.refuse("underlay", f"interface {wanted} does not exist on this node", f"found are {known}")
    elif not bearing:
        inspection.refuse("local", f"{params['local']} is on no interface of this node", f"searched were {known}")
    elif wanted not in ("auto", *bearing):
        inspection.refuse("local", f"{params['local']} is on {bearing[0]}, not on {wanted}", "correct one of the two")
    return (bearing or [""])[0] if wanted == "auto" else str(wanted)


def _second(inspection: Inspection, second: str, local: bytes | None, underlay: str, host: Host) -> None:
    packed = inspection.ip("second_local", second)
    if packed is None:
        return
    if local is not None and len(local) == len(packed):
        inspection.refuse("second_local", second, "of the same family as local; give the address of the other one")
    elif not any(
        address.address == packed and address.dev == underlay for address in dump_addresses(host.netlink, host.names)
    ):
        inspection.refuse("second_local", f"{second} is not on {underlay}", "give an address of that interface")


def _mtu(inspection: Inspection, wanted: Any, overhead: int, underlay: str, host: Host) -> int:
    if underlay not in host.links:
        return IPV6_MIN_MTU
    mtu = host.links[underlay].mtu
    room = mtu - overhead
    if wanted is None:
        wanted = room
    inspection.integer("mtu", wanted, IPV6_MIN_MTU, max(room, IPV6_MIN_MTU))
    if room < IPV6_MIN_MTU:
        inspection.refuse(
            "underlay", f"{underlay} has MTU {mtu}", f"this dataplane with IPv6 inside takes {IPV6_MIN_MTU - room} more"
        )
    return int(wanted)


def routing(host: Host, kind: str, devices: set[str], items: Items, vias: Sequence[Via]) -> Routing:
    """The share of a dataplane in the node's routes, and what its items ask for.

    An item that stands by leaves the routes as they are, through whichever device they lead.

    :param devices: the kind's own devices
    :param vias: the routes to the blocks of all peers
    """
    observed = observe(host)
    notes = [NO_NEXTHOP_OBJECTS] if items and not host.has_nexthop_objects else []
    if any(item.get("standby") for item in items.values()):
        share = share_of(host, kind, devices, observed, {}, {})
        held: dict[str, dict[Hashable, Any]] = {
            "nexthops": {key: hop for key, hop in share.nexthops.items() if hop.dev in devices},
            "routes": {
                key: route
                for key, route in share.routes.items()
                if (observed.nexthops[route.nhid].dev if route.nhid in observed.nexthops else route.dev) in devices
            },
        }
        return Routing(dict(held), dict(held), [], notes)
    objects = host.has_nexthop_objects and all(item["nexthop_objects"] != "never" for item in items.values())
    nexthops, routes = desire(vias, observed, objects)
    share = share_of(host, kind, devices, observed, nexthops, routes)
    return Routing(
        {"nexthops": share.nexthops, "routes": share.routes},
        {"nexthops": nexthops, "routes": routes},
        foreign_in_the_way(host, share.routes, routes),
        notes,
    )


def local_of(item: Mapping[str, Any], length: int) -> bytes:
    """The node's packed underlay address of 4 or 16 bytes; empty when it has none of that family."""
    for field in ("local", "second_local"):
        packed = packed_ip(item.get(field))
        if packed is not None and len(packed) == length:
            return packed
    return b""
