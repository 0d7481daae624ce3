# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of names, numbers and addresses: what the network will take must be free, and must fit."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from ansible_collections.podnet.fabric.plugins.module_utils.overhead import overhead
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import CARRIERS
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Interface, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice, Underlay

# RFC 791: every host takes IPv4 packets of 576 bytes. RFC 8200, section 5: every IPv6 link carries 1280.
_SMALLEST_MTU = {4: 576, 6: 1280}


def check_underlay(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """The interface that carries the tunnels."""
    if isinstance(choice, Finding):
        yield choice
        return
    interface = seen.interface(choice.interface)
    if interface is not None and not interface.up:
        yield Finding(
            "underlay",
            "error",
            f"{choice.interface} with {choice.address} is down",
            "an interface that is up",
            f"ip link set {choice.interface} up",
        )


def check_mtu(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """A full packet of a pod must fit through the underlay with its tunnel headers."""
    if not isinstance(choice, Underlay):
        return
    taken = overhead(wanted.dataplane, choice.family, wanted.families)
    room = choice.mtu - taken
    smallest = max((_SMALLEST_MTU[family] for family in wanted.families), default=0)
    least = wanted.mtu or smallest
    if room < least:
        yield Finding(
            "mtu",
            "error",
            f"{choice.interface} has MTU {choice.mtu}, which leaves {room} for pods",
            f"at least {least + taken} ({least} for pods, {taken} for {wanted.dataplane})",
            f"ip link set {choice.interface} mtu {least + taken}"
            + (f", or podnet_mtu: {room} for all nodes" if wanted.mtu and room >= smallest else ""),
        )


def check_names(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """Our devices' names are not somebody else's."""
    devices = zip(CARRIERS[wanted.dataplane].variables, wanted.devices)
    for variable, name in (("podnet_bridge_name", wanted.bridge_name), *devices):
        interface = seen.interface(name)
        if interface is not None and not interface.ours:
            yield Finding(
                "names",
                "error",
                f"a {interface.kind or 'hardware'} device {name} that podnet.fabric has not made",
                f"the name {name} free",
                f"remove it (ip link del {name}), or set {variable} to another name",
            )
        if name in seen.ifupdown:
            yield Finding(
                "names",
                "error",
                f"{name} is configured in /etc/network/interfaces",
                f"the name {name} free",
                f"take {name} out of that file, or set {variable} to another name",
            )


def check_port(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """The dataplane's UDP port is free, or shared by what can share it."""
    port = wanted.port
    if port is None:
        return
    variable = f"podnet_{wanted.dataplane}_port"
    mine = [each for each in seen.interfaces if each.name in wanted.devices]
    others = [each for each in seen.interfaces if each.port == port and each.name not in wanted.devices]
    for each in others:
        yield from _shared_port(each, wanted)
    # WireGuard's port is not in what the kernel says of a link.
    known = any(each.port == port or (each.port is None and each.ours) for each in mine)
    if port in seen.udp_ports and not known and not others:
        yield Finding(
            "port",
            "error",
            f"UDP port {port} is taken by another program",
            "the port free",
            f"see who has it (ss -ulpn sport = {port}), or set {variable}, the same on every node",
        )
    low, _tab, high = seen.sysctl.get("net.ipv4.ip_local_port_range", "").partition("\t")
    if low.isdigit() and high.isdigit() and int(low) <= port <= int(high):
        reserved = seen.sysctl.get("net.ipv4.ip_local_reserved_ports", "")
        if str(port) not in reserved.split(","):
            yield Finding(
                "port",
                "warning",
                f"port {port} lies in net.ipv4.ip_local_port_range {low}-{high}",
                "a port that no program gets by chance",
                f"sysctl -w net.ipv4.ip_local_reserved_ports={port}",
            )


def _shared_port(each: Interface, wanted: Wanted) -> Iterator[Finding]:
    """Another device on the port: VXLAN devices share it if their VNIs differ, other kinds leave it to nobody.

    One that is up would lose its peers to our filter, which lets ours only send to the port (tunnel_filter).
    """
    if each.kind == wanted.dataplane and each.ours:
        return  # bears another name by now, and goes before the new one comes
    if each.kind != wanted.dataplane or wanted.dataplane != "vxlan":
        yield Finding(
            "port",
            "error",
            f"the {each.kind} device {each.name} has UDP port {each.port} already",
            f"port {each.port} free for {wanted.dataplane}",
            f"set podnet_{wanted.dataplane}_port to another number, the same on every node",
        )
    elif each.vni == wanted.vni:
        yield Finding(
            "port",
            "error",
            f"{each.name} has VNI {each.vni} on port {each.port} already",
            f"VNI {wanted.vni} on port {each.port} free",
            "set podnet_vxlan_vni to another number, the same on every node",
        )
    elif each.up and not each.ours:
        yield Finding(
            "port",
            "error",
            f"the vxlan device {each.name}, which is up, receives on UDP port {each.port} too",
            "the port to ourselves: it is closed to all but our peers",
            f"set podnet_vxlan_port to another number, the same on every node; or ip link del {each.name}, if it is "
            "left of a network that is gone",
        )


def check_tcp_port(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """No routing daemon but ours listens; the one that the node declares is ours."""
    port = wanted.tcp_port or CARRIERS[wanted.dataplane].tcp_port
    if port in seen.tcp_ports and wanted.dataplane not in seen.dataplanes:
        yield Finding(
            "port",
            "error",
            f"TCP port {port} is taken by another program",
            f"the port free for {wanted.dataplane}",
            f"see who has it (ss -tlpn sport = {port}) and stop it, or set podnet_bgp.port on all nodes",
        )


def check_pools(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """No pool covers an address that the node uses for something else."""
    ours = {each.name for each in seen.interfaces if each.ours}
    for text in wanted.pools:
        pool = ip_network(text, strict=False)
        for held in seen.addresses:
            address = held.address
            if held.interface in ours or address.version != pool.version or not address.network.overlaps(pool):
                continue
            yield Finding(
                "pools",
                "error",
                f"{address} on {held.interface} overlaps the pool {text}",
                "pools of addresses that nothing else uses",
                f"remove what is left of another network ({held.interface}), or choose another range in podnet_pools",
            )
