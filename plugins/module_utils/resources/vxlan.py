# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VXLAN (RFC 7348) with every peer known: one device, and per peer a neighbour and a route per family, one FDB entry.

The layout is flannel's: the gateway of a peer's blocks lives on the peer's VTEP, on-link through our device; its MAC is
a permanent neighbour, and the FDB says behind which underlay address that MAC is. Nothing is learned, nothing flooded.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, name_conflicts, owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    FDB,
    NEIGHBOURS,
    NEXTHOPS,
    ROUTES,
    RT_TABLE_MAIN,
    RTNH_F_ONLINK,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, dump_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import records
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
    from collections.abc import Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Via

ZERO_MAC = bytes(6)


class Vxlan:
    """See the module's documentation for the parameters."""

    name = "vxlan"
    rank = 40
    facilities = (LINKS, ADDRESSES, NEIGHBOURS, FDB, NEXTHOPS, ROUTES)

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
            "fdb": _fdb(host, list(links)),
        }
        desired: dict[str, Any] = {facility.name: {} for facility in self.facilities}
        vias: list[Via] = []
        for name, item in items.items():
            desired["links"][name] = _device(name, item)
            desired["addresses"].update(wanted_addresses(name, item["addresses"]))
            blocks = peering.pack(item["peers"])
            tunnelled = [block for block in blocks if not block[7]]
            if len(tunnelled) < len(blocks):
                vias += [direct_via(block, item["underlay"]) for block in blocks if block[7]]
            desired["neighbours"].update(wanted_neighbours(name, tunnelled))
            desired["fdb"].update(_wanted_fdb(name, tunnelled))
            vias += [
                (family, dst, length, gateway, name, RTNH_F_ONLINK, 0, RT_TABLE_MAIN, None)
                for family, dst, length, gateway, _mac, _underlay, _outer, _direct in tunnelled
            ]
        found = tunnel.routing(host, self.name, set(links) | set(items), items, vias)
        conflicts = name_conflicts(host, self.name, list(items), "podnet_vxlan_device")
        conflicts += _vni_conflicts(host, items)
        return Target(
            {**current, **found.current}, {**desired, **found.desired}, [*conflicts, *found.conflicts], found.notes
        )


def _device(name: str, item: Mapping[str, Any]) -> Device:
    data = (("id", item["vni"]), ("learning", False), ("local", item["local"]), ("port", item["port"]))
    return Device(name, "vxlan", alias("vxlan"), item["mtu"], item["mac"], True, item["underlay"], data)


def _wanted_fdb(name: str, blocks: Sequence[peering.Block]) -> dict[Hashable, FdbEntry]:
    """Behind which underlay address each peer's MAC is."""
    places = {(block[4], block[5]) for block in blocks}
    if not places:
        return {}
    macs, underlays = zip(*places)
    rest = map(repeat, FdbEntry(name, b"", b"")[3:])
    return dict(zip(zip(repeat(name), macs), records(FdbEntry, repeat(name), macs, underlays, *rest)))


def _fdb(host: Host, names: Sequence[str]) -> dict[Hashable, FdbEntry]:
    """All entries of our devices. An all-zero MAC can have several destinations, so they are part of its key."""
    return {
        (entry[:2] if entry[1] != ZERO_MAC else entry[:3]): entry
        for name in names
        for entry in dump_fdb(host.netlink, host.names, host.links[name].index)
    }


def _vni_conflicts(host: Host, items: Items) -> list[str]:
    return [
        f"VXLAN device {link.name} is not ours and holds VNI {item['vni']} on port {item['port']} already; "
        "remove it or choose another podnet_vxlan_vni"
        for item in items.values()
        for link in host.links.values()
        if link.kind == "vxlan"
        and not marked(link)
        and link.name not in items
        and (link.data.get("id"), link.data.get("port")) == (item["vni"], item["port"])
        and len(link.data.get("local") or b"") in (0, len(packed_ip(item["local"]) or b""))
    ]


KIND = Vxlan()
