# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links of our own. They are few, so pyroute2 makes them; they are read by the codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text, mac_text
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import GROUP, is_ours
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    CREATE,
    DELETE,
    RECREATE,
    Operation,
    Reference,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link

IFF_UP = 0x1
IN6_ADDR_GEN_MODE_EUI64 = 0
IN6_ADDR_GEN_MODE_NONE = 1


class Device(NamedTuple):
    """A link as we declare it. ``data`` holds the attributes of its kind in pyroute2's names, sorted."""

    name: str
    kind: str
    alias: str
    mtu: int
    mac: str
    up: bool
    parent: str
    data: tuple[tuple[str, Any], ...]


# Attributes of a link's kind that we declare, and how the codec's value reads.
MANAGED_DATA = {
    "bridge": (),
    "vxlan": ("vxlan_id", "vxlan_local", "vxlan_port", "vxlan_learning"),
}


def observed(link: Link) -> Device:
    """A link of the host reduced to what we declare."""
    data = tuple((key, _value(link.data.get(key.split("_", 1)[1]))) for key in MANAGED_DATA.get(link.kind, ()))
    return Device(link.name, link.kind, link.alias, link.mtu, mac_text(link.mac), link.up, link.parent, data)


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return ip_text(value)
    return int(value) if isinstance(value, bool) else value


def owned(host: Host, kind: str) -> dict[str, Device]:
    """Our links of a kind, by name."""
    return {name: observed(link) for name, link in host.links.items() if is_ours(link, kind)}


def name_conflicts(host: Host, kind: str, names: Sequence[str], setting: str) -> list[str]:
    """A line for each wanted name that a foreign link bears."""
    return [
        f"interface {name} exists and is not ours (kind {link.kind or 'physical'}, alias {link.alias or 'none'}); "
        f"remove or rename it, or choose another name by {setting}"
        for name, link in ((name, host.links[name]) for name in names if name in host.links)
        if not is_ours(link, kind)
    ]


class LinkFacility:
    """Creates, changes and deletes links."""

    name = "links"
    # A device holds its VNI and its addresses: it makes room before another takes them.
    deletes_first = True

    def parents(self, obj: Device) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Device, after: Device) -> bool:
        return (before.kind, before.parent, before.data) != (after.kind, after.parent, after.data)

    def describe(self, obj: Device) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": obj.name, "type": obj.kind, "address": obj.mac, "mtu": obj.mtu}
        fields.update(dev=obj.parent, alias=obj.alias, state="up" if obj.up else "down")
        fields.update((key.split("_", 1)[1], value) for key, value in obj.data)
        return {key: value for key, value in fields.items() if value != ""}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        try:
            from pyroute2 import IPRoute
        except ImportError as error:
            raise PodnetError(
                f"links cannot be changed without the Python library pyroute2 ({error}); "
                "install Debian's python3-pyroute2, or let role preflight do it (podnet_install_packages: true)"
            ) from error
        with IPRoute() as ipr:
            for operation in operations:
                self._carry_out(ipr, operation, host.index)
        host.forget()

    def _carry_out(self, ipr: Any, operation: Operation, index: dict[str, int]) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        device = operation.after or operation.before
        try:
            if operation.verb in (DELETE, RECREATE):
                ipr.link("del", index=index[device.name])
            if operation.verb in (CREATE, RECREATE):
                ipr.link("add", **_creation(device, index))
            if operation.verb != DELETE:
                _settle(ipr, device)
        except NetlinkError as error:
            raise ApplyError([f"{self.name}: {operation.verb} {device.name} ({device.kind}): {error}"]) from error


def _creation(device: Device, index: dict[str, int]) -> dict[str, Any]:
    request: dict[str, Any] = {"ifname": device.name, "kind": device.kind, "group": GROUP, "address": device.mac}
    # A bridge keeps an MTU that is set later; one that comes in this message is forgotten when its last port leaves
    # (br_mtu_auto_adjust in net/bridge/br_if.c goes by BROPT_MTU_SET_BY_USER, which only br_change_mtu sets).
    if device.kind != "bridge":
        request["mtu"] = device.mtu
    for key, value in device.data:
        request["vxlan_local6" if key == "vxlan_local" and ":" in value else key] = value
    if device.parent:
        request["vxlan_link"] = index[device.parent]
    return request


def _settle(ipr: Any, device: Device) -> None:
    """Set what can change, in an order that also mends a device which a killed run left half made."""
    (position,) = ipr.link_lookup(ifname=device.name)
    # No link-local address on a tunnel, whose neighbours are all known; a bridge needs one, or it could not
    # send the neighbour solicitations for packets that it forwards (ndisc_send_ns in net/ipv6/ndisc.c).
    mode = IN6_ADDR_GEN_MODE_EUI64 if device.kind == "bridge" else IN6_ADDR_GEN_MODE_NONE
    family = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", mode]]}]]}
    changes: dict[str, Any] = {"mtu": device.mtu, "address": device.mac, "IFLA_IFALIAS": device.alias}
    ipr.link("set", index=position, IFLA_AF_SPEC=family, **changes)
    ipr.link("set", index=position, state="up" if device.up else "down")


LINKS = LinkFacility()
