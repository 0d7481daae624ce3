# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes (RTM_NEWROUTE; linux/rtnetlink.h)."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ADDRESS_SIZE,
    attribute,
    index_of_device,
    number,
    verbs,
    walk,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap, encaps, encode_encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import (
    Table,
    device_names,
    records,
    tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

RTN_UNICAST = 1
RTN_LOCAL = 2
RTN_BLACKHOLE = 6
RTN_UNREACHABLE = 7
RTN_PROHIBIT = 8
RTN_THROW = 9
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RT_SCOPE_NOWHERE = 255
RT_TABLE_MAIN = 254
RTNH_F_ONLINK = 4
# What IPv6 gives a route that asks for no metric (IP6_RT_PRIO_USER).
IPV6_DEFAULT_METRIC = 1024

_AF_INET = int(socket.AF_INET)
_AF_INET6 = int(socket.AF_INET6)
_RTM_GETROUTE = 26
_RTM_F_FIB_MATCH = 0x2000
_VERBS = verbs(new=24, delete=25)
# IPv6 shows the routes that reject as routes through lo.
_REJECTING = frozenset((RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW))
# struct rtmsg: family, destination's and source's prefix length, tos, table, protocol, scope, type, flags.
_BODY = struct.Struct("=BBBBBBBBI")
# struct rtnexthop: length, flags, weight - 1, device index.
_HOP = struct.Struct("=HBBI")
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_PREFSRC = 7
_RTA_MULTIPATH = 9
_RTA_TABLE = 15
_RTA_VIA = 18
_RTA_ENCAP_TYPE = 21
_RTA_ENCAP = 22
_RTA_NH_ID = 30
# The start of every message: nlmsghdr, rtmsg, RTA_TABLE, RTA_PRIORITY, RTA_DST.
_START = {
    (_AF_INET, 4): struct.Struct("=IHHII BBBBBBBBI HHI HHI HH4s"),
    (_AF_INET6, 16): struct.Struct("=IHHII BBBBBBBBI HHI HHI HH16s"),
}
_NUMBER = struct.Struct("=HHI")


class Hop(NamedTuple):
    """One of the ways of a multipath route."""

    dev: str
    gateway: bytes
    weight: int = 1
    flags: int = 0


class Route(NamedTuple):
    """A route. The first six fields are its key; the protocol (its owner) is not part of it.

    A route that refers to a nexthop object has neither device nor gateway nor flags nor outer header of its own,
    whatever the kernel repeats of the object's. A gateway of 16 bytes in an IPv4 route is an IPv6 one (RTA_VIA).
    """

    family: int
    dst: bytes
    prefixlen: int
    tos: int = 0
    metric: int = 0
    table: int = RT_TABLE_MAIN
    protocol: int = 0
    type: int = RTN_UNICAST
    scope: int = RT_SCOPE_UNIVERSE
    dev: str = ""
    gateway: bytes = b""
    flags: int = 0  # RTNH_F_ONLINK or 0
    nhid: int = 0
    prefsrc: bytes = b""
    nexthops: tuple[Hop, ...] = ()
    encap: Encap | None = None


def dump_routes(
    nl: Netlink, names: Mapping[int, str], family: int, protocol: int = 0, table: int = RT_TABLE_MAIN
) -> list[Route]:
    """The routes of one family: of one owner (protocol) or of all (0), in one table or in all (0)."""
    size = ADDRESS_SIZE[family]
    body = _BODY.pack(family, 0, 0, 0, table if table < 256 else 0, protocol, 0, 0, 0)
    if table:
        body += number(_RTA_TABLE, table)
    try:
        blocks = nl.dump(_RTM_GETROUTE, body)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            # "FIB table does not exist": the kernel makes a table with its first route.
            return []
        raise
    routes: list[Route] = []
    for each in tables(blocks, _BODY.size):
        # A kernel without that family answers with the routes of those that it has (rtnetlink_rcv_msg).
        if each.octets(0).count(family) == each.rows:
            routes += _routes(each, names, size)
    if not nl.strict:
        return [route for route in routes if protocol in (0, route.protocol) and table in (0, route.table)]
    return routes


def lookup_route(nl: Netlink, names: Mapping[int, str], address: bytes) -> Route:
    """The route that the kernel takes to an address, as it stands in the table.

    Where it takes none it raises: ENETUNREACH when there is none, EHOSTUNREACH, EACCES and EINVAL for routes that
    reject (unreachable, prohibit, blackhole). Before Linux 4.13 the route is the one to the address alone.
    """
    family = _AF_INET if len(address) == 4 else _AF_INET6
    body = _BODY.pack(family, 8 * len(address), 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH) + attribute(_RTA_DST, address)
    blocks = [nl.get(_RTM_GETROUTE, body)]
    found = [route for each in tables(blocks, _BODY.size) for route in _routes(each, names, ADDRESS_SIZE[family])]
    if len(found) != 1 or found[0].family != family:
        raise ProtocolError(f"{len(found)} routes, or one of another family, where one to the address was asked for")
    return found[0]


def encode_route(verb: str, route: Route, index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to a route.

    "replace" takes the place of any route with the same key, whoever owns it. "delete" names owner, type and
    nexthop too, so that it fails rather than hit another route of the same key. It leaves the outer header out, which
    only IPv4 would compare.
    """
    kind, message_flags = _VERBS[verb]
    (
        family, dst, prefixlen, tos, metric, table, protocol, type_, scope,
        dev, gateway, flags, nhid, prefsrc, hops, encap,
    ) = route  # fmt: skip
    size = len(dst)
    if (family, size) not in _START:
        raise ValueError(f"{route}: {size} bytes are no address of family {family}")
    if family == _AF_INET6:
        metric = metric or IPV6_DEFAULT_METRIC
    elif verb == "delete":
        scope = RT_SCOPE_NOWHERE  # any
    rest = b""
    if nhid:
        rest = _NUMBER.pack(8, _RTA_NH_ID, nhid)
    else:
        if dev:
            rest = _NUMBER.pack(8, _RTA_OIF, index_of_device(index_of, dev))
        if gateway:
            rest += _gateway(family, gateway)
        if hops:
            rest += attribute(_RTA_MULTIPATH, b"".join(_encode_hop(family, hop, index_of) for hop in hops))
        if encap and verb != "delete":
            rest += encode_encap(encap, _RTA_ENCAP_TYPE, _RTA_ENCAP)
    if prefsrc:
        if len(prefsrc) != size:
            raise ValueError(f"{route}: {len(prefsrc)} bytes are no address of family {family}")
        rest += attribute(_RTA_PREFSRC, prefsrc)
    start = _START[family, size]
    return start.pack(
        start.size + len(rest), kind, message_flags, 0, 0,
        family, prefixlen, 0, tos, table if table < 256 else 0, protocol, scope, type_, flags,
        8, _RTA_TABLE, table,
        8, _RTA_PRIORITY, metric,
        4 + size, _RTA_DST, dst,
    ) + rest  # fmt: skip


def _routes(table: Table, names: Mapping[int, str], size: int) -> list[Route]:
    for attribute_type in (_RTA_DST, _RTA_PREFSRC):
        found = table.places.get(attribute_type, (0, size))[1]
        if found != size:
            raise ProtocolError(f"attribute {attribute_type} of a route holds {found} bytes instead of {size}")
    types = table.octets(7)
    devices: Iterable[str] = table.repeat("")
    gateways: Iterable[bytes] = table.repeat(b"")
    flags: Iterable[int] = table.repeat(0)
    hops: Iterable[tuple[Hop, ...]] = table.repeat(())
    outer: Iterable[Encap | None] = table.repeat(None)
    if _RTA_NH_ID not in table:
        if _RTA_OIF in table:
            devices = device_names(names, table.numbers(_RTA_OIF))
        if _RTA_GATEWAY in table:
            gateways = table.payloads(_RTA_GATEWAY)
        elif _RTA_VIA in table:
            gateways = [via[2:] for via in table.payloads(_RTA_VIA)]
        if _RTA_MULTIPATH in table:
            hops = [tuple(_hops(payload, names)) for payload in table.payloads(_RTA_MULTIPATH)]
        flags = map(RTNH_F_ONLINK.__and__, table.words(8))
        outer = encaps(table, _RTA_ENCAP_TYPE, _RTA_ENCAP)
    routes = records(
        Route,
        table.octets(0),
        table.payloads(_RTA_DST, bytes(size)),
        table.octets(1),
        table.octets(3),
        table.numbers(_RTA_PRIORITY),
        table.numbers(_RTA_TABLE) if _RTA_TABLE in table else table.octets(4),
        table.octets(5),
        types,
        table.octets(6),
        devices,
        gateways,
        flags,
        table.numbers(_RTA_NH_ID),
        table.payloads(_RTA_PREFSRC),
        hops,
        outer,
    )
    if not _REJECTING.isdisjoint(types):
        return [route._replace(dev="", gateway=b"", flags=0) if route.type in _REJECTING else route for route in routes]
    return routes


def _gateway(family: int, gateway: bytes) -> bytes:
    size = len(gateway)
    if size == ADDRESS_SIZE[family]:
        return attribute(_RTA_GATEWAY, gateway)
    if size != ADDRESS_SIZE[_AF_INET6]:
        raise ValueError(f"{size} bytes are no gateway of a route of address family {family}")
    return attribute(_RTA_VIA, struct.pack("=H", _AF_INET6) + gateway)


def _encode_hop(family: int, hop: Hop, index_of: Mapping[str, int]) -> bytes:
    gateway = _gateway(family, hop.gateway) if hop.gateway else b""
    index = index_of_device(index_of, hop.dev)
    return _HOP.pack(_HOP.size + len(gateway), hop.flags, hop.weight - 1, index) + gateway


def _hops(payload: bytes, names: Mapping[int, str]) -> Iterable[Hop]:
    offset = 0
    while offset < len(payload):
        left = len(payload) - offset
        length, flags, weight, index = _HOP.unpack_from(payload, offset) if left >= _HOP.size else (0, 0, 0, 0)
        if length < _HOP.size or length > left:
            raise ProtocolError(f"a nexthop of a multipath route claims {length} bytes of the {left} that there are")
        gateway = b""
        for kind, start, size in walk(payload, offset + _HOP.size, offset + length):
            if kind == _RTA_GATEWAY:
                gateway = payload[start : start + size]
            elif kind == _RTA_VIA:
                gateway = payload[start + 2 : start + size]
        yield Hop(names.get(index, f"ifindex:{index}"), gateway, weight + 1, flags & RTNH_F_ONLINK)
        offset += (length + 3) & ~3
