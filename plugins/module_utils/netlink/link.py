# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links (RTM_NEWLINK; linux/if_link.h)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    NLM_F_REQUEST,
    VERBS,
    attribute,
    attributes,
    index_of_device,
    message,
    number,
    number_of,
    text,
    text_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link_data import read_data, write_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

IN6_ADDR_GEN_MODE_EUI64 = 0
IN6_ADDR_GEN_MODE_NONE = 1

_RTM_NEWLINK = 16
_RTM_DELLINK = 17
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
_IFLA_AF_SPEC = 26
_IFLA_GROUP = 27
_IFLA_EXT_MASK = 29
_IFLA_CARRIER = 33
_IFLA_LINK_NETNSID = 37
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INET6_ADDR_GEN_MODE = 8
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
    data: dict[str, Any]  # attributes of its kind, for the kinds that link_data knows
    group: int = 0


class Settings(NamedTuple):
    """What a message says of a link. What is left out is the kernel's choice in a new link, and stays in another."""

    name: str
    kind: str = ""
    mtu: int = 0
    mac: bytes = b""
    alias: str = ""  # not to be had in a new link: the kernel passes over it
    up: bool | None = None
    group: int = 0
    addr_gen_mode: int | None = None  # IN6_ADDR_GEN_MODE_...: whether IPv6 makes a link-local address
    parent: str = ""
    data: Mapping[str, Any] = {}  # attributes of its kind, as in Link; of an ipip or ip6tnl a change names them all


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
    data = read_data(kind, attributes(info.get(_IFLA_INFO_DATA, b"")))
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
        carrier=bool(number_of(had.get(_IFLA_CARRIER))),
        data=data,
        group=number_of(had.get(_IFLA_GROUP)),
    )


def encode_link(verb: str, settings: Settings, index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to a link: "create", "change" or "delete".

    A change goes by the link's name, which may be that of one made by the message before. A deletion goes by index, so
    that it fails rather than hit another link that has come by the name.
    """
    name, kind, mtu, mac, alias, up, group, addr_gen_mode, parent, data = settings
    if verb == "delete":
        body = _BODY.pack(socket.AF_UNSPEC, 0, index_of_device(index_of, name), 0, 0)
        return message(_RTM_DELLINK, VERBS["delete"], body)
    flags = _IFF_UP if up else 0
    change = 0 if up is None else _IFF_UP
    body = _BODY.pack(socket.AF_UNSPEC, 0, 0, flags, change) + text(_IFLA_IFNAME, name)
    if mac:
        body += attribute(_IFLA_ADDRESS, mac)
    if mtu:
        body += number(_IFLA_MTU, mtu)
    if group:
        body += number(_IFLA_GROUP, group)
    if alias:
        # NLA_STRING: its length is the alias's, without a final zero byte.
        body += attribute(_IFLA_IFALIAS, alias.encode())
    if addr_gen_mode is not None:
        mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((addr_gen_mode,)))
        body += attribute(_IFLA_AF_SPEC, attribute(int(socket.AF_INET6), mode))
    if parent:
        data = {**data, "link": index_of_device(index_of, parent)}
    if kind:
        info = text(_IFLA_INFO_KIND, kind)
        if data:
            info += attribute(_IFLA_INFO_DATA, write_data(kind, data))
        body += attribute(_IFLA_LINKINFO, info)
    return message(_RTM_NEWLINK, VERBS["create"] if verb == "create" else NLM_F_REQUEST, body)
