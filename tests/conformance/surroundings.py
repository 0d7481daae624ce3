# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is around the pods of two nodes: the nodes themselves, and a host outside that the first node leads to.

Everything that packets are sent from and to has a place: first the pods, then the nodes, then the host.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance import nodes
from tests.conformance.cases import FIRST

if TYPE_CHECKING:
    from tests.conformance.nodes import Nodes

PODS = 8
NODES = (PODS, PODS + 1)
OUTSIDE = PODS + 2
PLACES = PODS + 3
_HOST = {4: ("198.51.100.2", "198.51.100.1", 24), 6: ("2001:db8:9::2", "2001:db8:9::1", 64)}


class Ground(NamedTuple):
    """The nodes with their pods, and the namespace of the host outside."""

    built: Nodes
    outside: str

    def row(self, family: int) -> list[tuple[str, str]]:
        """Namespace and address by place."""
        names = (*self.built.pods[:PODS], *self.built.nodes, self.outside)
        return [(name, address_of(place, family)) for place, name in enumerate(names)]

    def remove(self) -> None:
        """Remove the namespaces and all in them."""
        self.built.remove()
        subprocess.run(["ip", "netns", "delete", self.outside], check=True, timeout=60)


def address_of(place: int, family: int) -> str:
    """The address by which a place is reached. A node reaches the pods of its own by another one."""
    if place < PODS:
        return str(FIRST[family] + place)
    return nodes.UNDERLAY[family][place - PODS] if place in NODES else _HOST[family][0]


def source_of(place: int, destination: int, family: int) -> str:
    """The address that packets from a place to another one come from."""
    if place in NODES and destination < PODS and own_node(destination) == place - PODS:
        return nodes.GATEWAYS[family]
    return address_of(place, family)


def own_node(place: int) -> int:
    """Which of the nodes a pod is on."""
    return place % 2


def build(prefix: str) -> Ground:
    """Make the nodes, and the host behind the first of them."""
    made = Ground(nodes.build(prefix), f"{prefix}out")
    first, second = made.built.nodes
    _run("ip", "netns", "add", made.outside)
    for which in ("all", "default"):
        _run("ip", "netns", "exec", made.outside, "sysctl", "-qw", f"net.ipv6.conf.{which}.accept_dad=0")
    _run("ip", "link", "add", "out0", "netns", first, "type", "veth", "peer", "name", "eth0", "netns", made.outside)
    for name, device, end in ((first, "out0", 1), (made.outside, "eth0", 0)):
        for family, own in _HOST.items():
            nodad = ["nodad"] if family == 6 else []
            _run("ip", "-n", name, "address", "add", f"{own[end]}/{own[2]}", "dev", device, *nodad)
        _run("ip", "-n", name, "link", "set", device, "up")
    for family, (address, gateway, _length) in _HOST.items():
        _run("ip", "-n", made.outside, f"-{family}", "route", "add", "default", "via", gateway)
        _run("ip", "-n", second, f"-{family}", "route", "add", address, "via", nodes.UNDERLAY[family][0])
    return made


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=60)
