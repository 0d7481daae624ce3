# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that is asked for: nodes, bridges and links, checked as a whole before anything is made."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import Finding, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
# IFNAMSIZ of <linux/if.h> is 16 with the closing zero byte.
INTERFACE_NAME = re.compile(r"[^\s/:%]{1,15}")
SYSCTL_NAME = re.compile(r"net(\.[A-Za-z0-9_-]+)+")


class Route(NamedTuple):
    """A static route of a node; ``family`` is 4 or 6, ``to`` a network or "default"."""

    family: int
    to: str
    via: str


class Interface(NamedTuple):
    """One network interface of a node. ``alias`` marks it as ours and says where the other end is."""

    name: str
    alias: str
    addresses: tuple[str, ...]
    mtu: int | None = None
    master: str = ""


class Node(NamedTuple):
    """A node and what its network has to hold."""

    name: str
    hostname: str
    sysctl: tuple[tuple[str, str], ...] = ()
    routes: tuple[Route, ...] = ()


class Link(NamedTuple):
    """A cable: two interfaces, each in its node."""

    node: str
    interface: Interface
    peer_node: str
    peer: Interface


class Bridge(NamedTuple):
    """A switch inside a node."""

    node: str
    interface: Interface


class Topology(NamedTuple):
    """All that one call asks for."""

    nodes: tuple[Node, ...]
    bridges: tuple[Bridge, ...]
    links: tuple[Link, ...]


def _interface_address(value: str) -> str | None:
    try:
        return ipaddress.ip_interface(value).with_prefixlen if "/" in value else None
    except ValueError:
        return None


class _Reader:
    """Collects every finding of the input instead of stopping at the first."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def wrong(self, path: str, found: Any, wanted: str) -> None:
        self.findings.append(Finding(path, f"found {found!r}", wanted))

    def node_name(self, path: str, value: str) -> str:
        if not NODE_NAME.fullmatch(value):
            self.wrong(path, value, "wanted 1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit")
        return value

    def interface_name(self, path: str, value: str) -> str:
        if not INTERFACE_NAME.fullmatch(value) or value in (".", "..") or len(value.encode()) > 15:
            self.wrong(
                path, value, "wanted at most 15 bytes without '/', ':', '%' or space: shorten the interface's name"
            )
        return value

    def addresses(self, path: str, values: Sequence[str] | None) -> tuple[str, ...]:
        result = []
        for index, value in enumerate(values or ()):
            address = _interface_address(value)
            if address is None:
                self.wrong(f"{path}[{index}]", value, "wanted an address with its prefix length, like 192.0.2.1/24")
            else:
                result.append(address)
        return tuple(sorted(set(result)))

    def mtu(self, path: str, value: int | None) -> int | None:
        if value is not None and not 68 <= value <= 65535:
            self.wrong(path, value, "wanted 68 to 65535 bytes (1280 at least for IPv6)")
        return value

    def route(self, path: str, value: Mapping[str, str]) -> Route | None:
        try:
            via = ipaddress.ip_address(value["via"])
        except ValueError:
            self.wrong(f"{path}.via", value["via"], "wanted the address of a router")
            return None
        if value["to"] == "default":
            return Route(via.version, "default", str(via))
        try:
            to = ipaddress.ip_network(value["to"])
        except ValueError:
            self.wrong(f"{path}.to", value["to"], "wanted 'default' or a network like 192.0.2.0/24")
            return None
        if to.version != via.version:
            self.wrong(f"{path}.via", value["via"], f"wanted an IPv{to.version} address, as {value['to']} is one")
        return Route(to.version, "default" if to.prefixlen == 0 else str(to), str(via))

    def sysctl(self, path: str, values: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
        for name in values or ():
            if not SYSCTL_NAME.fullmatch(name):
                self.wrong(f"{path}.{name}", name, "wanted a name below net.: nothing else belongs to a node alone")
        return tuple(sorted((name, " ".join(str(value).split())) for name, value in (values or {}).items()))

    def unique(self, path: str, keys: Sequence[Any], what: str) -> None:
        seen: dict[Any, int] = {}
        for index, key in enumerate(keys):
            if key in seen:
                self.wrong(
                    f"{path}[{index}]", key, f"wanted one {what} of that name, {path}[{seen[key]}] is it already"
                )
            seen.setdefault(key, index)


def _alias(node: str, interface: str) -> str:
    return f"podnet-lab:{node}/{interface}"


def _link(read: _Reader, path: str, value: Mapping[str, Any]) -> Link:
    peer = value["peer"]
    node, peer_node = read.node_name(f"{path}.node", value["node"]), read.node_name(f"{path}.peer.node", peer["node"])
    name = read.interface_name(f"{path}.interface", value["interface"])
    peer_name = read.interface_name(f"{path}.peer.interface", peer["interface"])
    mtu = read.mtu(f"{path}.mtu", value.get("mtu"))
    return Link(
        node,
        Interface(name, _alias(peer_node, peer_name), read.addresses(f"{path}.addresses", value.get("addresses")), mtu),
        peer_node,
        Interface(
            peer_name,
            _alias(node, name),
            read.addresses(f"{path}.peer.addresses", peer.get("addresses")),
            mtu,
            peer.get("bridge") or "",
        ),
    )


def _bridge(read: _Reader, path: str, value: Mapping[str, Any]) -> Bridge:
    node, name = read.node_name(f"{path}.node", value["node"]), read.interface_name(f"{path}.name", value["name"])
    return Bridge(
        node, Interface(name, "podnet-lab:bridge", read.addresses(f"{path}.addresses", value.get("addresses")))
    )


def _node(read: _Reader, path: str, value: Mapping[str, Any]) -> Node:
    name = read.node_name(f"{path}.name", value["name"])
    routes = [read.route(f"{path}.routes[{index}]", route) for index, route in enumerate(value.get("routes") or ())]
    return Node(
        name,
        read.node_name(f"{path}.hostname", value["hostname"]) if value.get("hostname") else name,
        read.sysctl(f"{path}.sysctl", value.get("sysctl")),
        tuple(sorted(route for route in routes if route)),
    )


def parse(params: Mapping[str, Any], existing: Sequence[str]) -> Topology:
    """Read the module's parameters.

    :param existing: nodes that are there already, which links may reach
    :raises InvalidInput: with every finding
    """
    read = _Reader()
    nodes = tuple(_node(read, f"nodes[{index}]", value) for index, value in enumerate(params.get("nodes") or ()))
    bridges = tuple(_bridge(read, f"bridges[{i}]", value) for i, value in enumerate(params.get("bridges") or ()))
    links = tuple(_link(read, f"links[{i}]", value) for i, value in enumerate(params.get("links") or ()))

    read.unique("nodes", [node.name for node in nodes], "node")
    taken = [(bridge.node, bridge.interface.name) for bridge in bridges]
    taken += [end for link in links for end in ((link.node, link.interface.name), (link.peer_node, link.peer.name))]
    for node_name, name in sorted({end for end in taken if taken.count(end) > 1}):
        read.wrong(
            "links", f"{node_name}/{name}", "wanted one use of an interface, found several among links and bridges"
        )

    known = {node.name for node in nodes} | set(existing)
    ends = [(f"bridges[{i}].node", bridge.node) for i, bridge in enumerate(bridges)]
    for i, link in enumerate(links):
        ends += [(f"links[{i}].node", link.node), (f"links[{i}].peer.node", link.peer_node)]
    for path, name in ends:
        if name not in known:
            read.wrong(path, name, f"wanted one of {', '.join(sorted(known)) or 'no node at all'}: add it to nodes")
    if read.findings:
        raise InvalidInput(read.findings)
    return Topology(nodes, bridges, links)
