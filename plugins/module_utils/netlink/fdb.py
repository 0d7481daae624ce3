# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding database entries: behind which address a MAC address is (RTM_NEWNEIGH of family AF_BRIDGE).

A VXLAN device keeps its own entries ("self"); those of a bridge for the same device carry NTF_MASTER or no flag.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    attribute,
    index_of_device,
    message,
    number,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import (
    NDA_DST,
    NDA_IFINDEX,
    NDA_LLADDR,
    NEIGHBOUR_BODY,
    NEIGHBOUR_VERBS,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    RTM_GETNEIGH,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import (
    Table,
    device_names,
    records,
    tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

_AF_BRIDGE = 7
_NDA_VLAN = 5
_NDA_PORT = 6
_NDA_VNI = 7
# A whole message: nlmsghdr, ndmsg, NDA_LLADDR (6 bytes and padding), NDA_DST.
_WHOLE = {
    4: struct.Struct("=IHHII BxxxIHBB HH6sxx HH4s"),
    16: struct.Struct("=IHHII BxxxIHBB HH6sxx HH16s"),
}


class FdbEntry(NamedTuple):
    """An entry of a device's forwarding database. `port` and `vni` are 0 where they are the device's own."""

    dev: str
    lladdr: bytes
    dst: bytes
    state: int = NUD_PERMANENT | NUD_NOARP
    flags: int = NTF_SELF
    port: int = 0
    vni: int = 0
    vlan: int = 0


def dump_fdb(nl: Netlink, names: Mapping[int, str], ifindex: int) -> list[FdbEntry]:
    """The entries of one device, its own and those of its bridge."""
    body = NEIGHBOUR_BODY.pack(_AF_BRIDGE, 0, 0, 0, 0) + number(NDA_IFINDEX, ifindex)
    entries: list[FdbEntry] = []
    for table in tables(nl.dump(RTM_GETNEIGH, body), NEIGHBOUR_BODY.size):
        entries += records(
            FdbEntry,
            device_names(names, table.words(4)),
            table.payloads(NDA_LLADDR),
            table.payloads(NDA_DST),
            table.shorts(8),
            table.octets(10),
            _shorts(table, _NDA_PORT, "big"),
            table.numbers(_NDA_VNI),
            _shorts(table, _NDA_VLAN, sys.byteorder),
        )
    if not nl.strict:
        return [entry for entry in entries if entry.dev == names.get(ifindex)]
    return entries


def encode_fdb(verb: str, entry: FdbEntry, index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to an entry. The all-zero MAC (flooding) takes "append", not "replace"."""
    kind, message_flags = NEIGHBOUR_VERBS[verb]
    dev, lladdr, dst, state, flags, port, vni, vlan = entry
    index = index_of_device(index_of, dev)
    size = len(dst)
    if len(lladdr) != 6 or size not in (0, 4, 16):
        raise ValueError(f"{entry}: an address has 4 or 16 bytes, a link-layer address 6")
    if size and not (port or vni or vlan):
        whole = _WHOLE[size]
        return whole.pack(
            whole.size, kind, message_flags, 0, 0,
            _AF_BRIDGE, index, state, flags, 0,
            10, NDA_LLADDR, lladdr,
            4 + size, NDA_DST, dst,
        )  # fmt: skip
    body = NEIGHBOUR_BODY.pack(_AF_BRIDGE, index, state, flags, 0) + attribute(NDA_LLADDR, lladdr)
    if size:
        body += attribute(NDA_DST, dst)
    if port:
        body += attribute(_NDA_PORT, port.to_bytes(2, "big"))
    if vni:
        body += number(_NDA_VNI, vni)
    if vlan:
        body += attribute(_NDA_VLAN, struct.pack("=H", vlan))
    return message(kind, message_flags, body)


def _shorts(table: Table, attribute_type: int, order: Literal["little", "big"]) -> Iterable[int]:
    if attribute_type not in table:
        return table.repeat(0)
    return [int.from_bytes(payload, order) for payload in table.payloads(attribute_type)]
