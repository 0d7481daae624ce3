# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node between a peer, a stranger and a pod, all of them namespaces that send tunnel packets.

peer (192.0.2.2) ------+
                       +-- switch -- node (192.0.2.1), the namespace of the test -- podnet0 -- pod (10.244.1.10)
stranger (192.0.2.66) -+
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipam_pool

from .conftest import Node
from .test_kinds import POOLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Namespace

NODE, PEER, STRANGER, POD = 0, 1, 2, 3
ADDRESSES = {
    4: ("192.0.2.1", "192.0.2.2", "192.0.2.66", "10.244.1.10"),
    6: ("2001:db8::1", "2001:db8::2", "2001:db8::66", "fd00:10:244:1::10"),
}
INSIDE = ("10.250.0.1", "10.250.0.2", "10.250.0.66", "10.250.0.10")
MACS = tuple(f"02:00:00:00:0a:0{number}" for number in range(4))
PEERS = [{"name": "peer", "underlay": "192.0.2.2", "second": "2001:db8::2"}]
VXLAN = {"protocol": "udp", "port": 4789, "bridge": "podnet0", "peers": PEERS}
GENEVE = {**VXLAN, "port": 6081}
IPIP = {"protocol": "ipip", "bridge": "podnet0", "peers": PEERS}
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


class Wired(NamedTuple):
    """The node and the namespaces around it."""

    node: Node
    prefix: str

    def ip(self, where: int, *arguments: str) -> None:
        """Run `ip` in one of the namespaces."""
        self.node.namespace.ip(*(["-n", self.name(where)] if where != NODE else []), *arguments)

    def name(self, where: int) -> str:
        return self.prefix + ("node", "peer", "stranger", "pod")[where]

    def open(self, where: int, family: int, sort: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
        """A socket in one of the namespaces."""
        with namespace.inside("-" if where == NODE else self.name(where)):
            made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, sort, protocol)
        made.settimeout(5)
        return made

    def listen(self, where: int, address: str, port: int) -> socket.socket:
        """A UDP socket that is bound."""
        made = self.open(where, 6 if ":" in address else 4)
        made.bind((address, port))
        return made

    def send(self, where: int, address: str, port: int, payload: bytes) -> None:
        """One datagram."""
        with self.open(where, 6 if ":" in address else 4) as sender:
            sender.sendto(payload, (address, port))

    def tunnel(self, where: int, to: int, family: int) -> None:
        """A VXLAN device between two of them, with an address inside and the other end's known."""
        local, remote = (ADDRESSES[family][end] for end in (where, to))
        ends = f"id 84 dstport 4789 nolearning local {local} remote {remote}".split()
        self.ip(where, "link", "add", "vx", "address", MACS[where], "type", "vxlan", *ends)
        # No link-local address, and so no packets but the test's.
        self.ip(where, "link", "set", "vx", "addrgenmode", "none")
        self.ip(where, "address", "add", f"{INSIDE[where]}/24", "dev", "vx")
        self.ip(where, "link", "set", "vx", "up", "alias", "podnet:vxlan")
        self.ip(where, "neigh", "add", INSIDE[to], "lladdr", MACS[to], "dev", "vx", "nud", "permanent")

    def dropped(self, chain: str) -> int:
        """How many packets the rules of a chain have counted."""
        shown = json.loads(self.node.namespace.run("nft", "-j", "list", "chain", "inet", "podnet", chain))
        return sum(
            word["counter"]["packets"]
            for entry in shown["nftables"]
            if "rule" in entry
            for word in entry["rule"]["expr"]
            if "counter" in word
        )

    def is_dropped(self, chain: str, least: int) -> bool:
        """Whether the rules of a chain come to count so many packets."""
        end = time.monotonic() + 5
        while self.dropped(chain) < least and time.monotonic() < end:
            time.sleep(0.01)
        return self.dropped(chain) == least


def nothing_more(receiver: socket.socket) -> bool:
    """Whether a socket is empty; what is dropped was counted before, so it is not merely late."""
    receiver.setblocking(False)
    try:
        receiver.recv(65535)
    except BlockingIOError:
        return True
    finally:
        receiver.settimeout(5)
    return False


@pytest.fixture
def wired(netns: Namespace, tmp_path: Path) -> Iterator[Wired]:
    """The network of this file's head, with forwarding on the node and its pools declared."""
    made = Wired(Node(netns, Declarations(tmp_path / "podnet" / "node.d")), f"pnt{os.getpid()}-")
    switch = f"{made.prefix}switch"
    others = [made.name(where) for where in (PEER, STRANGER, POD)]
    try:
        for name in (switch, *others):
            netns.ip("netns", "add", name)
        netns.ip("-n", switch, "link", "add", "sw0", "type", "bridge", "mcast_snooping", "0")
        netns.ip("-n", switch, "link", "set", "sw0", "up")
        netns.ip("link", "add", "podnet0", "type", "bridge", "mcast_snooping", "0")
        for address in ("10.244.1.1/24", "fd00:10:244:1::1/64"):
            netns.ip("address", "add", address, "dev", "podnet0", "nodad")
        netns.ip("link", "set", "podnet0", "up")
        for where in (NODE, PEER, STRANGER, POD):
            port = f"port{where}"
            there = ["netns", made.name(where)] if where != NODE else []
            netns.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", *there)
            if where != POD:
                netns.ip("link", "set", port, "netns", switch)
            on_switch = ["-n", switch] if where != POD else []
            netns.ip(*on_switch, "link", "set", port, "master", "podnet0" if where == POD else "sw0", "up")
            if where != NODE:
                made.ip(where, "link", "set", "lo", "up")
            for family, length in ((4, 24), (6, 64)):
                made.ip(where, "address", "add", f"{ADDRESSES[family][where]}/{length}", "dev", "eth0", "nodad")
            made.ip(where, "link", "set", "eth0", "up")
            if where != NODE:
                made.ip(where, "route", "add", "default", "via", "10.244.1.1" if where == POD else "192.0.2.1")
                gateway = "fd00:10:244:1::1" if where == POD else "2001:db8::1"
                made.ip(where, "route", "add", "default", "via", gateway)
        netns.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        made.node.declare(ipam_pool.KIND, "node", POOLS)
        yield made
    finally:
        for name in (switch, *others):
            subprocess.run(["ip", "netns", "delete", name], check=False)
