# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, to read; making them is pyroute2's (they are few, and of many kinds)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    attributes,
    number,
    number_of,
    text_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

_RTM_GETLINK = 18
# struct ifinfomsg: family, (padding), ARP type, index, flags, change mask.
_BODY = struct.Struct("=BxHiII")
_IFF_UP = 0x1
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_IFALIAS = 20
_IFLA_GROUP = 27
_IFLA_EXT_MASK = 29
_IFLA_CARRIER = 33
_IFLA_LINK_NETNSID = 37
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
# Leaves out IPv6's statistics, which are slow to add up; the device's own come all the same.
_RTEXT_FILTER_SKIP_STATS = 8


class Link(NamedTuple):
    """A network device as the kernel describes it."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a link
    name: str
    kind: str  # "vxlan", "bridge", "veth", ...; empty for what has no kind (lo, hardware)
    mtu: int
    mac: bytes
    alias: str
    up: bool
    master: str  # the bridge or bond that it belongs to
    parent: str  # the device below it (the underlay of a VXLAN); empty too when that is in another namespace
    carrier: bool
    data: dict[str, Any]  # attributes of its kind, for the kinds in _DATA
    group: int = 0


def _swapped(payload: bytes) -> int:
    return int.from_bytes(payload, "big")


def _flag(payload: bytes) -> bool:
    return bool(number_of(payload))


# Kind -> attribute of IFLA_INFO_DATA -> (name, how to read it). linux/if_link.h, names as in `ip -details link`.
_DATA: Mapping[str, Mapping[int, tuple[str, Callable[[bytes], Any]]]] = {
    "vxlan": {
        1: ("id", number_of),
        2: ("remote", bytes),
        3: ("link", number_of),
        4: ("local", bytes),
        5: ("ttl", number_of),
        6: ("tos", number_of),
        7: ("learning", _flag),
        8: ("ageing", number_of),
        11: ("proxy", _flag),
        12: ("rsc", _flag),
        13: ("l2miss", _flag),
        14: ("l3miss", _flag),
        15: ("port", _swapped),
        16: ("remote", bytes),
        17: ("local", bytes),
        18: ("udp_csum", _flag),
        19: ("udp_zero_csum6_tx", _flag),
        20: ("udp_zero_csum6_rx", _flag),
        23: ("gbp", bool),
        25: ("external", _flag),
        28: ("ttl_inherit", _flag),
        29: ("df", number_of),
        30: ("vnifilter", _flag),
    },
    "bridge": {
        1: ("forward_delay", number_of),
        2: ("hello_time", number_of),
        3: ("max_age", number_of),
        4: ("ageing_time", number_of),
        5: ("stp_state", number_of),
        6: ("priority", number_of),
        7: ("vlan_filtering", _flag),
        22: ("mcast_router", number_of),
        23: ("mcast_snooping", _flag),
        36: ("nf_call_iptables", _flag),
        37: ("nf_call_ip6tables", _flag),
        39: ("vlan_default_pvid", number_of),
    },
}


def dump_links(nl: Netlink) -> list[Link]:
    """All links of the namespace."""
    body = _BODY.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + number(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    found: list[tuple[int, int, dict[int, bytes]]] = []
    for block in nl.dump(_RTM_GETLINK, body):
        if block.length < 16 + _BODY.size:
            raise ProtocolError(f"a link's message has {block.length} bytes")
        for offset in range(0, len(block.data), block.stride):
            _family, _type, index, flags, _change = _BODY.unpack_from(block.data, offset + 16)
            found.append((index, flags, attributes(block.data, offset + 16 + _BODY.size, offset + block.length)))
    names = {index: text_of(had.get(_IFLA_IFNAME)) for index, _flags, had in found}
    return [_link(index, flags, had, names) for index, flags, had in sorted(found, key=lambda link: link[0])]


def device_names_of(links: list[Link]) -> dict[int, str]:
    """Index -> name, as the other dumps want it."""
    return {link.index: link.name for link in links}


def _link(index: int, flags: int, had: Mapping[int, bytes], names: Mapping[int, str]) -> Link:
    info = attributes(had.get(_IFLA_LINKINFO, b""))
    kind = text_of(info.get(_IFLA_INFO_KIND))
    data = _data(kind, attributes(info.get(_IFLA_INFO_DATA, b"")))
    # A VXLAN device has its underlay in the data of its kind only.
    parent = number_of(had.get(_IFLA_LINK)) or data.get("link", 0)
    if _IFLA_LINK_NETNSID in had:
        parent = 0  # the index counts in another namespace
    return Link(
        index=index,
        name=names[index],
        kind=kind,
        mtu=number_of(had.get(_IFLA_MTU)),
        mac=had.get(_IFLA_ADDRESS, b""),
        alias=text_of(had.get(_IFLA_IFALIAS)),
        up=bool(flags & _IFF_UP),
        master=names.get(number_of(had.get(_IFLA_MASTER)), ""),
        parent=names.get(parent, ""),
        carrier=_flag(had.get(_IFLA_CARRIER, b"\0")),
        data=data,
        group=number_of(had.get(_IFLA_GROUP)),
    )


def _data(kind: str, had: Mapping[int, bytes]) -> dict[str, Any]:
    known = _DATA.get(kind, {})
    return {
        known[attribute][0]: known[attribute][1](payload) for attribute, payload in had.items() if attribute in known
    }
