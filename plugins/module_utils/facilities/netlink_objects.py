# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plain netlink messages change, in batches: addresses, neighbours, FDB entries, nexthop objects, routes."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import Address, encode_address
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import (
    TUNNEL_CSUM,
    TUNNEL_KEY,
    TUNNEL_SEQ,
    Encap,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, encode_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour, encode_neighbour
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, encode_nexthop
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, encode_route
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import PROTOCOL
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference, line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

NUD_PERMANENT = 0x80
NUD_NOARP = 0x40
NTF_SELF = 0x02
RTNH_F_ONLINK = 0x04
RTN_UNICAST = 1
RTN_NAMES = {1: "", 2: "local", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
RT_TABLE_MAIN = 254
TUNNEL_NAMES = {TUNNEL_KEY: "key", TUNNEL_CSUM: "csum", TUNNEL_SEQ: "seq"}
PROTOCOL_NAMES = {2: "kernel", 3: "boot", 4: "static", 9: "ra", 12: "bird", PROTOCOL: "podnet"}

# What a deletion finds missing is what it wanted: the device, the neighbour, the route, the address went before it.
ALREADY_GONE = {errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV}


class NetlinkFacility:
    """A facility whose objects are the codec's tuples and whose operations are one message each."""

    deletes_first = False

    def __init__(
        self,
        name: str,
        encode: Callable[[str, Any, Mapping[str, int]], bytes],
        describe: Callable[[Any], dict[str, Any]],
        parents: Callable[[Any], Sequence[Reference]],
        takes_over: bool = False,
    ) -> None:
        self.name = name
        self.describe = describe
        self.parents = parents
        self._encode = encode
        # On our own devices a dynamic entry of the same key may stand in the way: it is taken over.
        self._verbs = {"create": "replace" if takes_over else "create"}

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        index, encode, verbs = host.index, self._encode, self._verbs
        messages = [
            encode("delete", before, index) if verb == DELETE else encode(verbs.get(verb, verb), after, index)
            for dummy, verb, before, after in operations
        ]
        failures: list[str] = []
        for position, error in host.netlink.batch(messages):
            operation = operations[position]
            if operation.verb == DELETE and error.errno in ALREADY_GONE:
                continue
            failures.append(f"{self.name}: {operation.verb} {line(self, operation.after or operation.before)}: {error}")
        if failures:
            raise ApplyError(failures)


def ip_text(packed: bytes) -> str:
    """An address as text; empty for none."""
    if not packed:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def mac_text(packed: bytes) -> str:
    """A link-layer address as text."""
    return packed.hex(":")


def protocol_text(number: int) -> str:
    return PROTOCOL_NAMES.get(number, str(number))


def encap_text(encap: Encap | None) -> str:
    """An outer header in the words of ``ip route``, without those that leave the choice to the kernel."""
    if encap is None:
        return ""
    ttl, tos = ("hoplimit", "tc") if encap.type == "ip6" else ("ttl", "tos")
    words = [encap.type]
    if encap.dst or encap.id:
        words.append(f"id {encap.id}")
    fields = {"src": ip_text(encap.src), "dst": ip_text(encap.dst), ttl: encap.ttl, tos: encap.tos}
    words += [f"{name} {value}" for name, value in fields.items() if value]
    words += [name for flag, name in TUNNEL_NAMES.items() if encap.flags & flag]
    return " ".join(words)


def _device(obj: Any) -> Sequence[Reference]:
    return (("links", obj.dev),)


def _route_parents(route: Route) -> Sequence[Reference]:
    if route.nhid:
        return (("nexthops", route.nhid),)
    return (("links", route.dev),) if route.dev else ()


def describe_route(route: Route) -> dict[str, Any]:
    """A route in the words of ``ip route``."""
    kind = RTN_NAMES.get(route.type, str(route.type))
    destination = f"{ip_text(route.dst)}/{route.prefixlen}"
    fields: dict[str, Any] = {"dst": destination, "type": kind, "nhid": route.nhid or ""}
    fields.update(encap=encap_text(route.encap), via=ip_text(route.gateway), dev=route.dev)
    fields["onlink"] = bool(route.flags & RTNH_F_ONLINK)
    fields.update(table="" if route.table == RT_TABLE_MAIN else route.table, metric=route.metric or "")
    fields["proto"] = protocol_text(route.protocol)
    return {key: value for key, value in fields.items() if value not in ("", False)}


def describe_nexthop(nexthop: Nexthop) -> dict[str, Any]:
    """A nexthop object in the words of ``ip nexthop``."""
    fields: dict[str, Any] = {"id": nexthop.id, "encap": encap_text(nexthop.encap)}
    fields.update(via=ip_text(nexthop.gateway), dev=nexthop.dev)
    fields.update(onlink=bool(nexthop.flags & RTNH_F_ONLINK), proto=protocol_text(nexthop.protocol))
    return {key: value for key, value in fields.items() if value not in ("", False)}


def _describe_address(address: Address) -> dict[str, Any]:
    return {"address": f"{ip_text(address.address)}/{address.prefixlen}", "dev": address.dev}


def _describe_neighbour(neighbour: Neighbour) -> dict[str, Any]:
    state = "permanent" if neighbour.state & NUD_PERMANENT else f"{neighbour.state:#x}"
    return {"dst": ip_text(neighbour.dst), "lladdr": mac_text(neighbour.lladdr), "dev": neighbour.dev, "nud": state}


def _describe_fdb(entry: FdbEntry) -> dict[str, Any]:
    permanent = bool(entry.state & NUD_PERMANENT)
    fields: dict[str, Any] = {"mac": mac_text(entry.lladdr), "dst": ip_text(entry.dst), "dev": entry.dev}
    fields.update(self=bool(entry.flags & NTF_SELF), permanent=permanent)
    return {key: value for key, value in fields.items() if value not in ("", False)}


ADDRESSES = NetlinkFacility("addresses", encode_address, _describe_address, _device)
NEIGHBOURS = NetlinkFacility("neighbours", encode_neighbour, _describe_neighbour, _device, takes_over=True)
FDB = NetlinkFacility("fdb", encode_fdb, _describe_fdb, _device, takes_over=True)
NEXTHOPS = NetlinkFacility("nexthops", encode_nexthop, describe_nexthop, _device)
ROUTES = NetlinkFacility("routes", encode_route, describe_route, _route_parents)
