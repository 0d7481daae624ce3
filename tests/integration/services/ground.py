# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of tests/conformance/services.yml as namespaces.

pod, one, two -- podnet0 (node a) --- outside --- (node b) podnet0 -- far, farther

The namespace `outside` switches what the nodes say to each other, and is a host with an address of its own there.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.conformance import service_cases as scene

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = f"sv{os.getpid()}-"
OUTSIDE = "outside"
BLOCKS = {"a": "1", "b": "2"}


def netns(name: str) -> str:
    """The name of a namespace: a node's, a pod's or that outside."""
    return PREFIX + ("a" if name == "node" else name)


def gateway(node: str, family: int) -> str:
    """The address of a node's bridge."""
    return f"10.244.{BLOCKS[node]}.1" if family == 4 else f"fd00:10:244:{BLOCKS[node]}::1"


def build() -> None:
    """Make the namespaces, their links and routes."""
    for name in (OUTSIDE, *scene.NODES, *scene.POD_NODES):
        _run("ip", "netns", "add", netns(name))
        settings = [f"ipv6.conf.{which}.accept_dad=0" for which in ("all", "default")]
        # All that is rejected is told at once, also when it is much at a time. IPv6 has a limit for each destination,
        # and one for all that the mask names: of all types one that is not seen here.
        settings += ["ipv4.icmp_ratemask=0", "ipv6.icmp.ratelimit=0", "ipv6.icmp.ratemask=2"]
        if name in (OUTSIDE, *scene.NODES):
            settings += ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"]
        _run("ip", "netns", "exec", netns(name), "sysctl", "-qw", *(f"net.{each}" for each in settings))
        _ip(name, ["link set lo up"])
    _ip(OUTSIDE, ["link add sw type bridge", "link set sw up"])
    _address(OUTSIDE, "sw", scene.OUTSIDE, (24, 64))
    for node, addresses in scene.NODES.items():
        _ip(
            OUTSIDE,
            [f"link add to-{node} type veth peer name under0 netns {netns(node)}", f"link set to-{node} master sw up"],
        )
        _ip(node, ["link set under0 up", "link add podnet0 type bridge", "link set podnet0 up"])
        _address(node, "under0", addresses, (24, 64))
        _address(node, "podnet0", {family: gateway(node, family) for family in (4, 6)}, (24, 64))
    for pod, node in scene.POD_NODES.items():
        _ip(
            node,
            [f"link add to-{pod} type veth peer name eth0 netns {netns(pod)}", f"link set to-{pod} master podnet0 up"],
        )
        # As the bridge plugin does it: a pod reaches itself by the address of a service.
        _run("bridge", "-n", netns(node), "link", "set", "dev", f"to-{pod}", "hairpin", "on")
        _ip(pod, ["link set eth0 up"])
        _address(pod, "eth0", {family: scene.pod_address(pod, family) for family in (4, 6)}, (24, 64))
        _ip(pod, [f"-{family} route add default via {gateway(node, family)}" for family in (4, 6)])
    for node, other in (("a", "b"), ("b", "a")):
        for family, blocks in ((4, f"10.244.{BLOCKS[other]}.0/24"), (6, f"fd00:10:244:{BLOCKS[other]}::/64")):
            way = f"-{family} route add {blocks} via {scene.NODES[other][family]}"
            _ip(node, [way, f"-{family} route add default via {scene.OUTSIDE[family]}"])
    # What outside sends to services goes to node a, as a router would have it.
    _ip(OUTSIDE, [f"-{family} route add default via {scene.NODES['a'][family]}" for family in (4, 6)])


def node_says(*argv: str) -> str:
    """What a command prints on node a."""
    return _run("ip", "netns", "exec", netns("a"), *argv)


def forget_ways() -> None:
    """Have pods and nodes forget how much fits through the ways that they know."""
    for name in (*scene.POD_NODES, *scene.NODES):
        _ip(name, ["-4 route flush cache", "-6 route flush cache"])


def remove() -> None:
    """Remove the namespaces and all in them."""
    for name in (*scene.POD_NODES, *scene.NODES, OUTSIDE):
        subprocess.run(["ip", "netns", "delete", netns(name)], check=False, capture_output=True, timeout=60)


def _address(name: str, device: str, addresses: dict[int, str], lengths: tuple[int, int]) -> None:
    for (family, text), length in zip(addresses.items(), lengths, strict=True):
        _ip(name, [f"address add {text}/{length} dev {device}{' nodad' if family == 6 else ''}"])


def _ip(name: str, lines: Sequence[str]) -> None:
    for line in lines:
        _run("ip", "-n", netns(name), *line.split())


def _run(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout
