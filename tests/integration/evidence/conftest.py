# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes on one wire, each a namespace with a pod bridge; the dataplane between them is made by our own kinds.

The test is in node1; node2 has a name that no other test has.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.inquiry import Probing
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import bridge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Namespace

BRIDGE = "podnet0"


class Pair:
    """Both nodes; declarations of each below a directory of the test's."""

    def __init__(self, netns: Namespace, other: str, folder: Path) -> None:
        self.netns = netns
        self.other = other
        self.root = folder / "root"
        self.declarations = {number: Declarations(folder / f"node{number}" / "node.d") for number in (1, 2)}

    def declare(self, number: int, kind: Kind, name: str, params: dict[str, Any]) -> None:
        """What the kind's module does on a node with `state: present`."""
        with namespace.inside("-" if number == 1 else self.other), Host() as host:
            host.declarations = self.declarations[number]
            items = host.declarations.read(kind.name)
            items[name] = kind.normalise(name, params, items.get(name), host)
            reconcile(kind, items, host, host.declarations)

    def inquire(self, probing: Probing | None = None, *to: str) -> dict[str, Any]:
        """What the module returns on node1."""
        with Host() as host:
            return dataplane.describe(host, self.declarations[1], to, probing, self.root)


def params(kind: str, number: int, **changes: Any) -> dict[str, Any]:
    """The options of a dataplane's module on a node, with the other one as its peer."""
    peer = 3 - number
    wanted: dict[str, Any] = {
        "local": f"192.0.2.{number}",
        "second_local": f"2001:db8::{number}",
        "underlay": "eth0",
        "addresses": [f"10.244.{number}.0/32", f"fd00:10:244:{number}::/128"],
        "nexthop_objects": "auto",
        "peers": [
            {
                "name": f"node{peer}",
                "underlay": f"192.0.2.{peer}",
                "second": f"2001:db8::{peer}",
                "mac": f"02:00:00:00:01:0{peer}",
                "blocks": [f"10.244.{peer}.0/24", f"fd00:10:244:{peer}::/64"],
                "direct": kind == "host_gw",
            }
        ],
    }
    own: dict[str, dict[str, Any]] = {
        "vxlan": {"vni": 84, "port": 4789, "mac": f"02:00:00:00:01:0{number}"},
        "geneve": {"vni": 84, "port": 6081, "mac": f"02:00:00:00:01:0{number}"},
        "ipip": {"device6": "podnet-ip6"},
        "host_gw": {},
    }
    return {**wanted, **own[kind], **changes}


@pytest.fixture
def pair(netns: Namespace, tmp_path: Path) -> Iterator[Pair]:
    """node1 and node2 with bridges, and nothing between them but the wire."""
    other = f"pne{os.getpid()}"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        made = Pair(netns, other, tmp_path)
        for where in ("-", other):
            with namespace.inside(where):
                # Link-local addresses that can be used at once: solicitations for packets of pods come from them.
                netns.run("sysctl", "-qw", *(f"net.ipv6.conf.{scope}.accept_dad=0" for scope in ("all", "default")))
        netns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other)
        for number, where in ((1, "-"), (2, other)):
            with namespace.inside(where):
                for setting in ("ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"):
                    netns.run("sysctl", "-qw", f"net.{setting}")
                netns.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
                netns.ip("address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
                netns.ip("link", "set", "lo", "up")
                netns.ip("link", "set", "eth0", "up")
            addresses = [f"10.244.{number}.1/24", f"fd00:10:244:{number}::1/64"]
            made.declare(
                number, bridge.KIND, BRIDGE, {"mtu": 1400, "mac": f"06:00:00:00:01:0{number}", "addresses": addresses}
            )
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", other], check=False)


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system of the test's, where the host's would be."""
    folder = tmp_path / "root" / "sys/fs/bpf"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "bpf", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
