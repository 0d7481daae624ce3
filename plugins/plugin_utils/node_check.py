# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes: where their underlay addresses come from, and whether they can live in one cluster."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Address, Foothold, Node, Underlay
from ansible_collections.podnet.fabric.plugins.plugin_utils.hardware_address import vtep_mac
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

# RFC 8200, section 5: every link that carries IPv6 takes packets of 1280 bytes.
IPV6_MINIMUM_MTU = 1280
# RFC 791: every host takes datagrams of 576 bytes.
IPV4_MINIMUM_MTU = 576


def read_nodes(hosts: Sequence[Host], variables: Mapping[str, Mapping[str, Any]]) -> tuple[list[Node], list[Problem]]:
    """Return the nodes whose address is known, and the problems with the addresses."""
    nodes = []
    problems = []
    for host in hosts:
        asked = variables.get(host.name, {}).get("podnet_underlay")
        if asked is None:
            continue  # the schema's problem already
        underlay = _underlay(host, asked)
        if underlay is None:
            problems.append(_no_address(host))
        else:
            problems += _unusable("address", host.name, underlay.address)
            problems += _unusable_second(host.name, underlay)
            nodes.append(Node(host.name, underlay))
    return nodes, problems + _mixed_families(nodes) + _shared_addresses(nodes)


def identity_problems(cluster: str, nodes: Sequence[Node]) -> list[Problem]:
    """Check that no two nodes have one name, or one hardware address derived from it."""
    problems = []
    for same in _repeated((node.name.casefold().rstrip("."), node.name) for node in nodes):
        found = f"{names(same)}, which differ only in case or in a dot at the end"
        problems.append(Problem("inventory", found, "a name of its own for each node", "rename one of them"))
    for same in _repeated((vtep_mac(cluster, node.name), node.name) for node in nodes):
        found = f"{names(same)}, whose tunnel ends would share the hardware address {vtep_mac(cluster, same[0])}"
        problems.append(
            Problem("inventory", found, "a hardware address of its own for each node", "rename one of them")
        )
    return problems


def choose_mtu(
    wanted: str | int, dataplane: str, overhead: int, nodes: Sequence[Node], ipv6: bool
) -> tuple[int | None, list[Problem], list[str]]:
    """Return the MTU of the pod network (None until a node has told its own), problems and warnings.

    :param overhead: bytes that the dataplane takes
    """
    known = [(node.underlay.mtu, node) for node in nodes if node.underlay.mtu is not None]
    warnings = []
    if wanted == "auto" and known and len(known) < len(nodes):
        warnings.append(
            f"podnet_mtu: worked out from {len(known)} of {len(nodes)} nodes, since the others have not been asked; "
            "run without --limit, or set podnet_mtu"
        )
    if not known:
        return (None if wanted == "auto" else int(wanted)), [], warnings
    smallest, node = min(known, key=lambda pair: pair[0])
    room = smallest - overhead
    where = f"{smallest} bytes on {node.underlay.interface} of {node.name} less {overhead} for {dataplane}"
    least = IPV6_MINIMUM_MTU if ipv6 else IPV4_MINIMUM_MTU
    if wanted != "auto" and int(wanted) > room:
        cure = f"set {room} or auto, or raise the MTU of the underlay"
        return int(wanted), [Problem("podnet_mtu", str(wanted), f"at most {room} ({where})", cure)], warnings
    if room < least:
        cure = "raise the MTU of the underlay" + (", or remove the IPv6 pools" if ipv6 else "")
        family = "IPv6" if ipv6 else "IPv4"
        return (
            room,
            [Problem("podnet_mtu", f"room for {room} ({where})", f"{least} or more for {family}", cure)],
            warnings,
        )
    return (room if wanted == "auto" else int(wanted)), [], warnings


def _underlay(host: Host, asked: Mapping[str, Any]) -> Underlay | None:
    told = host.facts.get("underlay") or {}
    reported = _address(told.get("address"))
    for text, source in (
        (asked["address"], "podnet_underlay"),
        (told.get("address"), "node"),
        (host.ansible_host, "ansible_host"),
        (host.name, "ansible_host"),
    ):
        address = _address(text)
        if address is not None:
            interface = asked["interface"]
            if address != reported:
                return _with_second(Underlay(address, source, interface), asked["second_address"], {})
            if interface == "auto":
                interface = told.get("interface") or "auto"
            found = Underlay(address, source, interface, told.get("prefixlen"), told.get("mtu"))
            return _with_second(found, asked["second_address"], told)
    return None


def _with_second(underlay: Underlay, asked: str, told: Mapping[str, Any]) -> Underlay:
    """Return the underlay with the node's address of the other family, as stated or as the node said."""
    if asked == "none":
        return replace(underlay, second_known=True)
    found = told.get("second") or {}
    reported = _address(found.get("address"))
    address = reported if asked == "auto" else _address(asked)
    if address is None:
        return replace(underlay, second_known="second" in told)
    second = Foothold(address, found.get("prefixlen") if address == reported else None)
    return replace(underlay, second=second, second_known=True)


def _address(text: Any) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _no_address(host: Host) -> Problem:
    found = "no address"
    if host.ansible_host and host.ansible_host != host.name:
        found = f"no address (ansible_host is the name '{host.ansible_host}')"
    cure = "set ansible_host to an IP address, or podnet_underlay.address"
    return Problem(f"podnet_underlay.address ({host.name})", found, "the node's IP address on the underlay", cure)


def _unusable_second(name: str, underlay: Underlay) -> list[Problem]:
    if underlay.second is None:
        return []
    found = underlay.second.address
    if found.version != underlay.address.version:
        return _unusable("second_address", name, found)
    other = 10 - found.version
    return [
        Problem(
            f"podnet_underlay.second_address ({name})",
            f"{found}, of the same family as the node's address {underlay.address}",
            f"an IPv{other} address of the node, auto or none",
            "correct one of the two",
        )
    ]


def _unusable(key: str, name: str, address: Address) -> list[Problem]:
    for text, which in (
        ("a loopback address", address.is_loopback),
        ("the unspecified address", address.is_unspecified),
        ("a multicast address", address.is_multicast),
        ("a link-local address", address.is_link_local),
        ("an IPv4 address in IPv6 clothes", getattr(address, "ipv4_mapped", None) is not None),
    ):
        if which:
            cure = f"set podnet_underlay.{key}, or {'ansible_host' if key == 'address' else 'none there'}"
            wanted = "an address that the other nodes can send to"
            return [Problem(f"podnet_underlay.{key} ({name})", f"{address}, {text}", wanted, cure)]
    return []


def _mixed_families(nodes: Sequence[Node]) -> list[Problem]:
    by_family: dict[int, list[str]] = defaultdict(list)
    for node in nodes:
        by_family[node.underlay.address.version].append(node.name)
    if len(by_family) < 2:
        return []
    found = f"IPv4 on {names(by_family[4])} and IPv6 on {names(by_family[6])}"
    cure = "give every node an address of the same family in podnet_underlay.address"
    return [Problem("podnet_underlay.address", found, "one address family on the whole underlay", cure)]


def _shared_addresses(nodes: Sequence[Node]) -> list[Problem]:
    first = [(node.underlay.address, node.name) for node in nodes]
    second = [(node.underlay.second.address, node.name) for node in nodes if node.underlay.second is not None]
    return [
        *_shared(first, "address", "correct ansible_host or podnet_underlay.address of all but one"),
        *_shared(second, "second_address", "name others in podnet_underlay.second_address, or none"),
    ]


def _shared(pairs: Sequence[tuple[Address, str]], key: str, cure: str) -> list[Problem]:
    owners: dict[Address, list[str]] = defaultdict(list)
    for address, name in pairs:
        owners[address].append(name)
    return [
        Problem(
            f"podnet_underlay.{key} ({names(same)})",
            f"{address} on all of them",
            "an address of its own for each node",
            cure,
        )
        for address, same in owners.items()
        if len(same) > 1
    ]


def _repeated(pairs: Iterable[tuple[Hashable, str]]) -> list[list[str]]:
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for key, name in pairs:
        groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]
