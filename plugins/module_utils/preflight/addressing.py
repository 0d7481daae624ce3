# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of names, numbers and addresses: what the network will take must be free, and must fit."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Seen, Wanted
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
    room = choice.mtu - choice.overhead
    smallest = max((_SMALLEST_MTU[family] for family in wanted.families), default=0)
    least = wanted.mtu or smallest
    if room < least:
        yield Finding(
            "mtu",
            "error",
            f"{choice.interface} has MTU {choice.mtu}, which leaves {room} for pods",
            f"at least {least + choice.overhead} ({least} for pods, {choice.overhead} for the tunnel)",
            f"ip link set {choice.interface} mtu {least + choice.overhead}"
            + (f", or podnet_mtu: {room} for all nodes" if wanted.mtu and room >= smallest else ""),
        )


def check_names(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """Our devices' names are not somebody else's."""
    for name, variable in ((wanted.bridge_name, "podnet_bridge_name"), (wanted.vxlan_device, "podnet_vxlan_device")):
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


def check_vxlan_port(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """The VXLAN port, and on it the VNI, is free."""
    others = [each for each in seen.interfaces if each.kind == "vxlan" and each.name != wanted.vxlan_device]
    sharing = [each for each in others if each.port == wanted.vxlan_port]
    for each in sharing:
        # One of ours that bears another name by now goes before the new one comes.
        if each.vni == wanted.vxlan_vni and not each.ours:
            yield Finding(
                "vxlan_port",
                "error",
                f"{each.name} has VNI {each.vni} on port {each.port} already",
                f"VNI {wanted.vxlan_vni} on port {wanted.vxlan_port} free",
                "set podnet_vxlan_vni to another number, the same on every node",
            )
    holder = seen.interface(wanted.vxlan_device)
    explained = sharing or (holder is not None and holder.port == wanted.vxlan_port)
    if wanted.vxlan_port in seen.udp_ports and not explained:
        yield Finding(
            "vxlan_port",
            "error",
            f"UDP port {wanted.vxlan_port} is taken by another program",
            "the port free",
            f"see who has it (ss -ulpn sport = {wanted.vxlan_port}), or set podnet_vxlan_port, the same on every node",
        )
    low, _tab, high = seen.sysctl.get("net.ipv4.ip_local_port_range", "").partition("\t")
    if low.isdigit() and high.isdigit() and int(low) <= wanted.vxlan_port <= int(high):
        reserved = seen.sysctl.get("net.ipv4.ip_local_reserved_ports", "")
        if str(wanted.vxlan_port) not in reserved.split(","):
            yield Finding(
                "vxlan_port",
                "warning",
                f"port {wanted.vxlan_port} lies in net.ipv4.ip_local_port_range {low}-{high}",
                "a port that no program gets by chance",
                f"sysctl -w net.ipv4.ip_local_reserved_ports={wanted.vxlan_port}",
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
