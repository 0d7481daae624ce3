# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VXLAN (RFC 7348) with every peer known: one device, and per peer a neighbour and a route per family, one FDB entry.

The layout is flannel's: the gateway of a peer's blocks is the address of its first block, which the peer's VTEP bears,
on-link through our device; its MAC is a permanent neighbour, and the FDB says behind which underlay address that MAC
is. Nothing is learned, nothing flooded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, name_conflicts, owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    FDB,
    NEIGHBOURS,
    NEXTHOPS,
    NUD_PERMANENT,
    ROUTES,
    RT_TABLE_MAIN,
    RTNH_F_ONLINK,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, dump_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour, dump_neighbours
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import alias
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources import peers as peering
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import (
    IPV6_MIN_MTU,
    derived_mac,
    inspect_addresses,
    interface_addresses,
    wanted_addresses,
)
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import (
    NO_NEXTHOP_OBJECTS,
    Via,
    astray,
    desire,
    foreign_in_the_way,
    observe,
    through,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

OVERHEAD = {4: 50, 16: 70}
"""Bytes by length of the underlay address: outer IP 20 or 40, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348, 5)."""

MAX_VNI = (1 << 24) - 1
ZERO_MAC = bytes(6)


class Vxlan:
    """See the module's documentation for the parameters."""

    name = "vxlan"
    rank = 40
    facilities = (LINKS, ADDRESSES, NEIGHBOURS, FDB, NEXTHOPS, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspection.interface("name", name)
        inspection.integer("vni", params["vni"], 1, MAX_VNI)
        inspection.integer("port", params["port"], 1, 65535)
        local = inspection.ip("local", params["local"])
        underlay = self._underlay(inspection, params, local, host) if local else ""
        mac = inspection.mac("mac", params["mac"]) if params.get("mac") else derived_mac(name)
        item = {
            "vni": params["vni"],
            "port": params["port"],
            "local": params["local"],
            "underlay": underlay if underlay != "lo" else "",
            "mac": mac,
            "mtu": self._mtu(inspection, params.get("mtu"), local or b"", underlay, host),
            "addresses": inspect_addresses(inspection, params.get("addresses") or []),
            "nexthop_objects": params.get("nexthop_objects") or "auto",
            "peers": peering.inspect(inspection, params["peers"], params["local"]),
        }
        if item["nexthop_objects"] == "always" and not host.has_nexthop_objects:
            inspection.refuse("nexthop_objects", "always", "this kernel has none (Linux 5.3); choose auto or never")
        inspection.conclude()
        return item

    def _underlay(self, inspection: Inspection, params: Mapping[str, Any], local: bytes, host: Host) -> str:
        """The interface that bears the local address."""
        bearing = [address.dev for address in dump_addresses(host.netlink, host.names) if address.address == local]
        wanted = params.get("underlay") or "auto"
        known = ", ".join(sorted(host.links))
        if wanted != "auto" and wanted not in host.links:
            inspection.refuse("underlay", f"interface {wanted} does not exist on this node", f"found are {known}")
        elif not bearing:
            inspection.refuse("local", f"{params['local']} is on no interface of this node", f"searched were {known}")
        elif wanted not in ("auto", *bearing):
            inspection.refuse(
                "local", f"{params['local']} is on {bearing[0]}, not on {wanted}", "correct one of the two"
            )
        return (bearing or [""])[0] if wanted == "auto" else str(wanted)

    def _mtu(self, inspection: Inspection, wanted: Any, local: bytes, underlay: str, host: Host) -> int:
        if underlay not in host.links or not local:
            return IPV6_MIN_MTU
        room = host.links[underlay].mtu - OVERHEAD[len(local)]
        if wanted is None:
            wanted = room
        inspection.integer("mtu", wanted, IPV6_MIN_MTU, max(room, IPV6_MIN_MTU))
        if room < IPV6_MIN_MTU:
            inspection.refuse(
                "underlay",
                f"{underlay} has MTU {host.links[underlay].mtu}",
                f"VXLAN with IPv6 inside takes {IPV6_MIN_MTU - room} bytes more",
            )
        return int(wanted)

    def target(self, items: Items, former: Items, host: Host) -> Target:
        links = owned(host, self.name)
        observed = observe(host)
        share = through(observed, set(links) | set(items))
        current: dict[str, Any] = {
            "links": links,
            "addresses": interface_addresses(host, list(links)),
            "neighbours": _neighbours(host, list(links)),
            "fdb": _fdb(host, list(links)),
            "nexthops": share.nexthops,
            "routes": share.routes,
        }
        desired: dict[str, Any] = {facility.name: {} for facility in self.facilities}
        vias: list[Via] = []
        objects = host.has_nexthop_objects and all(item["nexthop_objects"] != "never" for item in items.values())
        for name, item in items.items():
            desired["links"][name] = _device(name, item)
            desired["addresses"].update(wanted_addresses(name, item["addresses"]))
            underlays, macs, blocks = peering.pack(item["peers"])
            desired["fdb"].update(((name, mac), FdbEntry(name, mac, dst)) for mac, dst in zip(macs, underlays))
            desired["neighbours"].update(
                ((name, dst), Neighbour(name, dst, mac))
                for _family, dst, _length, gateway, mac in blocks
                if dst == gateway
            )
            vias += [
                (family, dst, length, gateway, name, RTNH_F_ONLINK, 0, RT_TABLE_MAIN)
                for family, dst, length, gateway, _mac in blocks
            ]
        desired["nexthops"], desired["routes"] = desire(vias, observed, objects)
        share.take_over(desired["routes"])
        conflicts = name_conflicts(host, self.name, list(items), "podnet_vxlan_device")
        conflicts += _vni_conflicts(host, items)
        conflicts += foreign_in_the_way(host, share.routes, desired["routes"])
        if desired["neighbours"] != current["neighbours"]:
            new = desired["neighbours"].keys() - current["neighbours"].keys()
            conflicts += astray(host, {dst for _dev, dst in new if len(dst) == 16}, desired["routes"])
        notes = [NO_NEXTHOP_OBJECTS] if items and not host.has_nexthop_objects else []
        return Target(current, desired, conflicts, notes)


def _device(name: str, item: Mapping[str, Any]) -> Device:
    data = (
        ("vxlan_id", item["vni"]),
        ("vxlan_local", item["local"]),
        ("vxlan_port", item["port"]),
        ("vxlan_learning", 0),
    )
    return Device(name, "vxlan", alias("vxlan"), item["mtu"], item["mac"], True, item["underlay"], data)


def _neighbours(host: Host, names: Sequence[str]) -> dict[Hashable, Neighbour]:
    """What was set by hand or by us on our devices; what the kernel found out by itself passes by itself."""
    return {
        neighbour[:2]: neighbour
        for name in names
        for neighbour in dump_neighbours(host.netlink, host.names, host.links[name].index)
        if neighbour[3] & NUD_PERMANENT
    }


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
        and not link.alias.startswith("podnet:")
        and link.name not in items
        and (link.data.get("id"), link.data.get("port")) == (item["vni"], item["port"])
        and len(link.data.get("local") or b"") in (0, len(packed_ip(item["local"]) or b""))
    ]


KIND = Vxlan()
