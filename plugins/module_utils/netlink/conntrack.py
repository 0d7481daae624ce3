# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows that the kernel tracks (linux/netfilter/nfnetlink_conntrack.h): read, and made to be forgotten."""

from __future__ import annotations

import os
import struct
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ATTRIBUTE,
    NLA_F_NESTED,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_NETFILTER = 12  # linux/netlink.h; the socket module does not know it

# NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE
_GET, _DELETE = 0x101, 0x102
# struct nfgenmsg: family, version, resource id.
_BODY = struct.Struct("=BBH")

_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE = 1, 2, 12, 18
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
# Of an IPv4 and an IPv6 tuple: source and destination.
_CTA_IP = ((1, 2), (3, 4))
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3


def _layout(size: int, source: int) -> tuple[struct.Struct, tuple[bytes, ...]]:
    """How a tuple of TCP, UDP or SCTP lies there, and its attributes' headers: nearly all tuples are such."""
    body = struct.Struct(f">4s4s{size}s4s{size}s4s4sB3x4sH2x4sH2x")
    headers = (
        (4 + 2 * (4 + size), _CTA_TUPLE_IP | NLA_F_NESTED),
        (4 + size, source),
        (4 + size, source + 1),
        (28, _CTA_TUPLE_PROTO | NLA_F_NESTED),
        (5, _CTA_PROTO_NUM),
        (6, _CTA_PROTO_SRC_PORT),
        (6, _CTA_PROTO_DST_PORT),
    )
    return body, tuple(ATTRIBUTE.pack(*header) for header in headers)


_LAYOUTS = {layout[0].size: layout for layout in (_layout(4, 1), _layout(16, 3))}


class End(NamedTuple):
    """One direction of a flow: addresses packed, ports 0 where the protocol has none."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int


class Entry(NamedTuple):
    """A flow as its first packet was, and as replies to it are, which tells where NAT has sent it.

    ``key``, ``zone`` and ``id`` are by what the kernel knows one that it is to forget, as it told them.
    """

    family: int
    original: End
    reply: End
    key: bytes
    zone: bytes = b""
    id: bytes = b""


class _Kept(threading.local):
    """A thread's socket, where it is (the numbers of process and network namespace), and how many want it kept."""

    where: tuple[int, int] = (0, 0)
    socket: Netlink | None = None
    keepers: int = 0

    def drop(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


_kept = _Kept()


@contextmanager
def open_netfilter() -> Iterator[Netlink]:
    """A socket for netfilter's subsystems; as long as somebody wants it kept, the one of before."""
    where = (os.getpid(), Path("/proc/thread-self/ns/net").stat().st_ino)
    if _kept.socket is None or _kept.where != where:
        _kept.drop()
        _kept.socket, _kept.where = Netlink(NETLINK_NETFILTER), where
    try:
        yield _kept.socket
    except BaseException:
        _kept.drop()  # an answer may be left in it
        raise
    if not _kept.keepers:
        _kept.drop()


def keep_netfilter() -> None:
    """Keep this thread's socket open until `let_netfilter_go`, which comes as often.

    To close one takes until the kernel has thrown away what transactions have taken out (nft_rcv_nl_event() in
    net/netfilter/nf_tables_api.c), some 20 ms that a run can spend otherwise.
    """
    _kept.keepers += 1


def let_netfilter_go() -> None:
    """See `keep_netfilter`."""
    _kept.keepers -= 1
    if not _kept.keepers:
        _kept.drop()


def dump_entries(nl: Netlink) -> Iterator[Entry]:
    """All flows of the network namespace. There may be hundreds of thousands, so they are read by columns."""
    for table in tables(nl.dump(_GET, _BODY.pack(0, 0, 0)), _BODY.size):
        if _CTA_TUPLE_ORIG in table and _CTA_TUPLE_REPLY in table:
            yield from map(
                Entry,
                table.octets(0),
                map(_end, table.payloads(_CTA_TUPLE_ORIG)),
                map(_end, table.payloads(_CTA_TUPLE_REPLY)),
                table.payloads(_CTA_TUPLE_ORIG),
                table.payloads(_CTA_ZONE),
                table.payloads(_CTA_ID),
            )


def encode_deletion(entry: Entry) -> bytes:
    """The message that makes the kernel forget a flow; ENOENT when it has done so already."""
    known = attribute(_CTA_TUPLE_ORIG | NLA_F_NESTED, entry.key)
    for kind, value in ((_CTA_ZONE, entry.zone), (_CTA_ID, entry.id)):
        known += attribute(kind, value) if value else b""
    return message(_DELETE, NLM_F_REQUEST, _BODY.pack(entry.family, 0, 0) + known)


def _end(data: bytes) -> End:
    layout = _LAYOUTS.get(len(data))
    if layout is not None:
        fields = layout[0].unpack(data)
        if fields[:2] + fields[3:4] + fields[5:7] + fields[8:9] + fields[10:11] == layout[1]:
            return End(fields[2], fields[4], fields[7], fields[9], fields[11])
    return _end_by_attributes(data)


def _end_by_attributes(data: bytes) -> End:
    parts = attributes(data)
    addresses = attributes(parts.get(_CTA_TUPLE_IP, b""))
    source, destination = next((pair for pair in _CTA_IP if pair[0] in addresses), _CTA_IP[0])
    protocol = attributes(parts.get(_CTA_TUPLE_PROTO, b""))
    return End(
        addresses.get(source, b""),
        addresses.get(destination, b""),
        int.from_bytes(protocol.get(_CTA_PROTO_NUM, b""), "big"),
        _port(protocol.get(_CTA_PROTO_SRC_PORT)),
        _port(protocol.get(_CTA_PROTO_DST_PORT)),
    )


def _port(payload: bytes | None) -> int:
    return int.from_bytes(payload or b"", "big")
