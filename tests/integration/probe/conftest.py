# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with pods, a router between them and a host outside, made by hand with `ip`: what the probes are tried on.

a, b -- node1 (192.0.2.1) --+
                            +-- router --+-- outside (203.0.113.10)
   c -- node2 (198.51.100.2)+
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace, process, session

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = "test"
PORT = 8484
NODE1 = "192.0.2.1"
NODE2 = "198.51.100.2"
OUTSIDE = "203.0.113.10"
VXLAN = {"type": "vxlan", "vni": 84, "outer_src": NODE1, "outer_dst": NODE2, "port": 4789}
PODS = {
    "a": ("10.244.1.2", "fd00:0:0:1::2"),
    "b": ("10.244.1.3", "fd00:0:0:1::3"),
    "c": ("10.244.2.2", "fd00:0:0:2::2"),
}
NODES = {"node1": (1, NODE1, "192.0.2.254", "a", "b"), "node2": (2, NODE2, "198.51.100.254", "c")}


class Fabric(NamedTuple):
    """The namespaces, under names that no other test has."""

    prefix: str
    folder: Path

    def netns(self, name: str) -> str:
        return f"/run/netns/{self.prefix}{name}"

    def ip(self, where: str, *batch: str) -> None:
        self.run(where, "ip", "-batch", "-", stdin="\n".join(batch) + "\n")

    def run(self, where: str, *argv: str, stdin: str | None = None) -> str:
        whole = ["nsenter", f"--net={self.netns(where)}", *argv]
        done = subprocess.run(whole, input=stdin, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, f"{argv} in {where}: {done.stderr}"
        return done.stdout

    def respond(self, *names: str, lifetime: float = 60) -> list[str]:
        wanted = [process.Wanted(name, self.netns(name), PORT, RUN, lifetime) for name in names]
        return process.ensure(wanted, False, self.folder)

    def ask(self, *targets: dict[str, Any], pods: str = "a", **params: Any) -> dict[str, Any]:
        """Asks from pods of node1, by the module's own function."""
        with namespace.inside(self.netns("node1")):
            return session.ask(
                {
                    "pods": [
                        {"name": pod, "netns": self.netns(pod), "addresses": [f"{text}/24" for text in PODS[pod]]}
                        for pod in pods
                    ],
                    "targets": [{"encapsulation": None, **target} for target in targets],
                    "port": PORT,
                    "run": RUN,
                    "lifetime": 60,
                    "timeout": 2.0,
                    "mtu": 1450,
                    "check_mtu": True,
                    "underlay_interface": "eth0",
                    **params,
                },
                False,
            )


def target(pod: str, family: int = 4, **more: Any) -> dict[str, Any]:
    """A pod as a target, with the encapsulation that it should have as seen from node1."""
    tunnel = VXLAN if pod == "c" else {"type": "local"}
    return {"name": pod, "address": PODS[pod][0 if family == 4 else 1], "encapsulation": tunnel, **more}


def _wire(fabric: Fabric) -> None:
    for number, (name, address, gateway) in enumerate(
        (
            ("node1", f"{NODE1}/24", "192.0.2.254"),
            ("node2", f"{NODE2}/24", "198.51.100.254"),
            ("outside", f"{OUTSIDE}/24", "203.0.113.254"),
        ),
        1,
    ):
        fabric.ip(
            "router",
            f"link add r{number} type veth peer name eth0 netns {fabric.prefix}{name}",
            f"address add {gateway}/24 dev r{number}",
            f"link set r{number} up",
        )
        fabric.ip(name, f"address add {address} dev eth0", "link set eth0 up", f"route add default via {gateway}")
    fabric.run("router", "sysctl", "-qw", "net.ipv4.ip_forward=1")


def _node(fabric: Fabric, name: str) -> None:
    number, address, _gateway, *pods = NODES[name]
    other, (peer, peer_address, *_rest) = next((key, value) for key, value in NODES.items() if key != name)
    del other
    fabric.ip(
        name,
        f"link add vx0 address 02:00:00:00:00:0{number} mtu 1450 type vxlan "
        f"id 84 dstport 4789 local {address} nolearning",
        f"address add 10.244.{number}.0/32 dev vx0",
        "link set vx0 up",
        "link add br0 mtu 1450 type bridge",
        f"address add 10.244.{number}.1/24 dev br0",
        f"address add fd00:0:0:{number}::1/64 dev br0",
        "link set br0 up",
        f"neigh add 10.244.{peer}.0 lladdr 02:00:00:00:00:0{peer} dev vx0 nud permanent",
        f"neigh add fd00:0:0:{peer}:: lladdr 02:00:00:00:00:0{peer} dev vx0 nud permanent",
        f"route add 10.244.{peer}.0/24 via 10.244.{peer}.0 dev vx0 onlink",
        f"route add fd00:0:0:{peer}::/64 via fd00:0:0:{peer}:: dev vx0 onlink",
    )
    fabric.run(
        name, "bridge", "fdb", "append", f"02:00:00:00:00:0{peer}", "dev", "vx0", "dst", str(peer_address), "self"
    )
    for pod in pods:
        v4, v6 = PODS[str(pod)]
        fabric.ip(
            name,
            f"link add v{pod} mtu 1450 type veth peer name eth0 mtu 1450 netns {fabric.prefix}{pod}",
            f"link set v{pod} master br0 up",
        )
        fabric.ip(
            str(pod),
            f"address add {v4}/24 dev eth0",
            f"address add {v6}/64 dev eth0",
            "link set lo up",
            "link set eth0 up",
            f"route add default via 10.244.{number}.1",
            f"route add default via fd00:0:0:{number}::1",
        )


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    """The whole of it, in good order."""
    made = Fabric(f"pnp{os.getpid()}-", tmp_path / "podnet" / "probes")
    names = ("router", "outside", "node1", "node2", "a", "b", "c")
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", f"{made.prefix}{name}"], check=True)
            made.run(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
        for name in NODES:
            made.run(name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        _wire(made)
        for name in NODES:
            _node(made, name)
        yield made
    finally:
        process.remove(None, False, made.folder)
        for name in names:
            subprocess.run(["ip", "netns", "delete", f"{made.prefix}{name}"], check=False)


def only(result: dict[str, Any]) -> dict[str, Any]:
    """The one result that there is."""
    (one,) = result["results"]
    assert isinstance(one, dict), json.dumps(result)
    return one
