# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses whose pods are gone without DEL: found, and freed."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.cni.node import Node

STORE = "/run/podnet/ipam/podnet"


def _leak(node: Node) -> None:
    """Pods a and b, of which b's namespace goes without DEL."""
    node.network()
    node.pods("a", "b")
    node.run("ip", "netns", "delete", "b")
    deadline = time.monotonic() + 20
    while len(node.ports()) > 1:  # the kernel takes the pair away a moment later
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _verdicts(node: Node, **params: Any) -> dict[str, str]:
    (network,) = node.module("ipam_info", **params)["networks"]
    return {entry["address"]: entry["verdict"] for block in network["blocks"] for entry in block["addresses"]}


def test_a_leak_is_found_and_freed_and_nothing_else(node: Node) -> None:
    _leak(node)
    foreign = "/run/podnet/ipam/other"
    node.run("mkdir", "-p", foreign)
    node.run("tee", f"{foreign}/10.244.3.99", stdin="gone\r\neth0")
    left, leaked = ["10.244.3.2", "fd00:10:244:3::2"], ["10.244.3.3", "fd00:10:244:3::3"]
    assert _verdicts(node, grace=0) == {**dict.fromkeys(left, "held"), **dict.fromkeys(leaked, "leaked")}
    predicted = node.module("ipam_gc", grace=0, check=True)
    assert predicted["changed"]
    assert len(_verdicts(node)) == 4, "check mode freed something"
    done = node.module("ipam_gc", grace=0)
    assert done["freed"] == predicted["freed"]
    assert [(entry["address"], entry["pod"]) for entry in done["freed"]] == [(ip, "b") for ip in leaked]
    assert done["diff"] == predicted["diff"]
    assert not node.module("ipam_gc", grace=0)["changed"]
    assert sorted(_verdicts(node)) == left
    assert node.run("ls", foreign) == "10.244.3.99\n"


def test_a_new_reservation_is_left_for_the_grace_period(node: Node) -> None:
    _leak(node)
    assert not node.module("ipam_gc")["changed"]
    assert _verdicts(node)["10.244.3.3"] == "unknown"
    node.run("touch", "-d", "61 seconds ago", f"{STORE}/10.244.3.3")
    assert [entry["address"] for entry in node.module("ipam_gc")["freed"]] == ["10.244.3.3"]


def test_a_namespace_without_a_name_is_still_found_by_its_process(node: Node) -> None:
    """A container of another runtime: no record of ours, its namespace kept by a process only."""
    node.network()
    node.pods("a")
    node.run("sh", "-c", "ip netns exec a sleep 30 >/dev/null 2>&1 </dev/null & sleep 0.5")
    node.run("rm", "/run/podnet/attachments/default_a@podnet.json")
    node.run("ip", "netns", "delete", "a")
    assert set(_verdicts(node, grace=0).values()) == {"held"}
    assert not node.module("ipam_gc", grace=0)["changed"]


def test_utilisation(node: Node) -> None:
    node.network()
    node.pods("a")
    (network,) = node.module("ipam_info")["networks"]
    figures = [(block["capacity"], block["used"], block["percent"]) for block in network["blocks"]]
    assert figures == [(253, 1, 0.4), (2**64 - 2, 1, 0.0)]


def test_it_waits_for_the_lock_of_host_local(node: Node) -> None:
    _leak(node)
    holder = subprocess.Popen(
        [*node.enter, "flock", f"{STORE}/lock", "sh", "-c", "echo locked; sleep 1; ls " + STORE],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        freed = node.module("ipam_gc", grace=0)["freed"]
        kept = holder.stdout.read().split()
    assert len(freed) == 2
    assert {entry["address"] for entry in freed} <= set(kept), "freed while somebody else held the lock"


def test_a_pod_that_lost_its_interface_keeps_its_address_for_the_repair(node: Node) -> None:
    node.network()
    node.pods("a")
    node.run("ip", "-n", "a", "link", "delete", "eth0")
    assert set(_verdicts(node, grace=0).values()) == {"unknown"}
    assert not node.module("ipam_gc", grace=0)["changed"]
