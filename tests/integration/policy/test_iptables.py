# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in iptables on a node that has rules of others: what is touched, what is told, what is put back."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import IptablesJump
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND
from tests.integration.resources.conftest import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Namespace

FAMILIES = {"iptables": "10.0.0.0/8", "ip6tables": "fd00::/16"}
POLICIES = [
    {
        "metadata": {"name": "web"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]},
                {"from": [{"ipBlock": {"cidr": "fd00::/16"}}], "ports": [{"port": 8000, "endPort": 8100}]},
                {"from": [{"podSelector": {}}]},
            ],
        },
    },
    {
        "metadata": {"name": "shut"},
        "spec": {"podSelector": {"matchLabels": {"app": "shut"}}, "policyTypes": ["Ingress", "Egress"]},
    },
]
ENDPOINTS = [
    {"name": name, "node": "here", "labels": {"app": name}, "addresses": [f"10.244.1.{last}", f"fd00:244::{last}"]}
    for last, name in ((2, "web"), (3, "shut"))
]
WORLD: dict[str, Any] = {"node": "here", "namespaces": {}, "policies": POLICIES, "endpoints": ENDPOINTS}


class Filtered(NamedTuple):
    """A node whose iptables are of one flavour."""

    node: Node
    flavour: str

    @property
    def world(self) -> dict[str, Any]:
        return {**WORLD, "backend": "iptables", "iptables_flavour": self.flavour}

    def declare(self, *, check: bool = False) -> Result:
        return self.node.declare(KIND, "podnet", self.world, check=check)

    def iptables(self, line: str, program: str = "iptables") -> str:
        return self.node.namespace.run(f"{program}-{self.flavour}", *line.split())

    def rules(self) -> list[str]:
        """All rules and chains of both families, in their order, without counters and times."""
        return [line for program in FAMILIES for line in self.saved(program)]

    def saved(self, program: str) -> list[str]:
        """Those of one family."""
        lines = self.node.namespace.run(f"{program}-{self.flavour}-save").splitlines()
        return [line.partition(" [")[0] for line in lines if line[0] in ":-*"]

    def sets(self) -> list[str]:
        """All sets and their elements."""
        run = self.node.namespace.run
        names = run("ipset", "list", "-n").split()
        return sorted(
            line.partition(" initval")[0] for name in names for line in run("ipset", "save", name).split("\n")
        )


@pytest.fixture
def node(netns: Namespace, tmp_path: Path) -> Node:
    return Node(netns, Declarations(tmp_path / "node.d"))


@pytest.fixture(params=["nft", "legacy"])
def filtered(node: Node, request: pytest.FixtureRequest) -> Filtered:
    """With rules of others in each table that iptables is used for, and a set of theirs."""
    found = Filtered(node, request.param)
    node.namespace.run("ipset", "create", "banned", "hash:ip")
    node.namespace.run("ipset", "add", "banned", "198.51.100.7")
    for program, cidr in FAMILIES.items():
        for line in (
            "-N DOCKER",
            "-A FORWARD -j DOCKER",
            f"-A FORWARD -s {cidr} -m comment --comment podnet:0123456789ab -j ACCEPT",
            "-P FORWARD DROP",
            "-A INPUT -p tcp --dport 22 -j ACCEPT",
            "-A DOCKER -o docker0 -j DROP",
            f"-t nat -A POSTROUTING -s {cidr} -j MASQUERADE",
        ):
            found.iptables(line, program)
    found.iptables("-A INPUT -m set --match-set banned src -j DROP")
    return found


def test_rules_and_sets_of_others_stay_and_nothing_of_ours_does(filtered: Filtered) -> None:
    before = filtered.rules(), filtered.sets()
    result = filtered.declare()
    assert {each.facility for each in result.operations} == {"ipsets", "iptables"}
    rules = filtered.rules()
    assert [line for line in rules if "PODNET-" not in line] == before[0]
    for chain in ("FORWARD", "INPUT"):
        lines = [line for line in rules if line.startswith(f"-A {chain} ")]
        leading = [number for number, line in enumerate(lines) if line.endswith(f"-j PODNET-POLICY-{chain}")]
        # The first of each family's.
        assert leading == [0, len([line for line in filtered.saved("iptables") if line.startswith(f"-A {chain} ")])]
    assert not filtered.declare().changed
    filtered.node.withdraw(KIND, "podnet")
    assert (filtered.rules(), filtered.sets()) == before


def test_names_fit_into_what_the_kernel_allows(filtered: Filtered) -> None:
    filtered.declare()
    ours = [line for line in filtered.rules() if line.startswith(":PODNET-")]
    assert ours
    assert max(len(line.split()[0]) - 1 for line in ours) <= 28
    sets = filtered.node.namespace.run("ipset", "list", "-n").split()
    assert max(map(len, sets)) <= 31


def drifted(filtered: Filtered) -> Iterator[tuple[str, str]]:
    """Changes by others: a command, and the facility that tells it."""
    guard = next(line[1:].split()[0] for line in filtered.rules() if line.startswith(":PODNET-POLICY-"))
    run = filtered.node.namespace.run
    sets = [name for name in run("ipset", "list", "-n").split() if name.startswith("podnet-")]
    members = run("ipset", "save", sets[0]).splitlines()[1].split()
    yield f"iptables-{filtered.flavour} -F {guard}", "iptables"
    yield f"iptables-{filtered.flavour} -A {guard} -j ACCEPT", "iptables"
    yield f"ip6tables-{filtered.flavour} -F FORWARD", "iptables"
    yield f"iptables-{filtered.flavour} -D INPUT 1", "iptables"
    yield f"iptables-{filtered.flavour} -I FORWARD 1 -s 10.0.0.0/8 -j ACCEPT", "iptables"
    yield f"ipset del {members[1]} {members[2]}", "ipsets"
    yield f"ipset flush {sets[1]}", "ipsets"


def test_what_others_change_is_told_and_put_right(filtered: Filtered) -> None:
    filtered.declare()
    ours = [line for line in filtered.rules() if "PODNET" in line], filtered.sets()
    for command, facility in list(drifted(filtered)):
        filtered.node.namespace.run(*command.split())
        told = filtered.declare(check=True).operations
        assert {each.facility for each in told} == {facility}, command
        assert filtered.declare().changed, command
        assert ([line for line in filtered.rules() if "PODNET" in line], filtered.sets()) == ours, command
        assert not filtered.declare().changed, command
    # A second jump of ours is one too many.
    jump = next(line for line in filtered.rules() if line.startswith("-A FORWARD") and "PODNET" in line)
    filtered.iptables(jump.replace('"', ""))
    (operation,) = filtered.declare().operations
    assert isinstance(operation.before, IptablesJump)
    assert operation.before.copies == 2
    assert not filtered.declare().changed


def test_a_rule_of_somebody_else_that_leads_to_our_chain_is_not_removed(filtered: Filtered) -> None:
    filtered.declare()
    filtered.iptables("-A DOCKER -j PODNET-POLICY-FORWARD")
    with pytest.raises(ApplyError, match=f"iptables-{filtered.flavour}-restore refused"):
        filtered.node.withdraw(KIND, "podnet")
    filtered.iptables("-D DOCKER -j PODNET-POLICY-FORWARD")
    filtered.node.withdraw(KIND, "podnet")
    assert not [line for line in filtered.rules() if "PODNET" in line]


KILLING = """#!/bin/sh
# Runs the tool; at the call whose turn it is, ends who called it, before the tool has run or after.
count=$(($(cat {counter}) + 1))
echo $count >{counter}
[ $count = {turn} ] && [ {when} = before ] && kill -9 $PPID && exit 1
{tool} "$@"
status=$?
[ $count = {turn} ] && kill -9 $PPID
exit $status
"""


def killed(node: Node, folder: Path, world: dict[str, Any], turn: int, when: str) -> bool:
    """Declare in a process that is killed at its ``turn``-th call of a tool that changes something."""
    counter = folder / "counter"
    counter.write_text("0", encoding="ascii")
    flavours = [f"{program}-{flavour}-restore" for program in FAMILIES for flavour in ("nft", "legacy")]
    for name in ("nft", "ipset", *flavours):
        wrapper = folder / "bin" / name
        wrapper.parent.mkdir(exist_ok=True)
        text = KILLING.format(counter=counter, turn=turn, when=when, tool=shutil.which(name))
        wrapper.write_text(text, encoding="ascii")
        wrapper.chmod(0o755)
    pid = os.fork()
    if pid == 0:
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        try:
            node.declare(KIND, "podnet", world)
        finally:
            os._exit(int(counter.read_text(encoding="ascii")) < turn)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 1, "it came to its end and was not killed"
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(node: Node, tmp_path: Path) -> None:
    filtered = Filtered(node, "nft")
    worlds = [filtered.world, {**WORLD, "backend": "nftables"}]

    def state() -> tuple[list[str], list[str], str]:
        return filtered.rules(), filtered.sets(), node.namespace.run("nft", "-s", "list", "table", "inet", "podnet")

    node.namespace.run("nft", "add table inet podnet { chain podnet.fabric { }; chain others { }; }")
    states = []
    for world in worlds:
        node.declare(KIND, "podnet", world)
        states.append(state())
    turn = 0
    alive = True
    while alive:
        alive = False
        for world, wanted in zip(worlds, states, strict=True):
            # Before the first call the declaration alone has changed.
            alive |= killed(node, tmp_path, world, max(turn, 1), "after" if turn else "before")
            node.declare(KIND, "podnet", world)
            assert state() == wanted
        turn += 1
    assert turn > 6


def test_what_is_left_is_found_though_nobody_knows_of_it(filtered: Filtered) -> None:
    before = filtered.rules(), filtered.sets()
    filtered.declare()
    # A declaration of another backend from before, as when a change is taken back; and none at all.
    filtered.node.declarations.write(KIND.name, {})
    assert filtered.node.declare(KIND, "podnet", {**WORLD, "backend": "nftables"}).changed
    assert (filtered.rules(), filtered.sets()) == before
    filtered.declare()
    filtered.node.declarations.write(KIND.name, {})
    filtered.node.withdraw(KIND, "podnet")
    assert (filtered.rules(), filtered.sets()) == before


def chosen(node: Node, **params: str) -> str:
    """The backend that would be declared."""
    with Host() as host:
        former = node.declarations.read(KIND.name).get("podnet")
        params = {"backend": "iptables", **params}
        return str(KIND.normalise("podnet", {**WORLD, **params}, former, host)["backend"])


def test_the_flavour_that_holds_rules_is_taken(node: Node) -> None:
    default = "nft" if "nf_tables" in node.namespace.run("iptables", "-V") else "legacy"
    other = "legacy" if default == "nft" else "nft"
    assert chosen(node) == f"iptables-{default}"
    # Ours are no reason for a flavour, but it is kept where nothing speaks for another.
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables", "iptables_flavour": other})
    assert chosen(node) == f"iptables-{other}"
    node.namespace.run(f"ip6tables-{default}", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
    assert chosen(node) == f"iptables-{default}"
    assert chosen(node, iptables_flavour=other) == f"iptables-{other}"
    # It follows, and leaves nothing behind.
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables"})
    assert "PODNET" not in node.namespace.run(f"iptables-{other}-save")
    assert "PODNET" in node.namespace.run(f"iptables-{default}-save")
    node.namespace.run(f"iptables-{other}", "-A", "INPUT", "-j", "ACCEPT")
    assert chosen(node) == f"iptables-{default}"


def only(folder: Path, *tools: str) -> str:
    """A folder for PATH with these tools alone."""
    folder.mkdir()
    for name in tools:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def test_the_tools_of_a_backend_that_was_never_used_need_not_be_there(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iptables = [f"{program}-{verb}" for program in FAMILIES for verb in ("nft-save", "nft-restore")]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", only(tmp_path / "iptables", "ipset", *iptables))
        node.declare(KIND, "podnet", {**WORLD, "backend": "iptables", "iptables_flavour": "nft"})
        with pytest.raises(PodnetError, match=r"ip6?tables-legacy-restore is not installed"):
            node.declare(KIND, "podnet", {**WORLD, "backend": "iptables", "iptables_flavour": "legacy"})
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables", "iptables_flavour": "nft"})
    node.withdraw(KIND, "podnet")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", only(tmp_path / "nft", "nft"))
        node.declare(KIND, "podnet", {**WORLD, "backend": "nftables"})
        with pytest.raises(PodnetError, match="ipset is not installed"):
            node.declare(KIND, "podnet", {**WORLD, "backend": "iptables"})
        with Host() as host:
            assert reconcile(KIND, {}, host, node.declarations).changed
