# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbours: which link-layer address an IP address has (RTM_NEWNEIGH; linux/neighbour.h)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    attribute,
    index_of_device,
    message,
    number,
    verbs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import device_names, records, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

NUD_INCOMPLETE = 0x01
NUD_REACHABLE = 0x02
NUD_STALE = 0x04
NUD_DELAY = 0x08
NUD_PROBE = 0x10
NUD_FAILED = 0x20
NUD_NOARP = 0x40
NUD_PERMANENT = 0x80
NTF_SELF = 0x02
NTF_MASTER = 0x04
NTF_PROXY = 0x08
NTF_EXT_LEARNED = 0x10
NTF_ROUTER = 0x80

RTM_GETNEIGH = 30
NEIGHBOUR_VERBS = verbs(new=28, delete=29)
# struct ndmsg: family, (padding), device index, state, flags, type.
NEIGHBOUR_BODY = struct.Struct("=BxxxIHBB")
NDA_DST = 1
NDA_LLADDR = 2
NDA_IFINDEX = 8
# A whole message: nlmsghdr, ndmsg, NDA_LLADDR (6 bytes and padding), NDA_DST.
_WHOLE = {
    4: struct.Struct("=IHHII BxxxIHBB HH6sxx HH4s"),
    16: struct.Struct("=IHHII BxxxIHBB HH6sxx HH16s"),
}
_FAMILY_OF = {4: int(socket.AF_INET), 16: int(socket.AF_INET6)}


class Neighbour(NamedTuple):
    """An entry of a device's neighbour table; the length of `dst` tells the family.

    An entry that nobody has answered for yet (NUD_INCOMPLETE, NUD_FAILED) has no link-layer address.
    """

    dev: str
    dst: bytes
    lladdr: bytes
    state: int = NUD_PERMANENT
    flags: int = 0


def dump_neighbours(nl: Netlink, names: Mapping[int, str], ifindex: int = 0, family: int = 0) -> list[Neighbour]:
    """The neighbours of one device, or of all; of one family, or of both."""
    body = NEIGHBOUR_BODY.pack(family, 0, 0, 0, 0)
    if ifindex:
        body += number(NDA_IFINDEX, ifindex)
    neighbours: list[Neighbour] = []
    for table in tables(nl.dump(RTM_GETNEIGH, body), NEIGHBOUR_BODY.size):
        neighbours += records(
            Neighbour,
            device_names(names, table.words(4)),
            table.payloads(NDA_DST),
            table.payloads(NDA_LLADDR),
            table.shorts(8),
            table.octets(10),
        )
    if ifindex and not nl.strict:
        return [neighbour for neighbour in neighbours if neighbour.dev == names.get(ifindex)]
    return neighbours


def encode_neighbour(verb: str, neighbour: Neighbour, index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to a neighbour."""
    kind, message_flags = NEIGHBOUR_VERBS[verb]
    dev, dst, lladdr, state, flags = neighbour
    size = len(dst)
    if size not in _WHOLE:
        raise ValueError(f"{neighbour}: an address has 4 or 16 bytes, not {size}")
    index = index_of_device(index_of, dev)
    if len(lladdr) != 6:
        # Unresolved, or the address of a tunnel's end.
        body = NEIGHBOUR_BODY.pack(_FAMILY_OF[size], index, state, flags, 0)
        body += attribute(NDA_LLADDR, lladdr) if lladdr else b""
        return message(kind, message_flags, body + attribute(NDA_DST, dst))
    whole = _WHOLE[size]
    return whole.pack(
        whole.size, kind, message_flags, 0, 0,
        _FAMILY_OF[size], index, state, flags, 0,
        10, NDA_LLADDR, lladdr,
        4 + size, NDA_DST, dst,
    )  # fmt: skip
