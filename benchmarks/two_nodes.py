# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with a pod each, as namespaces: by the kinds of this collection, by hand with `ip`, or merely routed.

    pod1 -- bridge -- node1 -- cable -- node2 -- bridge -- pod2

By hand means what a person would type with `ip` and `nft` for the same network: the same devices, MTU and addresses,
outgoing NAT, and tunnel packets from the peer only and not from pods; no nexthop objects. Unfiltered is by hand and
lets tunnel packets come from anywhere. Routed is without bridge, tunnel, NAT and filter.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.podnet.fabric.benchmarks import by_hand, ours
from ansible_collections.podnet.fabric.benchmarks.network import (
    CABLE_MTU,
    HAND,
    LINK_KINDS,
    NUMBERS,
    OURS,
    ROUTED,
    TUNNELS,
    Network,
    run,
)


def offered(dataplane: str) -> bool:
    """Whether this kernel has what the dataplane needs."""
    name = f"pntry{os.getpid()}"
    needed = {"geneve": ["external"], "ip6tnl": ["external"], "vxlan": ["id", "1", "dstport", "4789"]}
    run("ip", "netns", "add", name)
    try:
        for kind in LINK_KINDS.get(dataplane, ()):
            more = needed.get(kind, [])
            argv = ["ip", "-n", name, "link", "add", f"t{kind}", "type", kind, *more]
            if subprocess.run(argv, capture_output=True, check=False).returncode:
                return False
    finally:
        run("ip", "netns", "delete", name)
    return dataplane != "bgp" or Path("/usr/sbin/bird").exists()


def build(network: Network, how: str) -> None:
    """Nodes, pods and what is between them."""
    for where in ("node1", "node2", "pod1", "pod2"):
        run("ip", "netns", "add", network.netns(where))
        forwarding = [f"net.ipv{family}.conf.all.forwarding=1" for family in (4, 6)] if where[:4] == "node" else []
        settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0", *forwarding]
        network.inside(where, "sysctl", "-qw", *settings)
        network.ip(where, "link set lo up")
    network.ip(
        "node1",
        f"link add eth0 mtu {CABLE_MTU} type veth peer name eth0 mtu {CABLE_MTU} netns {network.netns('node2')}",
    )
    for number in NUMBERS:
        network.ip(
            f"node{number}",
            "link set eth0 up",
            f"address add 192.0.2.{number}/24 dev eth0",
            f"address add fd00:192::{number}/64 dev eth0",
        )
    if how == ROUTED:
        _routed(network)
    else:
        for number in NUMBERS:
            (ours if how == OURS else by_hand).build(network, number)
            if how == HAND and network.dataplane in TUNNELS:
                by_hand.filtered(network, number)
            _pod(network, number)
    _settle(network)


def destroy(network: Network) -> None:
    """All of it, and BIRD where it runs."""
    for where in ("node1", "node2", "pod1", "pod2"):
        pids = subprocess.run(
            ["ip", "netns", "pids", network.netns(where)], capture_output=True, text=True, check=False
        )
        for pid in pids.stdout.split():
            os.kill(int(pid), 9)
        subprocess.run(["ip", "netns", "delete", network.netns(where)], capture_output=True, check=False)


def shape(network: Network) -> dict[str, Any]:
    """What the kernel says of the devices of node1: kind, MTU and every attribute of the kind."""
    links = json.loads(network.inside("node1", "ip", "-d", "-j", "link", "show"))
    hidden = {"hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "root_id", "bridge_id"}
    return {
        link["ifname"]: {
            "mtu": link["mtu"],
            "kind": link["linkinfo"]["info_kind"],
            **{key: value for key, value in link["linkinfo"].get("info_data", {}).items() if key not in hidden},
        }
        for link in links
        if link.get("linkinfo") and link["ifname"].startswith("podnet")
    }


def _pod(network: Network, number: int) -> None:
    far_end = f"peer name eth0 mtu {network.mtu} netns {network.netns(f'pod{number}')}"
    network.ip(
        f"node{number}",
        f"link add pod mtu {network.mtu} type veth {far_end}",
        "link set pod master podnet0 up",
    )
    _pod_addresses(network, number)


def _pod_addresses(network: Network, number: int) -> None:
    network.ip(
        f"pod{number}",
        "link set eth0 up",
        f"address add 10.244.{number}.2/24 dev eth0",
        f"address add fd00:10:244:{number}::2/64 dev eth0",
        f"route add default via 10.244.{number}.1",
        f"route add default via fd00:10:244:{number}::1",
    )


def _routed(network: Network) -> None:
    for number in NUMBERS:
        other = 3 - number
        network.ip(
            f"node{number}",
            f"link add pod type veth peer name eth0 netns {network.netns(f'pod{number}')}",
            "link set pod up",
            f"address add 10.244.{number}.1/24 dev pod",
            f"address add fd00:10:244:{number}::1/64 dev pod",
            f"route add 10.244.{other}.0/24 via 192.0.2.{other}",
            f"route add fd00:10:244:{other}::/64 via fd00:192::{other}",
        )
        _pod_addresses(network, number)


def _settle(network: Network) -> None:
    """Until both pods have a way to each other: BIRD takes a second."""
    limit = time.monotonic() + 30
    for number in NUMBERS:
        for target in (f"10.244.{3 - number}.2", f"fd00:10:244:{3 - number}::2"):
            argv = ["nsenter", f"--net=/run/netns/{network.netns(f'pod{number}')}", "ping", "-c1", "-W1", "-q", target]
            while subprocess.run(argv, capture_output=True, check=False).returncode:
                if time.monotonic() > limit:
                    raise SystemExit(f"{network.dataplane}: pod{number} does not reach {target}")
                time.sleep(0.1)
