# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cables, switches, addresses and routes of the lab, read and made by iproute2.

A lab has a few dozen of them and is made once, so the tool that everyone can read is the right one here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.lab.namespaces import entered
from ansible_collections.podnet.fabric.plugins.module_utils.lab.topology import Interface, Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SWITCH = ("stp_state", "0", "mcast_snooping", "0")


class Device(NamedTuple):
    """An interface as the kernel has it."""

    name: str
    kind: str
    alias: str
    up: bool
    mtu: int
    master: str
    addresses: tuple[str, ...]


class Network(NamedTuple):
    """What a node's network holds."""

    devices: Mapping[str, Device]
    routes: frozenset[Route]


def _device(entry: Mapping[str, Any]) -> Device:
    # Link-local addresses are the kernel's, and so are those that came by router advertisement.
    addresses = [
        ipaddress.ip_interface(f"{item['local']}/{item['prefixlen']}").with_prefixlen
        for item in entry.get("addr_info", ())
        if item.get("scope") == "global" and not item.get("dynamic") and "local" in item
    ]
    return Device(
        entry["ifname"],
        entry.get("linkinfo", {}).get("info_kind", ""),
        entry.get("ifalias", ""),
        "UP" in entry["flags"],
        entry["mtu"],
        entry.get("master", ""),
        tuple(sorted(addresses)),
    )


def _routes(family: int) -> list[Route]:
    entries = json.loads(run(["ip", f"-{family}", "-j", "route", "show", "table", "main"]) or "[]")
    result = []
    for entry in entries:
        to, via = entry.get("dst", ""), entry.get("gateway")
        if via:
            result.append(Route(family, to if to == "default" else str(ipaddress.ip_network(to)), str(via)))
    return result


def observe(pid: int) -> Network:
    """Read the network of the node that has process 1 ``pid``."""
    with entered(pid, "net"):
        entries = json.loads(run(["ip", "-j", "-d", "address", "show"]) or "[]")
        routes = frozenset(_routes(4) + _routes(6))
    devices = [_device(entry) for entry in entries if entry]
    return Network({device.name: device for device in devices}, routes)


def batch(pid: int, lines: Sequence[str]) -> list[str]:
    """Give `ip` several commands in a node's network. Returns what failed, each with the kernel's words."""
    if not lines:
        return []
    with entered(pid, "net"):
        try:
            # -force goes on after a failure, so that all of them are told.
            run(["ip", "-force", "-batch", "-"], stdin="\n".join(lines) + "\n")
        except ToolError as error:
            return [" ".join(error.stderr.split())]
    return []


def stable_mac(node: str, bridge: str) -> str:
    """Derive the address of a switch, which would else follow its ports and leave neighbours stale."""
    digest = hashlib.sha256(f"{node}/{bridge}".encode()).digest()
    # Locally administered, unicast (RFC 9542, section 2.1).
    return ":".join(f"{byte:02x}" for byte in bytes([digest[0] & 0xFC | 0x02]) + digest[1:6])


def make_bridge(pid: int, node: str, bridge: Interface) -> None:
    """Make a switch. Without snooping: nobody queries here, and neighbour discovery is multicast."""
    _ip(
        pid,
        ["link", "add", "name", bridge.name, "address", stable_mac(node, bridge.name), "type", "bridge", *SWITCH],
        f"{node}: bridge {bridge.name}",
    )
    _ip(pid, ["link", "set", "dev", bridge.name, "alias", bridge.alias], f"{node}: bridge {bridge.name}")


def make_cable(pid: int, node: str, interface: Interface, peer_pid: int, peer_node: str, peer: Interface) -> None:
    """Make a veth pair in place: neither end is ever seen in the machine's own network."""
    what = f"{node}/{interface.name} to {peer_node}/{peer.name}"
    _ip(
        pid,
        ["link", "add", "name", interface.name, "type", "veth", "peer", "name", peer.name, "netns", str(peer_pid)],
        what,
    )
    _ip(pid, ["link", "set", "dev", interface.name, "alias", interface.alias], what)
    _ip(peer_pid, ["link", "set", "dev", peer.name, "alias", peer.alias], what)


def remove_device(pid: int, name: str) -> None:
    """Remove an interface; the other end of a cable goes with it, at once."""
    try:
        _ip(pid, ["link", "delete", "dev", name], name)
    except ApplyError:
        # The end of a cable into a node that just died goes by itself, some moments later.
        if name in observe(pid).devices:
            raise


def _ip(pid: int, arguments: Sequence[str], what: str) -> None:
    with entered(pid, "net"):
        try:
            run(["ip", *arguments])
        except ToolError as error:
            raise ApplyError([f"{what}: {error}"]) from None


def settle_device(wanted: Interface, found: Device) -> list[str]:
    """Write the `ip` commands that bring one interface from what it is to what it has to be."""
    lines = []
    name = wanted.name
    if wanted.mtu is not None and found.mtu != wanted.mtu:
        lines.append(f"link set dev {name} mtu {wanted.mtu}")
    if found.master != wanted.master:
        lines.append(f"link set dev {name} " + (f"master {wanted.master}" if wanted.master else "nomaster"))
    if not found.up:
        lines.append(f"link set dev {name} up")
    lines += [f"address del {address} dev {name}" for address in found.addresses if address not in wanted.addresses]
    for address in wanted.addresses:
        if address not in found.addresses:
            # Nobody else has the address: no second of waiting for duplicates (RFC 4862, section 5.4).
            lines.append(f"address add {address} dev {name}" + (" nodad" if ":" in address else ""))
    return lines


def settle_routes(wanted: Sequence[Route], found: frozenset[Route]) -> list[str]:
    """Write the `ip` commands for the static routes that are missing or lead elsewhere."""
    return [f"route replace {route.to} via {route.via} proto static" for route in wanted if route not in found]


def _setting(name: str) -> Path:
    return Path("/proc/sys", name.replace(".", "/"))


def read_sysctl(pid: int, name: str) -> str | None:
    """Read a setting of a node's network; None when the kernel does not have it."""
    with entered(pid, "net"):
        try:
            return " ".join(_setting(name).read_text(encoding="ascii").split())
        except OSError:
            return None


def write_sysctl(pid: int, name: str, value: str) -> None:
    """Write a setting of a node's network."""
    with entered(pid, "net"):
        try:
            _setting(name).write_text(value, encoding="ascii")
        except OSError as error:
            raise ApplyError(
                [f"sysctl {name}={value}: {error.strerror}; not every setting exists in a namespace"]
            ) from None
