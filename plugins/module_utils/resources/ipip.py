# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IP in IP (RFC 2003) and IPv6 in IPv6 (RFC 2473): no port, no identifier, the least that a tunnel can add.

Each family travels in itself only. The IPv4 device has no remote end of its own: it takes a route's gateway for it. The
IPv6 one would do so too, but the kernel refuses an on-link gateway that a route leads another way
(ip6_route_check_nh_onlink), which the peers' underlay addresses are; so its outer header stands in the nexthop objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, name_conflicts, owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    NEXTHOPS,
    ROUTES,
    RT_TABLE_MAIN,
    RTNH_F_ONLINK,
    ip_text,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET6, Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap
from ansible_collections.podnet.fabric.plugins.module_utils.overhead import BYTES
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import alias, marked
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources import peers as peering
from ansible_collections.podnet.fabric.plugins.module_utils.resources import tunnel
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import (
    inspect_addresses,
    interface_addresses,
    wanted_addresses,
)
from ansible_collections.podnet.fabric.plugins.module_utils.resources.charge import direct_via

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Via

IPV6_IN_IPV6 = (("external", True), ("proto", 41))
"""The device for IPv6: the outer headers come from the routes, and IPv6 alone is inside (protocol 41, RFC 2473)."""


class Ipip:
    """See the module's documentation for the parameters."""

    name = "ipip"
    rank = 40
    facilities = (LINKS, ADDRESSES, NEXTHOPS, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspection.interface("name", name)
        inspection.interface("device6", params["device6"])
        if name == params["device6"]:
            inspection.refuse("device6", name, "the IPv4 device has that name; give another one")
        item = {
            **tunnel.normal(inspection, params, _overhead(params), host),
            "device6": params["device6"],
            "addresses": inspect_addresses(inspection, params.get("addresses") or []),
        }
        _families(inspection, item)
        inspection.conclude()
        return item

    def target(self, items: Items, former: Items, host: Host) -> Target:
        links = owned(host, self.name)
        current: dict[str, Any] = {"links": links, "addresses": interface_addresses(host, list(links))}
        desired: dict[str, Any] = {facility.name: {} for facility in self.facilities}
        vias: list[Via] = []
        for name, item in items.items():
            devices = _devices(name, item)
            desired["links"].update((device.name, device) for device in devices)
            for device in devices:
                four = device.kind == "ipip"
                own = [address for address in item["addresses"] if (":" not in address) == four]
                desired["addresses"].update(wanted_addresses(device.name, own))
            vias += _vias(name, item, peering.pack(item["peers"]))
        names = [*desired["links"]]
        found = tunnel.routing(host, self.name, {*links, *names}, items, vias)
        conflicts = name_conflicts(host, self.name, names, "podnet_ipip_device or podnet_ipip6_device")
        conflicts += _receiver_conflicts(host, desired["links"])
        return Target(
            {**current, **found.current}, {**desired, **found.desired}, [*conflicts, *found.conflicts], found.notes
        )


def _overhead(params: Mapping[str, Any]) -> Mapping[int, int]:
    """By the family of the underlay address. Pods have one MTU, so IPv6 pods' wider header counts for all."""
    peers = params["peers"] if isinstance(params["peers"], list) else []
    blocks = [str(block) for peer in peers if isinstance(peer, dict) for block in peer.get("blocks") or ()]
    if any(":" in text for text in (*blocks, *(params.get("addresses") or ()))):
        return dict.fromkeys((4, 6), BYTES["ipip"][6])
    return BYTES["ipip"]


def _families(inspection: Inspection, item: Mapping[str, Any]) -> None:
    """Every block needs an underlay address of its family at both ends."""
    for position, peer in enumerate(item["peers"]):
        for family, length in (("IPv4", 4), ("IPv6", 16)):
            blocks = [block for block in peer["blocks"] if (":" in block) == (length == 16)]
            if blocks and not (tunnel.local_of(item, length) and _has(peer, length)):
                whose = "this node" if not tunnel.local_of(item, length) else str(peer["name"])
                inspection.refuse(
                    f"peers[{position}].blocks",
                    f"{', '.join(blocks)} of {peer['name']}, while {whose} has no {family} underlay address",
                    f"give it one ({'second_local' if whose == 'this node' else 'second'}), or take vxlan, geneve or "
                    "wireguard, which carry both families over either",
                )


def _has(peer: Mapping[str, Any], length: int) -> bool:
    addresses = [peer["underlay"], peer.get("second", "")]
    return any((":" in address) == (length == 16) for address in addresses if address)


def _devices(name: str, item: Mapping[str, Any]) -> list[Device]:
    """A device for each family that the node has an underlay address of."""
    devices = []
    four = tunnel.local_of(item, 4)
    if four:
        data = (("local", ip_text(four)),)
        devices.append(Device(name, "ipip", alias("ipip"), item["mtu"], "", True, "", data))
    if tunnel.local_of(item, 16):
        devices.append(Device(item["device6"], "ip6tnl", alias("ipip"), item["mtu"], "", True, "", IPV6_IN_IPV6))
    return devices


def _vias(name: str, item: Mapping[str, Any], blocks: Sequence[peering.Block]) -> list[Via]:
    source = tunnel.local_of(item, 16)
    vias: list[Via] = []
    for block in blocks:
        family, dst, length = block[:3]
        if block.direct:
            vias.append(direct_via(block, item["underlay"]))
        elif family == AF_INET6:
            outer = Encap("ip6", id=0, dst=block.outer, src=source, ttl=tunnel.HOP_LIMIT)
            vias.append((family, dst, length, b"", item["device6"], 0, 0, RT_TABLE_MAIN, outer))
        else:
            vias.append((family, dst, length, block.outer, name, RTNH_F_ONLINK, 0, RT_TABLE_MAIN, None))
    return vias


def _receiver_conflicts(host: Host, wanted: Mapping[str, Device]) -> list[str]:
    """The kernel has room for one receiver of IPv6 in IPv6 with the header outside (ip6_tnl_link, collect_md)."""
    return [
        f"interface {link.name} is not ours and receives all of IPv6 in IPv6 already (ip6tnl external); remove it, or "
        "take another dataplane"
        for device in wanted.values()
        if device.kind == "ip6tnl"
        for link in host.links.values()
        if link.kind == "ip6tnl" and link.data.get("external") and link.name not in wanted and not marked(link)
    ]


KIND = Ipip()
