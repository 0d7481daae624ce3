# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with pods, as namespaces: pods of one node are bridged, those of the other are reached by routes.

pod ... pod -- podnet0 (first node) -- underlay -- (second node) podnet0 -- pod ... pod
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance.cases import FIRST

if TYPE_CHECKING:
    from collections.abc import Sequence

PODS = 11
"""As many as the largest world has."""
GATEWAYS = {4: "10.244.1.1", 6: "fd00:10:244:1::1"}
UNDERLAY = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


class Nodes(NamedTuple):
    """The names of the namespaces. Pods by their place in the row of addresses."""

    nodes: tuple[str, str]
    pods: tuple[str, ...]

    def node_of(self, place: int) -> int:
        """On which of the nodes a pod is: they take turns."""
        return place % 2

    def forget_flows(self) -> None:
        """Let the nodes forget the flows of before: a round of probes has hundreds, which nobody needs any more."""
        for node in self.nodes:
            argv = ["ip", "netns", "exec", node, "conntrack", "--flush"]
            subprocess.run(argv, check=True, capture_output=True, timeout=60)

    def remove(self) -> None:
        """Remove the namespaces and all in them."""
        _ip([f"netns delete {name}" for name in (*self.pods, *self.nodes)])


def build(prefix: str) -> Nodes:
    """Make the namespaces, their links and routes."""
    made = Nodes((f"{prefix}n0", f"{prefix}n1"), tuple(f"{prefix}p{place}" for place in range(PODS)))
    _ip([f"netns add {name}" for name in (*made.nodes, *made.pods)])
    for name in (*made.nodes, *made.pods):
        # No address is on trial, for which a test would have to wait.
        settings = ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"] if name in made.nodes else []
        settings += [f"ipv6.conf.{which}.accept_dad=0" for which in ("all", "default")]
        subprocess.run(
            ["ip", "netns", "exec", name, "sysctl", "-qw", *(f"net.{each}" for each in settings)], check=True
        )
    first, second = made.nodes
    _ip([f"link add under0 netns {first} type veth peer name under0 netns {second}"])
    for number, node in enumerate(made.nodes):
        lines = ["link set lo up", "link set under0 up", "link add podnet0 type bridge", "link set podnet0 up"]
        for family, own in UNDERLAY.items():
            lines.append(f"address add {own[number]}/{24 if family == 4 else 64} dev under0{_nodad(family)}")
            lines.append(f"address add {GATEWAYS[family]}/{_bits(family)} dev podnet0{_nodad(family)}")
        _ip(lines, node)
    for place, pod in enumerate(made.pods):
        _connect(made, place, pod)
    return made


def _connect(made: Nodes, place: int, pod: str) -> None:
    number = made.node_of(place)
    node, other = made.nodes[number], made.nodes[1 - number]
    _ip([f"link add pod{place} netns {node} type veth peer name eth0 netns {pod}"])
    _ip([f"link set pod{place} master podnet0 up"], node)
    lines = ["link set lo up", "link set eth0 up"]
    for family, first in FIRST.items():
        own = first + place
        lines.append(f"address add {own}/{_bits(family)} dev eth0{_nodad(family)}")
        lines.append(f"-{family} route add {GATEWAYS[family]} dev eth0")
        lines.append(f"-{family} route add default via {GATEWAYS[family]} dev eth0")
        beside = [first + each for each in range(PODS) if each != place and made.node_of(each) == number]
        lines += [f"-{family} route add {address} dev eth0" for address in beside]
        _ip([f"-{family} route add {own} dev podnet0"], node)
        _ip([f"-{family} route add {own} via {UNDERLAY[family][number]}"], other)
    _ip(lines, pod)


def _bits(family: int) -> int:
    return 32 if family == 4 else 128


def _nodad(family: int) -> str:
    return " nodad" if family == 6 else ""


def _ip(lines: Sequence[str], namespace: str = "") -> None:
    inside = ["-n", namespace] if namespace else []
    # `ip -batch` knows no option for the family of a line.
    for family in ("", "-4", "-6"):
        batch = [line.removeprefix(f"{family} ") for line in lines if (line[:2] if line[0] == "-" else "") == family]
        if batch:
            argv = ["ip", *inside, *([family] if family else []), "-batch", "-"]
            subprocess.run(argv, input="\n".join(batch), text=True, check=True, timeout=60)
