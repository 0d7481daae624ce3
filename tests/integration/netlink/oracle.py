# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's tables as pyroute2 reads them (and iproute2, for what pyroute2 cannot), in our types."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import Address
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Hop, Route
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.rule import Rule

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

_ONLINK = 4


def packed(address: str | None) -> bytes:
    """An address as the kernel has it."""
    return ip_address(address).packed if address else b""


def mac(text: str | None) -> bytes:
    """A link-layer address as the kernel has it."""
    return bytes.fromhex(text.replace(":", "")) if text else b""


def routes(node: Node, family: int, table: int = 254) -> list[Route]:
    """The routes of one table, as pyroute2 reads them."""
    return sorted(_route(node, route) for route in node.ipr.get_routes(family=family, table=table))


def _route(node: Node, route: Any) -> Route:
    # pyroute2 0.9.7 does not know RTA_NH_ID (30) and shows it as raw data, in a type that counts as missing.
    rejects = route["type"] in (6, 7, 8, 9)
    via = route.get_attr("RTA_VIA")
    gateway = packed(via["addr"]) if via else packed(route.get_attr("RTA_GATEWAY"))
    size = 16 if route["family"] == socket.AF_INET6 else 4
    return Route(
        family=route["family"],
        dst=packed(route.get_attr("RTA_DST")) or bytes(size),
        prefixlen=route["dst_len"],
        tos=route["tos"],
        metric=route.get_attr("RTA_PRIORITY") or 0,
        table=route.get_attr("RTA_TABLE"),
        protocol=route["proto"],
        type=route["type"],
        scope=route["scope"],
        dev="" if rejects else node.names.get(route.get_attr("RTA_OIF"), ""),
        gateway=gateway,
        flags=route["flags"] & _ONLINK,
        prefsrc=packed(route.get_attr("RTA_PREFSRC")),
        nexthops=tuple(
            Hop(node.names[hop["oif"]], packed(hop.get_attr("RTA_GATEWAY")), hop["hops"] + 1, hop["flags"] & _ONLINK)
            for hop in route.get_attr("RTA_MULTIPATH") or ()
        ),
    )


def neighbours(node: Node, dev: str) -> list[Neighbour]:
    """The neighbours of a device, as pyroute2 reads them."""
    return sorted(
        Neighbour(
            dev,
            packed(entry.get_attr("NDA_DST")),
            mac(entry.get_attr("NDA_LLADDR")),
            entry["state"],
            entry["flags"],
        )
        for entry in node.ipr.get_neighbours()
        if entry["ifindex"] == node.index_of[dev]
    )


def fdb(node: Node, dev: str) -> list[FdbEntry]:
    """The forwarding database entries of a device, as pyroute2 reads them."""
    return sorted(
        FdbEntry(
            dev,
            mac(entry.get_attr("NDA_LLADDR")),
            packed(entry.get_attr("NDA_DST")),
            entry["state"],
            entry["flags"],
            entry.get_attr("NDA_PORT") or 0,
            entry.get_attr("NDA_VNI") or 0,
            entry.get_attr("NDA_VLAN") or 0,
        )
        for entry in node.ipr.fdb("dump")
        if entry["ifindex"] == node.index_of[dev]
    )


def addresses(node: Node) -> list[Address]:
    """All addresses, as pyroute2 reads them."""
    return sorted(
        Address(
            node.names[entry["index"]],
            entry["family"],
            packed(entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")),
            entry["prefixlen"],
            entry["scope"],
            entry.get_attr("IFA_FLAGS"),
        )
        for entry in node.ipr.get_addr()
    )


def rules(node: Node, family: int) -> list[Rule]:
    """The rules of one family, as pyroute2 reads them."""
    return sorted(
        Rule(
            family=entry["family"],
            priority=entry.get_attr("FRA_PRIORITY") or 0,
            table=entry.get_attr("FRA_TABLE") or 0,
            src=packed(entry.get_attr("FRA_SRC")),
            src_len=entry["src_len"],
            dst=packed(entry.get_attr("FRA_DST")),
            dst_len=entry["dst_len"],
            iif=entry.get_attr("FRA_IIFNAME") or "",
            oif=entry.get_attr("FRA_OIFNAME") or "",
            fwmark=entry.get_attr("FRA_FWMARK") or 0,
            fwmask=entry.get_attr("FRA_FWMASK") or 0,
            action=entry["action"],
            protocol=entry.get_attr("FRA_PROTOCOL") or 0,
            invert=bool(entry["flags"] & 2),
            tos=entry["tos"],
            suppress_prefixlen=_suppressed(entry.get_attr("FRA_SUPPRESS_PREFIXLEN")),
        )
        for entry in node.ipr.get_rules(family=family)
        if entry["family"] == family
    )


def _suppressed(length: int | None) -> int:
    return -1 if length in (None, 0xFFFFFFFF) else length


def nexthops(node: Node) -> list[Nexthop]:
    """All nexthop objects, as iproute2 reads them: pyroute2 has no class for them. It names no blackhole's family."""
    protocols = {"unspec": 0, "kernel": 2, "boot": 3, "static": 4}
    found = []
    for entry in node.netns.ip_json("nexthop"):
        gateway = packed(entry.get("gateway"))
        protocol = entry.get("protocol", "unspec")
        found.append(
            Nexthop(
                id=entry["id"],
                family=socket.AF_INET6 if len(gateway) == 16 else socket.AF_INET,
                dev=entry.get("dev", ""),
                gateway=gateway,
                flags=_ONLINK if "onlink" in entry["flags"] else 0,
                protocol=protocols[protocol] if protocol in protocols else int(protocol),
                blackhole="blackhole" in entry,
            )
        )
    return sorted(found)
