# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links of our own."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text, mac_text
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import (
    IN6_ADDR_GEN_MODE_EUI64,
    IN6_ADDR_GEN_MODE_NONE,
    Settings,
    encode_link,
)
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import GROUP, is_ours
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    CREATE,
    DELETE,
    RECREATE,
    REPLACE,
    Operation,
    Reference,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link

ETHERNET_ADDRESS_BYTES = 6


class Device(NamedTuple):
    """A link as we declare it.

    ``mac`` is empty for what has none (ipip, ip6tnl, wireguard). ``data`` holds the attributes of its kind that we
    declare, sorted by name; names and values are those of the codec, but for addresses, which are text.
    """

    name: str
    kind: str
    alias: str
    mtu: int
    mac: str
    up: bool
    parent: str
    data: tuple[tuple[str, Any], ...]


# Attributes of a link's kind that we declare, sorted; and those among them that a link can change.
MANAGED_DATA = {
    "vxlan": ("id", "learning", "local", "port"),
    "geneve": ("external", "port"),
    "ipip": ("local",),
    "ip6tnl": ("external", "proto"),
}
MUTABLE_DATA = {"ipip": {"local"}}
ADDRESSES = ("local", "remote")


def observed(link: Link) -> Device:
    """A link of the host reduced to what we declare."""
    data = tuple((name, _value(link.data.get(name))) for name in MANAGED_DATA.get(link.kind, ()))
    # The link-layer address of a tunnel of IP in IP is its local address.
    mac = mac_text(link.mac) if len(link.mac) == ETHERNET_ADDRESS_BYTES else ""
    return Device(link.name, link.kind, link.alias, link.mtu, mac, link.up, link.parent, data)


def _value(value: Any) -> Any:
    return ip_text(value) if isinstance(value, bytes) else value


def mac_of(text: str) -> bytes:
    """A link-layer address as the kernel has it."""
    return bytes.fromhex(text.replace(":", ""))


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


def _fixed(device: Device) -> list[tuple[str, Any]]:
    """The attributes of a device's kind that it keeps for life."""
    mutable = MUTABLE_DATA.get(device.kind, ())
    return [(name, value) for name, value in device.data if name not in mutable]


class LinkFacility:
    """Creates, changes and deletes links."""

    name = "links"
    # A device holds its VNI and its addresses: it makes room before another takes them.
    deletes_first = True

    def parents(self, obj: Device) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Device, after: Device) -> bool:
        return (before.kind, before.parent, _fixed(before)) != (after.kind, after.parent, _fixed(after))

    def describe(self, obj: Device) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": obj.name, "type": obj.kind, "address": obj.mac, "mtu": obj.mtu}
        fields.update(dev=obj.parent, alias=obj.alias, state="up" if obj.up else "down")
        fields.update(obj.data)
        return {key: value for key, value in fields.items() if value != ""}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        index = host.index
        left = []
        for place, operation in enumerate(operations):
            try:
                left.append((place, [(encode_link(*step, index), step) for step in _steps(operation)]))
            except NetlinkError as missing:
                raise ApplyError([self._complaint(operation, missing)]) from missing
        failures: dict[int, str] = {}
        try:
            # A step at a time of all links: one whose step fails is left as it is, above all down, or the next run
            # would see a link that is up and take it for finished.
            while left:
                refused = dict(host.netlink.batch([steps[0][0] for dummy, steps in left]))
                for position, error in refused.items():
                    place, steps = left[position]
                    if not _harmless(*steps[0][1], error):
                        failures[place] = self._complaint(operations[place], error)
                left = [(place, steps[1:]) for place, steps in left if steps[1:] and place not in failures]
        finally:
            host.forget()
        if failures:
            raise ApplyError(failures[place] for place in sorted(failures))

    def _complaint(self, operation: Operation, error: NetlinkError) -> str:
        device = operation.after or operation.before
        return f"{self.name}: {operation.verb} {device.name} ({device.kind}): {error}"


def _harmless(verb: str, settings: Settings, error: NetlinkError) -> bool:
    if verb == "delete":
        return error.errno == errno.ENODEV  # it went before
    # No IPv6 on this node or, below an MTU of 1280, on this link: no link-local address either.
    return settings.addr_gen_mode is not None and error.errno == errno.EAFNOSUPPORT


def _steps(operation: Operation) -> list[tuple[str, Settings]]:
    """The messages of an operation, in an order that also mends a device which a killed run left half made."""
    device: Device = operation.after or operation.before
    steps: list[tuple[str, Settings]] = []
    if operation.verb in (DELETE, RECREATE):
        steps.append(("delete", Settings(device.name)))
    if operation.verb in (CREATE, RECREATE):
        steps.append(("create", _creation(device)))
    if operation.verb == REPLACE and operation.before.data != device.data:
        steps.append(("change", Settings(device.name, device.kind, data=_packed(device))))
    if operation.verb == DELETE:
        return steps
    # No link-local address on a tunnel, whose neighbours are all known; a bridge needs one, or it could not
    # send the neighbour solicitations for packets that it forwards (ndisc_send_ns in net/ipv6/ndisc.c).
    mode = IN6_ADDR_GEN_MODE_EUI64 if device.kind == "bridge" else IN6_ADDR_GEN_MODE_NONE
    return [
        *steps,
        ("change", Settings(device.name, mtu=device.mtu, mac=mac_of(device.mac), alias=device.alias)),
        ("change", Settings(device.name, addr_gen_mode=mode)),
        ("change", Settings(device.name, up=device.up)),
    ]


def _creation(device: Device) -> Settings:
    # A bridge keeps an MTU that is set later; one that comes in this message is forgotten when its last port leaves
    # (br_mtu_auto_adjust in net/bridge/br_if.c goes by BROPT_MTU_SET_BY_USER, which only br_change_mtu sets).
    mtu = 0 if device.kind == "bridge" else device.mtu
    return Settings(
        device.name,
        device.kind,
        mtu,
        mac_of(device.mac),
        group=GROUP,
        parent=device.parent,
        data=_packed(device),
    )


def _packed(device: Device) -> dict[str, Any]:
    """The attributes of the device's kind as the kernel has them."""
    return {name: packed_ip(value) if name in ADDRESSES else value for name, value in device.data}


LINKS = LinkFacility()
