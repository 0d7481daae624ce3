# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod bridge: the device, its MAC and MTU, and the gateway addresses of the node's blocks."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, name_conflicts, owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ADDRESSES
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET6, Inspection, declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import Address, dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import alias
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

IFA_F_NODAD = 0x02
IPV6_MIN_MTU = 1280
MAX_MTU = 65535
LINK_LOCAL = b"\xfe\x80"


def interface_addresses(host: Host, names: Sequence[str]) -> dict[Hashable, Address]:
    """The addresses on some of our devices; the kernel's own link-local ones are not ours to declare."""
    return {
        address[:4]: address._replace(scope=0, flags=address.flags & IFA_F_NODAD)
        for name in names
        if name in host.links
        for address in dump_addresses(host.netlink, host.names, host.links[name].index)
        if address.address[:2] != LINK_LOCAL
    }


def wanted_addresses(name: str, addresses: Sequence[str]) -> dict[Hashable, Address]:
    """The declared addresses of a device. IPv6 ones skip duplicate address detection: the plan gives none twice."""
    objects: dict[Hashable, Address] = {}
    for text in addresses:
        prefix = declared_network(text)
        flags = IFA_F_NODAD if prefix.family == AF_INET6 else 0
        address = Address(name, prefix.family, prefix.address, prefix.prefixlen, 0, flags)
        objects[address[:4]] = address
    return objects


def inspect_addresses(inspection: Inspection, addresses: Any) -> list[str]:
    """Note what is wrong with a list of interface addresses and give it."""
    seen: dict[str, int] = {}
    for position, text in enumerate(addresses):
        path = f"addresses[{position}]"
        if inspection.network(path, text, host_bits=True) and seen.setdefault(text, position) != position:
            inspection.refuse(path, text, f"the same as addresses[{seen[text]}]")
    return list(addresses)


def derived_mac(name: str) -> str:
    """A locally administered MAC that stays the same for a device name on a node."""
    digest = hashlib.sha256(f"{os.uname().nodename}/{name}".encode()).digest()
    return bytes([digest[0] & 0xFC | 0x02, *digest[1:6]]).hex(":")


class Bridge:
    """See the module's documentation for the parameters."""

    name = "bridge"
    rank = 30
    facilities = (LINKS, ADDRESSES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspection.interface("name", name)
        inspection.integer("mtu", params["mtu"], IPV6_MIN_MTU, MAX_MTU)
        mac = inspection.mac("mac", params["mac"]) if params.get("mac") else derived_mac(name)
        addresses = inspect_addresses(inspection, params.get("addresses") or [])
        inspection.conclude()
        return {"mtu": params["mtu"], "mac": mac, "addresses": addresses}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        links = owned(host, self.name)
        conflicts = name_conflicts(host, self.name, list(items), "podnet_bridge_name")
        if not host.force:
            conflicts += [self._in_use(host, name) for name in links if name not in items and ports(host, name)]
        desired = {
            name: Device(name, "bridge", alias(self.name), item["mtu"], item["mac"], True, "", ())
            for name, item in items.items()
        }
        addresses: dict[Hashable, Address] = {}
        for name, item in items.items():
            addresses.update(wanted_addresses(name, item["addresses"]))
        return Target(
            {"links": dict(links), "addresses": interface_addresses(host, list(links))},
            {"links": dict(desired), "addresses": addresses},
            conflicts,
        )

    def _in_use(self, host: Host, name: str) -> str:
        return (
            f"bridge {name} still carries {', '.join(ports(host, name))}; detach these pods first (module pod or their "
            "runtime), or say podnet_teardown_force: true"
        )


def ports(host: Host, bridge: str) -> list[str]:
    """The interfaces that are enslaved to a bridge and stay so."""
    return sorted(name for name, link in host.links.items() if link.master == bridge and name not in host.leaving)


KIND = Bridge()
