# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which nothing is in the way, and what is found on one."""

from __future__ import annotations

from ipaddress import ip_interface

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    CniDirectory,
    Firewall,
    HeldAddress,
    Interface,
    Seen,
    Trial,
    Wanted,
)

WANTED = Wanted(interface="eth0", pools=("10.244.0.0/16", "fd00:10:244::/48"))
ETH0 = Interface("eth0")
ADDRESS = HeldAddress("eth0", ip_interface("192.168.0.11/24"))
DOCKER = Firewall("iptables-nft", "ip filter", "FORWARD", "iptables-nft")
FINE = Seen(
    interfaces=(ETH0,),
    addresses=(ADDRESS,),
    trials={feature: Trial(True) for feature in ("bridge", "vxlan", "veth", "nexthop", "nftables")},
    tools={"ip": "/usr/sbin/ip", "nft": "/usr/sbin/nft", "conntrack": None},
    cni=CniDirectory(
        "/usr/lib/cni",
        {"bridge": "/usr/lib/cni/bridge", "host-local": "/usr/lib/cni/host-local"},
        {"bridge": ("0.4.0", "1.0.0"), "host-local": ("0.4.0", "1.0.0")},
        ("10-podnet.conflist", "87-podman.conflist"),
    ),
    sysctl={
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "2",
        "net.ipv4.conf.eth0.rp_filter": "0",
        "net.ipv6.conf.all.disable_ipv6": "0",
        "net.ipv6.conf.default.disable_ipv6": "0",
        "net.ipv6.conf.eth0.accept_ra": "1",
        "net.ipv4.ip_local_port_range": "32768\t60999",
    },
)


def told(seen: Seen, wanted: Wanted = WANTED) -> list[tuple[str, str, str]]:
    """The findings as (check, severity, what was found)."""
    return [(finding.check, finding.severity, finding.found) for finding in examine(seen, wanted)[1]]


def with_sysctl(**changes: str) -> Seen:
    """The fine host with kernel settings of another value; dots of their names written as two underscores."""
    return FINE._replace(sysctl={**FINE.sysctl, **{name.replace("__", "."): value for name, value in changes.items()}})
