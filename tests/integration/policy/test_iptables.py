# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in iptables on a node that has rules of others: what is touched, what is told, what is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import IptablesJump
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND

from .filtered import WORLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .filtered import Filtered


def test_rules_and_sets_of_others_stay_and_nothing_of_ours_does(filtered: Filtered) -> None:
    before = filtered.rules(), filtered.sets()
    result = filtered.declare()
    assert {each.facility for each in result.operations} == {"nftables_bridge", "ipsets", "iptables"}
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
    guard = [line[1:].split()[0] for line in filtered.rules() if line.startswith(":PODNET-POLICY-")][0]  # noqa: RUF015
    run = filtered.node.namespace.run
    sets = [name for name in run("ipset", "list", "-n").split() if name.startswith("podnet-")]
    saved = [run("ipset", "save", name).splitlines() for name in sets]
    (members, *_others) = (lines[1].split() for lines in saved if len(lines) > 1)
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
