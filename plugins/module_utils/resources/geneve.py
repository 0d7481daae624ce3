# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Geneve (RFC 8926): one device for all peers; the outer header stands in the nexthop objects (lightweight tunnels).

A device for each peer would be the other way. It has a link, an address and a queue for each, and a receiver for each
on every other node; the kernel finds them in a list (geneve_lookup), and a node of thousands of links is slow to dump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, name_conflicts, owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    NEIGHBOURS,
    NEXTHOPS,
    ROUTES,
    RT_TABLE_MAIN,
    RTNH_F_ONLINK,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import alias, marked
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources import ethernet, tunnel
from ansible_collections.podnet.fabric.plugins.module_utils.resources import peers as peering
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import (
    interface_addresses,
    wanted_addresses,
)
from ansible_collections.podnet.fabric.plugins.module_utils.resources.charge import direct_via
from ansible_collections.podnet.fabric.plugins.module_utils.resources.ethernet import (
    neighbours,
    wanted_neighbours,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Via


class Geneve:
    """See the module's documentation for the parameters."""

    name = "geneve"
    rank = 40
    facilities = (LINKS, ADDRESSES, NEIGHBOURS, NEXTHOPS, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        return ethernet.normal(self.name, name, params, host)

    def target(self, items: Items, former: Items, host: Host) -> Target:
        links = owned(host, self.name)
        current: dict[str, Any] = {
            "links": links,
            "addresses": interface_addresses(host, list(links)),
            "neighbours": neighbours(host, list(links)),
        }
        desired: dict[str, Any] = {facility.name: {} for facility in self.facilities}
        vias: list[Via] = []
        for name, item in items.items():
            desired["links"][name] = _device(name, item)
            desired["addresses"].update(wanted_addresses(name, item["addresses"]))
            blocks = peering.pack(item["peers"])
            tunnelled = [block for block in blocks if not block.direct]
            desired["neighbours"].update(wanted_neighbours(name, tunnelled))
            vias += [direct_via(block, item["underlay"]) for block in blocks if block.direct]
            vias += _vias(name, item, tunnelled)
        found = tunnel.routing(host, self.name, set(links) | set(items), items, vias)
        conflicts = name_conflicts(host, self.name, list(items), "podnet_geneve_device")
        conflicts += _port_conflicts(host, items)
        return Target(
            {**current, **found.current}, {**desired, **found.desired}, [*conflicts, *found.conflicts], found.notes
        )


def _device(name: str, item: Mapping[str, Any]) -> Device:
    data = (("external", True), ("port", item["port"]))
    return Device(name, "geneve", alias("geneve"), item["mtu"], item["mac"], True, "", data)


def _vias(name: str, item: Mapping[str, Any], blocks: Sequence[peering.Block]) -> list[Via]:
    """Routes whose nexthop carries the outer header: from the node's address to the peer's, with the VNI as its id."""
    six = ":" in item["local"]
    source = tunnel.local_of(item, 16 if six else 4)
    sort = "ip6" if six else "ip"
    return [
        (
            block.family,
            block.dst,
            block.length,
            block.gateway,
            name,
            RTNH_F_ONLINK,
            0,
            RT_TABLE_MAIN,
            Encap(sort, id=item["vni"], dst=block.underlay, src=source, ttl=tunnel.HOP_LIMIT),
        )
        for block in blocks
    ]


def _port_conflicts(host: Host, items: Items) -> list[str]:
    return [
        f"Geneve device {link.name} is not ours and takes port {item['port']} already; "
        "remove it or choose another podnet_geneve_port"
        for item in items.values()
        for link in host.links.values()
        if link.kind == "geneve"
        and not marked(link)
        and link.name not in items
        and link.data.get("port") == item["port"]
    ]


KIND = Geneve()
