# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods' packets through an iptables FORWARD that drops: two pods on the bridge, a host outside, and real rules.

pod, other (10.244.1.10, .11) -- podnet0 -- the namespace of the test -- eth0 192.0.2.1 -- outside (192.0.2.2)
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.drift import drift
from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resources.forward_accept import KIND

from .conftest import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

BRIDGE = "podnet0"
PARAMS = {"mode": "auto", "pools": ["10.244.0.0/16", "fd00:10:244::/48"]}
OUTSIDE = {4: "192.0.2.2", 6: "2001:db8::2"}
ADDRESSES = {"pod": ("10.244.1.10", "fd00:10:244:1::10"), "other": ("10.244.1.11", "fd00:10:244:1::11")}
TOOLS = ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"]
# As dockerd 20 to 28 leave it, but for the bridges' names.
DOCKER = """\
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER-USER -j RETURN
COMMIT
"""


class Pods(NamedTuple):
    """The node and the namespaces around it."""

    node: Node
    prefix: str

    def reaches(self, where: str, address: str) -> bool:
        """Whether an echo is answered."""
        ping = ["ip", "netns", "exec", self.prefix + where, "ping", "-nqc1", "-W1", address]
        return subprocess.run(ping, capture_output=True, check=False, timeout=20).returncode == 0

    def rules(self) -> list[str]:
        """What all of the tools save, without counters; a table that is not loaded stays so."""
        tables = self.node.namespace.run("sh", "-c", "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names")
        tools = [tool for tool in TOOLS if "nft" in tool or tables]
        saved = [(tool, self.node.namespace.run(f"{tool}-save")) for tool in tools]
        lines = [f"{tool}: {line.partition(' [')[0]}" for tool, text in saved for line in text.splitlines()]
        return [line for line in lines if ": #" not in line]


@pytest.fixture
def pods(node: Node) -> Iterator[Pods]:
    made = Pods(node, f"pt{os.getpid()}-")
    ip = node.namespace.ip
    names = ["outside", *ADDRESSES]
    node.namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    node.namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    try:
        for name in names:
            ip("netns", "add", made.prefix + name)
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", "10.244.1.1/24", "dev", BRIDGE)
        ip("address", "add", "fd00:10:244:1::1/64", "dev", BRIDGE, "nodad")
        ip("link", "set", BRIDGE, "up")
        ip("link", "set", "cable", "netns", made.prefix + "outside")
        # What a router forwards it asks for from its link-local address (ndisc_solicit).
        ip("address", "add", "fe80::1/64", "dev", "eth0", "nodad")
        outside = ("-n", made.prefix + "outside")
        ip(*outside, "link", "set", "cable", "up")
        ip(*outside, "address", "add", "192.0.2.2/24", "dev", "cable")
        ip(*outside, "address", "add", "2001:db8::2/64", "dev", "cable", "nodad")
        ip(*outside, "route", "add", "10.244.0.0/16", "via", "192.0.2.1")
        ip(*outside, "route", "add", "fd00:10:244::/48", "via", "2001:db8::1")
        for name, (four, six) in ADDRESSES.items():
            inside = ("-n", made.prefix + name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", made.prefix + name)
            ip("link", "set", name, "master", BRIDGE, "up")
            ip(*inside, "link", "set", "eth0", "up")
            ip(*inside, "address", "add", f"{four}/24", "dev", "eth0")
            ip(*inside, "address", "add", f"{six}/64", "dev", "eth0", "nodad")
            ip(*inside, "route", "add", "default", "via", "10.244.1.1")
            ip(*inside, "route", "add", "default", "via", "fd00:10:244:1::1")
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", made.prefix + name], capture_output=True, check=False, timeout=60)


def drop(node: Node, *tools: str) -> None:
    """Docker's rules, by these tools."""
    for tool in tools:
        node.namespace.run(f"{tool}-restore", stdin=DOCKER)


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_pods_get_through_dockers_forward_and_nobody_else_does(pods: Pods, flavour: str) -> None:
    node = pods.node
    drop(node, f"iptables-{flavour}", f"ip6tables-{flavour}")
    node.namespace.run(f"iptables-{flavour}", "-A", "DOCKER-USER", "-d", "192.0.2.2", "-p", "udp", "-j", "DROP")
    before = pods.rules()
    for address in (OUTSIDE[4], ADDRESSES["other"][1]):
        assert not pods.reaches("pod", address), address

    foretold = node.declare(KIND, BRIDGE, PARAMS, check=True)
    assert pods.rules() == before
    result = node.declare(KIND, BRIDGE, PARAMS)
    assert result.changed
    assert (result.before, result.after) == (foretold.before, foretold.after)
    assert not node.declare(KIND, BRIDGE, PARAMS).changed
    for address in (*OUTSIDE.values(), *ADDRESSES["other"]):
        assert pods.reaches("pod", address), address
    for address in ADDRESSES["pod"]:
        assert pods.reaches("outside", address), address
    new = sorted(set(pods.rules()) - set(before))
    assert [line for line in new if "PODNET-FORWARD" not in line] == []
    assert {line.partition(":")[0] for line in new} == {f"iptables-{flavour}", f"ip6tables-{flavour}"}

    # An address that is no pod's is none of ours.
    pods.node.namespace.ip("-n", pods.prefix + "pod", "address", "add", "172.30.0.2/32", "dev", "eth0")
    pods.node.namespace.ip("route", "add", "172.30.0.2/32", "dev", BRIDGE)
    pods.node.namespace.ip("-n", pods.prefix + "outside", "route", "add", "172.30.0.2/32", "via", "192.0.2.1")
    assert not pods.reaches("outside", "172.30.0.2")

    node.withdraw(KIND, BRIDGE)
    assert pods.rules() == before
    assert not pods.reaches("pod", OUTSIDE[4])


def test_the_jump_stands_after_what_others_forbid_and_before_a_last_reject(pods: Pods) -> None:
    run = pods.node.namespace.run
    run("iptables-nft", "-A", "FORWARD", "-d", "192.0.2.2", "-p", "udp", "--dport", "53", "-j", "DROP")
    run("iptables-nft", "-A", "FORWARD", "-m", "comment", "--comment", "the rest", "-j", "REJECT")
    run("iptables-nft", "-A", "FORWARD", "-s", "198.51.100.0/24", "-j", "ACCEPT")
    pods.node.declare(KIND, BRIDGE, PARAMS)
    saved = [line.split(" ", 1)[1] for line in pods.rules() if line.startswith("iptables-nft: -A FORWARD")]
    assert [rule.rpartition("-j ")[2].split()[0] for rule in saved] == ["DROP", "PODNET-FORWARD", "REJECT", "ACCEPT"]
    assert pods.reaches("pod", OUTSIDE[4])
    # ip6tables drops nothing, so there is nothing to accept.
    assert [line for line in pods.rules() if line.startswith("ip6tables") and "PODNET" in line] == []


def test_a_docker_that_comes_later_is_drift_and_is_mended(pods: Pods) -> None:
    node = pods.node
    node.declare(KIND, BRIDGE, PARAMS)
    assert [line for line in pods.rules() if "PODNET" in line] == []
    drop(node, "iptables-nft")
    with Host() as host:
        found = [each for each in drift(host, node.declarations).differences if each.kind == KIND.name]
    assert [(each.object, each.field) for each in found] == [
        ("iptables-nft chain PODNET-FORWARD", ""),
        ("iptables-nft -A FORWARD -j PODNET-FORWARD", ""),
    ]
    assert node.declare(KIND, BRIDGE, PARAMS).changed
    assert pods.reaches("pod", OUTSIDE[4])


@pytest.mark.parametrize(
    "damage",
    [
        ["-F", "PODNET-FORWARD"],
        ["-F", "FORWARD"],
        ["-A", "FORWARD", "-j", "PODNET-FORWARD"],
        ["-I", "FORWARD", "-j", "REJECT"],
        ["-I", "PODNET-FORWARD", "-s", "192.0.2.0/24", "-j", "DROP"],
    ],
    ids=["empty", "no jump", "two jumps", "a reject before it", "another rule"],
)
def test_what_somebody_has_damaged_is_mended(pods: Pods, damage: list[str]) -> None:
    node = pods.node
    drop(node, "iptables-nft")
    node.declare(KIND, BRIDGE, PARAMS)
    node.namespace.run("iptables-nft", *damage)
    assert node.declare(KIND, BRIDGE, PARAMS).changed
    assert pods.reaches("pod", OUTSIDE[4])
    assert not node.declare(KIND, BRIDGE, PARAMS).changed


def test_a_flavour_that_nobody_uses_is_never_written_to(pods: Pods) -> None:
    always = {**PARAMS, "mode": "always"}
    ruleset = pods.node.namespace.run("nft", "list", "ruleset")
    pods.node.declare(KIND, BRIDGE, always)
    assert pods.node.namespace.run("nft", "list", "ruleset") == ruleset
    pods.node.namespace.run("ip6tables-legacy", "-A", "INPUT", "-s", "2001:db8::9", "-j", "DROP")
    pods.node.declare(KIND, BRIDGE, always)
    new = [line for line in pods.rules() if "PODNET" in line]
    assert {line.partition(":")[0] for line in new} == {"ip6tables-legacy"}
    assert pods.node.namespace.run("nft", "list", "ruleset") == ruleset
    # Both in use, and both drop: each has to accept.
    drop(pods.node, "iptables-nft", "iptables-legacy")
    pods.node.declare(KIND, BRIDGE, PARAMS)
    assert pods.reaches("pod", OUTSIDE[4])
    pods.node.declare(KIND, BRIDGE, {**PARAMS, "mode": "never"})
    assert [line for line in pods.rules() if "PODNET" in line] == []
    assert not pods.reaches("pod", OUTSIDE[4])


def test_what_iptables_would_read_otherwise_is_refused(node: Node) -> None:
    with pytest.raises(InvalidInput, match="special in iptables"):
        node.declare(KIND, "podnet+", PARAMS)
    with pytest.raises(InvalidInput, match=r"pools\[0\]: 10\.244\.0\.1/16 has bits set"):
        node.declare(KIND, BRIDGE, {**PARAMS, "pools": ["10.244.0.1/16"]})
