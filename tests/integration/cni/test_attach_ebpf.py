# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""With eBPF a new pod is some elements and the programs before its interface, where others of its sort are foreseen."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from tests.integration.cni.guarded import (
    DB,
    OTHER,
    POLICY,
    TABLE,
    WEB,
    Guarded,
    Listener,
    addresses,
    policy,
    prepared,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cni.node import FakePlugins, Node

COLLECTIONS = Path(__file__).resolve().parents[3] / "collections"
BLOCK = {"ipBlock": {"cidr": "10.244.3.0/24"}}
FAR = {"podSelector": {"matchLabels": {"app": "far"}}}
PORT = [{"port": 8484, "protocol": "UDP"}]
MORE = ("third", "fourth", "fifth")
NAMED = policy("named", {}, [{"namespaceSelector": {}, **FAR}], ports=[{"port": "http", "protocol": "UDP"}])
POLICIES: list[dict[str, Any]] = [
    POLICY,
    # Ports that nobody else has: as long as there is no such peer, the kernel knows nothing of them.
    policy("front", {"tier": "front"}, [FAR], ports=[*PORT, {"port": 8485}]),
    # A block that all pods of this node are in, with the same ports, and with others.
    policy("same", {"tier": "same"}, [FAR, BLOCK], ports=PORT),
    {
        "metadata": {"name": "mixed"},
        "spec": {
            "podSelector": {"matchLabels": {"tier": "mixed"}},
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": {"app": "mixing"}}}], "ports": PORT},
                {"from": [BLOCK], "ports": [{"port": 80}]},
            ],
        },
    },
    *(policy(name, {name: "yes"}, [FAR]) for name in MORE),
    # There is room for 64 sets of policies: of those above, and of this alone.
    {**NAMED, "metadata": {"name": "named", "namespace": "names"}},
]
UNSETTLE = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.podnet.fabric.plugins.module_utils.attach import bpf
bpf.put(bpf.pinned(sys.argv[2]), bytes(4), bytes([1, 0, 0, 0]))
"""
STEAL = """
import socket, sys
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind((sys.argv[1], 0))
made.sendto(b"stolen", (sys.argv[2], 8484))
"""


@pytest.fixture
def guarded(node: Node, fakes: FakePlugins) -> Guarded:
    made = prepared(node, fakes, "ebpf")
    made.declare(policies=POLICIES)
    return made


@contextmanager
def reconciling(node: Node, expected: bool) -> Iterator[None]:
    """Who reconciles writes the table anew; who does not puts it back."""
    before = node.run("stat", "-c", "%.9Y", TABLE)
    yield
    assert (node.run("stat", "-c", "%.9Y", TABLE) != before) == expected


def settled(guarded: Guarded) -> None:
    """The kernel has what a playbook has made of the same pods."""
    assert guarded.differences() == []
    assert guarded.declare(policies=POLICIES)["operations"] == {}


def hears(
    guarded: Guarded, target: str, results: dict[str, dict[str, Any]], asking: set[str], four: set[str], six: set[str]
) -> None:
    """Of pods that send it a datagram over each family, a pod hears these and no other."""
    told = addresses(results[target])
    listener = Listener(guarded.node, target, told)
    try:
        # Whoever may not comes first.
        for name in sorted(asking, key=lambda name: name in six):
            send(guarded.node, name, name, told)
        expected = {f"{name} 4" for name in four} | {f"{name} 6" for name in six}
        assert listener.heard_until(expected) == expected
    finally:
        listener.close()


def test_a_pod_of_a_known_sort_takes_no_reconcile(guarded: Guarded) -> None:
    node, runtime = guarded.node, guarded.runtime
    kinds = {
        "db": DB,
        "web": WEB,
        "far": {"app": "far"},
        "other": OTHER,
        "front": {"tier": "front"},
        "both": {"app": "db", "tier": "front"},
        "same": {"tier": "same"},
        "mixed": {"tier": "mixed"},
        "four": {"app": "db", "tier": "front", "third": "yes", "fourth": "yes"},
    }
    odd = {**kinds["both"], **dict.fromkeys(MORE, "yes")}
    results = {}
    for name, labels in kinds.items():
        with reconciling(node, False):
            results[name] = runtime.add(name, labels)
    hears(guarded, "front", results, {"web", "far"}, {"far"}, {"far"})
    settled(guarded)
    # Nothing is known of its ports, so nobody asks for one.
    with reconciling(node, False):
        nameless = runtime.add("nameless", namespace="names")
    hears(guarded, "nameless", {"nameless": nameless}, {"web", "far"}, set(), set())
    settled(guarded)
    runtime.delete("nameless", nameless, namespace="names")
    # Ports of a block and of a rule about pods come together; five policies of one pod nobody has foreseen.
    for name, labels, at_length in (("mixing", {"app": "mixing"}, False), ("odd", odd, True), ("odd2", odd, False)):
        with reconciling(node, at_length):
            results[name] = runtime.add(name, labels)
    settled(guarded)
    everybody = {"db", "web", "far", "other", "mixing"}
    # The block is one of IPv4.
    heard = {
        "db": ({"web"}, {"web"}),
        "odd2": ({"web", "far"}, {"web", "far"}),
        "four": ({"web", "far"}, {"web", "far"}),
        "same": (everybody, {"far"}),
        "mixed": ({"mixing"}, {"mixing"}),
    }
    for target, (four, six) in heard.items():
        hears(guarded, target, results, everybody - {target}, four, six)
    # None sends from another's address.
    listener = Listener(node, "other", addresses(results["other"]))
    try:
        stolen = addresses(results["web"])[0]
        node.run("ip", "-n", "far", "address", "add", f"{stolen}/32", "dev", "lo")
        here = addresses(results["other"])
        node.run("ip", "netns", "exec", "far", sys.executable, "-c", STEAL, stolen, here[0])
        send(node, "far", "far", here)
        assert listener.heard_until({"far 4", "far 6"}) == {"far 4", "far 6"}
    finally:
        listener.close()
    for name, result in results.items():
        runtime.delete(name, result)
        assert guarded.differences() == []
    guarded.declare(policies=POLICIES)
    settled(guarded)


@pytest.mark.skipif(not programs.has_tcx(), reason="before Linux 6.6 nothing comes before an ingress qdisc of others")
@pytest.mark.parametrize("theirs", ["ingress", "clsact"])
def test_programs_come_before_what_others_have_at_the_interface(guarded: Guarded, theirs: str) -> None:
    node, runtime = guarded.node, guarded.runtime

    def at_ports() -> list[tuple[str, str]]:
        shown = json.loads(node.run("tc", "-j", "qdisc", "show"))
        return sorted((each["dev"], each["kind"]) for each in shown if each["kind"] in {"ingress", "clsact"})

    with reconciling(node, False):
        results = {"db": runtime.add("db", DB)}
    (ours,) = at_ports()
    assert ours[1] == "clsact"
    # What limits a pod's bandwidth has such a queueing discipline.
    first, *others = runtime.conflist()["plugins"]
    node.run("ip", "netns", "add", "web")
    result = runtime.run("ADD", first, "web")
    (port,) = set(node.ports()) - {ours[0]}
    node.run("tc", "qdisc", "add", "dev", port, theirs)
    # It would let everything in, and nobody else be asked.
    accepting = "protocol all prio 1 u32 match u32 0 0 classid 1:1"
    node.run("tc", "filter", "add", "dev", port, "ingress", *accepting.split())
    with reconciling(node, True):
        for plugin in others:
            result = runtime.run("ADD", plugin, "web", result, {"tier": "front"})
    results["web"] = result
    settled(guarded)
    assert at_ports() == sorted([ours, (port, theirs)])
    with reconciling(node, False):
        results["far"] = runtime.add("far", {"app": "far"})
    hears(guarded, "web", results, {"far", "db"}, {"far"}, {"far"})
    # Programs that stay where they are while others take their place.
    guarded.declare(policies=POLICIES, flows=4096)
    assert guarded.differences() == []
    hears(guarded, "web", results, {"far", "db"}, {"far"}, {"far"})
    node.module("policy", node="here", state="absent")
    assert at_ports() == [(port, theirs)]
    node.run("sh", "-c", "! test -e /sys/fs/bpf/podnet")


def test_what_somebody_has_left_in_the_middle_is_put_right(guarded: Guarded) -> None:
    node, runtime = guarded.node, guarded.runtime
    with reconciling(node, False):
        first = runtime.add("db", DB)
    (generation,) = node.run("find", "/sys/fs/bpf/podnet/policy", "-name", "generation").split()
    node.run(sys.executable, "-c", UNSETTLE, str(COLLECTIONS), generation)
    with reconciling(node, True):
        runtime.add("web", WEB)
    settled(guarded)
    # A table that says of the kernel what is not so.
    node.run("sh", "-c", "rm -rf /sys/fs/bpf/podnet")
    with reconciling(node, True):
        runtime.add("far", {"app": "far"})
    settled(guarded)
    with reconciling(node, False):
        runtime.add("other", OTHER)
    runtime.delete("db", first)
    settled(guarded)
