# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole modules with a fault at an operation: what Ansible is answered, and what the next run makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed, Node, Unheard
from tests.integration.faults import KILLED, Faults, inject
from tests.integration.rounds import Rounds

from .test_disk import BRIDGE

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("/etc/podnet", "/etc/cni", "/run/podnet", "/run/netns", "/var/log/podnet", "/proc/sys")


class Reporting(Faults):
    """Tells the test's process what went wrong, in a file."""

    report: Path

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("injected", "reason") and value:
            self.report.write_text(json.dumps([self.injected, self.reason, self.sorts]), encoding="utf-8")


class FaultyNode(Node):
    """Runs modules with a fault at one operation."""

    def __init__(self, pid: int, report: Path) -> None:
        super().__init__(pid)
        self.report = report
        self.at: int | None = None
        self.turn = 0

    def _enter(self, uid: int) -> None:
        super()._enter(uid)
        if self.at is not None:
            Reporting.report = self.report
            # The module's process ends by itself, with all that was put in place here.
            self._injection = inject(self.at, self.turn, FOLDERS, Reporting)
            self._injection.__enter__()

    def faulty(self, rounds: Rounds, name: str, /, **params: Any) -> tuple[str, str, str]:
        """Run a module: which fault there was, with its reason, and what the module said; empty without."""
        self.report.unlink(missing_ok=True)
        self.at, self.turn = rounds.at, rounds.turn
        said = ""
        try:
            self.module(name, **params)
        except Failed as failed:
            said = failed.message
        except Unheard:
            said = KILLED
        finally:
            self.at = None
        report = json.loads(self.report.read_text(encoding="utf-8")) if self.report.exists() else ("", "", 1)
        fault, reason, rounds.sorts = report
        assert said != KILLED or KILLED in fault, fault
        return fault, reason, said


@pytest.fixture
def faulty(node: Node, tmp_path: Path) -> FaultyNode:
    return FaultyNode(node.pid, tmp_path / "fault")


STORE = "/run/podnet/ipam/podnet"


def clear(fault: str, reason: str, said: str) -> None:
    assert reason in said or (fault.startswith("read ") and "cannot be read" in said), (fault, said)
    for word in ("Errno", "Error(", "Traceback", "NetlinkError"):
        assert word not in said, (fault, said)


def test_going_back_says_what_was_not_brought_back_and_the_next_run_does_it(faulty: FaultyNode) -> None:
    faulty.module("bridge", **BRIDGE)
    wanted = bridge(faulty)
    told = 0
    rounds = Rounds(7)
    for _fault in rounds:
        armed = faulty.module("checkpoint", timeout=60)
        faulty.module("bridge", **{**BRIDGE, "mtu": 1400, "addresses": ["10.244.9.1/24"]})
        fault, reason, said = faulty.faulty(rounds, "checkpoint", state="rolled_back", id=armed["id"])
        if not fault:
            break
        if said:
            clear(fault, reason, said)
            told += "not brought back: " in said
            assert faulty.module("bridge", **BRIDGE)["changed"] or bridge(faulty) == wanted, (fault, said)
        assert bridge(faulty) == wanted, (fault, said)
        assert not faulty.module("bridge", **BRIDGE)["changed"], (fault, said)
        if faulty.run("sh", "-c", "ls /run/podnet/checkpoint/armed.json 2> /dev/null || true"):
            faulty.module("checkpoint", state="confirmed", id=armed["id"])
    assert told
    assert rounds.at > 20
    assert said == ""
    assert bridge(faulty) == wanted


def bridge(node: FaultyNode) -> list[str]:
    return [node.run("ip", "-oneline", "address", "show", "podnet1"), node.read("/etc/podnet/node.d/bridge.json")]


@pytest.fixture
def network(faulty: FaultyNode) -> FaultyNode:
    """With the network of the pods."""
    faulty.network()
    return faulty


POD = {"pods": [{"name": "a"}]}


@pytest.mark.parametrize("state", ["present", "absent"])
def test_pods_are_attached_and_detached_by_the_run_after_a_fault(network: FaultyNode, state: str) -> None:
    other = {"present": "absent", "absent": "present"}[state]
    network.module("pod", **POD)
    network.module("pod", **POD, state="absent")
    rounds = Rounds(7)
    for _fault in rounds:
        network.module("pod", **POD, state=other)
        fault, reason, said = network.faulty(rounds, "pod", **POD, state=state)
        if not fault:
            break
        if said:
            clear(fault, reason, said)
            network.module("pod", **POD, state=state)
        assert not network.module("pod", **POD, state=state)["changed"], (fault, said)
        there = (network.namespaces(), len(network.taken()), len(network.ports()), len(network.records()))
        assert there == ((["a"], 2, 1, 1) if state == "present" else ([], 0, 0, 0)), (fault, said)
    assert rounds.at > 20


def test_leaked_addresses_are_freed_by_the_run_after_a_fault(network: FaultyNode) -> None:
    freed = 0
    rounds = Rounds(3)
    for _fault in rounds:
        network.run("mkdir", "-p", STORE)
        network.run("sh", "-c", f"printf 'gone\\r\\neth0' > {STORE}/10.244.3.99; touch {STORE}/lock")
        fault, reason, said = network.faulty(rounds, "ipam_gc", grace=0)
        if not fault:
            break
        if said:
            clear(fault, reason, said)
            freed += len(network.module("ipam_gc", grace=0)["freed"])
        assert network.taken() == [], (fault, said)
        assert not network.module("ipam_gc", grace=0)["changed"]
    assert freed
    assert said == ""


def test_arming_with_a_fault_leaves_the_network_and_the_next_one_works(faulty: FaultyNode) -> None:
    faulty.module("bridge", **BRIDGE)
    wanted = bridge(faulty)
    rounds = Rounds()
    for _fault in rounds:
        fault, reason, said = faulty.faulty(rounds, "checkpoint", timeout=60)
        if not fault:
            break
        if said:
            clear(fault, reason, said)
        armed = faulty.module("checkpoint", timeout=60)
        faulty.module("checkpoint", state="confirmed", id=armed["id"])
        assert bridge(faulty) == wanted
    assert rounds.at > 8
