# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes on a switch, each a network and mount namespace of its own, and what a test of BGP does on them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.tests.integration.cni.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

POOLS = ["10.244.0.0/16", "fd00:10:244::/48"]
SOCKET = "/run/podnet/bird.ctl"
CONFIG = "/etc/podnet/bird/bird.conf"
SECRETS = "/etc/podnet/bird/secrets.conf"
PASSWORD = "no-one-may-read-this"  # noqa: S105 - of nobody

_SETUP = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/etc/upper /run/etc/work /run/netns
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
rm -rf /etc/podnet
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
echo ready
exec sleep infinity
"""


class Speaker(Node):
    """A node that may speak BGP; ``number`` is in its addresses."""

    def __init__(self, pid: int, number: int) -> None:
        super().__init__(pid)
        self.number = number
        self.name = f"node{number}"
        self.blocks = [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]
        self.local, self.second = f"192.0.2.{number}", f"2001:db8::{number}"

    def cable(self, switch: Node, interface: str, *addresses: str) -> None:
        """A cable to a switch."""
        port = f"n{self.number}{interface}"
        switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", interface, "netns", str(self.pid))
        switch.run("ip", "link", "set", port, "master", "br0", "up")
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", interface, "up")

    def as_peer(self, **more: Any) -> dict[str, Any]:
        """This node as the others see it."""
        return {"name": self.name, "underlay": self.local, "second": self.second, "blocks": self.blocks, **more}

    def bgp(self, peers: Iterable[Speaker] = (), others: Iterable[Any] = (), **params: Any) -> dict[str, Any]:
        """What the module answers; ``others`` are peers as the module takes them."""
        given = {
            "local": self.local,
            "second_local": self.second,
            "blocks": self.blocks,
            "pools": POOLS,
            "peers": [peer.as_peer() for peer in peers if peer is not self] + list(others),
        }
        return self.module("bgp", **{**given, **params})

    def info(self, wait: int = 0, **params: Any) -> dict[str, Any]:
        """How the sessions are."""
        return self.module("bgp_info", wait=wait, **params)

    def routes(self) -> dict[str, str]:
        """BIRD's routes in the kernel: prefix to gateway."""
        found = {}
        for family in ("-4", "-6"):
            for line in self.run("ip", family, "route", "show", "proto", "bird").splitlines():
                words = line.split()
                found[words[0]] = words[words.index("via") + 1] if "via" in words else words[-1]
        return found

    def birds(self) -> list[int]:
        """The BIRDs of this node, ours or not."""
        return [pid for pid in _birds() if _namespace(pid) == _namespace(self.pid)]

    def connections(self) -> set[tuple[str, str]]:
        """The established connections of TCP: the local address with its port, and the peer's address."""
        ends = [line.split()[-2:] for line in self.run("ss", "-Htn", "state", "established").splitlines()]
        return {(local, peer.rpartition(":")[0].strip("[]")) for local, peer in ends}

    def reaches(self, other: Speaker) -> None:
        """Send to the first address of each of the other's blocks, which it has on lo."""
        for block in other.blocks:
            address = _first(block)
            self.run("ping", "-n", "-c", "1", "-W", "2", "-I", _first(self.blocks[block.count(":") > 0]), address)

    def have_pods(self) -> None:
        """Have something to reach in each block."""
        for block in self.blocks:
            self.run("ip", "address", "add", f"{_first(block)}/{128 if ':' in block else 32}", "dev", "lo")

    def watch(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on until it is killed."""
        return subprocess.Popen([*self.enter, *argv], stdout=subprocess.PIPE, text=True)


def _first(block: str) -> str:
    network = block.partition("/")[0]
    return f"{network}1" if ":" in network else network.rpartition(".")[0] + ".1"


def _birds() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "comm").read_text(encoding="utf-8").strip() == "bird":
                yield int(entry.name)


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


@contextlib.contextmanager
def made(numbers: Iterable[int]) -> Iterator[list[Speaker]]:
    """Namespaces without any cable; what runs in them ends with them."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in numbers:
            command = ["unshare", "--mount", "--net", "--propagation=private", "sh", "-c", _SETUP]
            holder = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(holder.kill)
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n", "the node could not be made"
            nodes.append(Speaker(holder.pid, number))
            stack.callback(_end, nodes[-1])
        yield nodes


def _end(node: Speaker) -> None:
    for pid in node.birds():
        os.kill(pid, signal.SIGKILL)


def switch(node: Node) -> None:
    """Make a switch of a namespace."""
    node.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    node.run("ip", "link", "set", "br0", "up")


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
