# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that get one more block because theirs are full, and blocks that the operator gives by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.plugin_utils import planning
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

POOLS = [
    {"name": "four", "cidr": "10.0.0.0/26", "block_size": 29, "reserved": ["10.0.0.56/29"]},
    {"name": "six", "cidr": "fd00::/120", "block_size": 125},
]
FULL, EMPTY = {"used": 5, "capacity": 5}, {"used": 0, "capacity": 5}
Plan = Callable[[Sequence[Host]], planning.Outcome]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Plan, and write the ledger."""
    return lambda hosts: planning.run(hosts, [], str(tmp_path), allocate=True)


def node(name: str, number: int, told: Sequence[dict[str, Any]] = (), **variables: Any) -> Host:
    """A node that reports its blocks."""
    named = {f"podnet_{key}": value for key, value in {"pools": POOLS, **variables}.items()}
    return Host(name, named, f"192.0.2.{number}", {"blocks": list(told)})


def blocks(outcome: planning.Outcome, name: str) -> list[str]:
    assert outcome.plan is not None, outcome.problems
    return [block["cidr"] for block in outcome.plan["nodes"][name]["blocks"]]


def test_a_full_node_grows_once_for_each_report_of_all_its_blocks(plan: Plan) -> None:
    assert blocks(plan([node("a", 1), node("b", 2)]), "a") == ["10.0.0.0/29", "fd00::/125"]
    full = [{"block": "10.0.0.0/29", **FULL}, {"block": "fd00::/125", "used": 2, "capacity": 6}]
    for _time in range(3):  # the same report again makes it grow no further
        assert blocks(plan([node("a", 1, full), node("b", 2)]), "a") == ["10.0.0.0/29", "10.0.0.16/29", "fd00::/125"]
    # Half of what it has now is free; and with nothing used it keeps its blocks.
    for second in (EMPTY, {"used": 3, "capacity": 5}):
        both = [*full, {"block": "10.0.0.16/29", **second}]
        assert len(blocks(plan([node("a", 1, both)]), "a")) == 3
    both = [*full, {"block": "10.0.0.16/29", **FULL}]
    assert blocks(plan([node("a", 1, both)]), "a")[:3] == ["10.0.0.0/29", "10.0.0.16/29", "10.0.0.24/29"]


def test_a_run_that_only_tells_shows_the_block(plan: Plan, tmp_path: Path) -> None:
    plan([node("a", 1)])
    told = planning.run([node("a", 1, [{"block": "10.0.0.0/29", **FULL}])], [], str(tmp_path), allocate=False)
    assert "10.0.0.8/29" in told.after
    assert "10.0.0.8/29" not in told.before
    assert "10.0.0.8/29" not in (tmp_path / ".podnet-ledger.json").read_text(encoding="utf-8")


def test_where_a_node_cannot_grow_the_run_goes_on_and_says_why(plan: Plan) -> None:
    plan([node("a", 1), node("b", 2, blocks=6)])
    full = [{"block": "10.0.0.0/29", **FULL}]
    # All seven blocks of the pool are given: one is reserved.
    outcome = plan([node("a", 1, full), node("b", 2, blocks=6)])
    assert blocks(outcome, "a") == ["10.0.0.0/29", "fd00::/125"]
    wanted = "a: its IPv4 blocks are full (5 of 5 addresses), and "
    assert outcome.warnings == [f"{wanted}no pool has a free one for it; add a pool, or enlarge one"]
    outcome = plan([node("a", 1, full, growth={"blocks": 1}), node("b", 2)])
    assert outcome.warnings == []


def test_the_limit_and_the_threshold_are_the_operators(plan: Plan) -> None:
    def rules(**growth: int) -> dict[str, Any]:
        return {"growth": growth}

    plan([node("a", 1)])
    half = [{"block": "10.0.0.0/29", "used": 3, "capacity": 5}]
    assert len(blocks(plan([node("a", 1, half, **rules(full=61))]), "a")) == 2
    assert len(blocks(plan([node("a", 1, half, **rules(full=60))]), "a")) == 3
    both = [{"block": block, **FULL} for block in ("10.0.0.0/29", "10.0.0.8/29")]
    outcome = plan([node("a", 1, both, **rules(blocks=2))])
    assert len(blocks(outcome, "a")) == 3
    assert outcome.warnings == [
        "a: its IPv4 blocks are full (10 of 10 addresses), and it has as many as podnet_growth.blocks lets it grow to "
        "(2); raise that, set podnet_blocks: 3 for it, or move pods away"
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8))
def test_growing_ends_at_the_limit_and_never_shrinks(tmp_path_factory: Any, runs: list[tuple[int, bool]]) -> None:
    folder = str(tmp_path_factory.mktemp("growth"))
    had: list[str] = []
    for used, knows in runs:
        known = had if knows else had[:1]
        told = [{"block": block, "used": used, "capacity": 5} for block in known if "." in block]
        now = blocks(planning.run([node("a", 1, told)], [], folder, allocate=True), "a")
        assert set(had) <= set(now)
        four = [block for block in now if "." in block]
        assert len(four) <= 4
        grown = bool(had) and len(now) > len(had)
        assert grown <= (used == 5 and {one["block"] for one in told} == {block for block in had if "." in block})
        had = now


def test_a_node_gets_the_blocks_that_are_named_for_it(plan: Plan) -> None:
    outcome = plan([node("a", 1), node("b", 2, node_blocks=["10.0.0.0/29", "10.0.0.32/29"])])
    assert blocks(outcome, "b") == ["10.0.0.0/29", "10.0.0.32/29", "fd00::8/125"]
    assert blocks(outcome, "a") == ["10.0.0.8/29", "fd00::/125"]
    # One more on top of what it has, which it keeps also when it is named no more.
    outcome = plan([node("a", 1, node_blocks=["10.0.0.40/29"]), node("b", 2)])
    assert blocks(outcome, "a") == ["10.0.0.8/29", "10.0.0.40/29", "fd00::/125"]
    assert blocks(plan([node("a", 1), node("b", 2)]), "b") == ["10.0.0.0/29", "10.0.0.32/29", "fd00::8/125"]


def test_a_node_that_comes_back_may_take_up_its_own_block(plan: Plan) -> None:
    plan([node("a", 1), node("b", 2, node_blocks=["10.0.0.32/29"])])
    plan([node("a", 1)])
    assert "10.0.0.32/29" in blocks(plan([node("a", 1), node("b", 2, node_blocks=["10.0.0.32/29"])]), "b")


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("10.1.0.0/29", "podnet_node_blocks[0] (b): found 10.1.0.0/29, wanted a block of one of podnet_pools "
         "(10.0.0.0/26 and fd00::/120); correct it, or add a pool"),
        ("10.0.0.0/28", "podnet_node_blocks[0] (b): found 10.0.0.0/28, wanted a block of /29, as podnet_pools[0] has "
         "them; name blocks of that size, as many as it takes"),
        ("10.0.0.56/29", "podnet_node_blocks[0] (b): found 10.0.0.56/29, which podnet_pools[0].reserved keeps from all "
         "nodes (10.0.0.56/29), wanted a block that is not reserved; take it out of reserved, or name another one"),
        ("10.0.0.0/29", "podnet_node_blocks (b): found 10.0.0.0/29, but 10.0.0.0/29 is a's, wanted a block that no "
         "other node has; name another one, or take that node out of the inventory and let its block rest "
         "(podnet_block_rest)"),
    ],
    ids=["no pool", "size", "reserved", "another node's"],
)  # fmt: skip
def test_a_block_that_cannot_be_the_nodes_is_refused(plan: Plan, report: Any, named: str, problem: str) -> None:
    plan([node("a", 1)])
    assert report([node("a", 1), node("b", 2, node_blocks=[named])]) == [problem]


def test_a_block_named_for_two_nodes_or_resting_is_refused(plan: Plan, report: Any) -> None:
    twice = [node(name, number, node_blocks=["10.0.0.32/29"]) for number, name in enumerate("ab", 1)]
    (problem,) = report(twice)
    assert problem.startswith("podnet_node_blocks (a and b): found 10.0.0.32/29 more than once, wanted each block for")
    plan([node("a", 1), node("b", 2)])
    plan([node("a", 1)])
    (problem,) = report([node("a", 1, node_blocks=["10.0.0.8/29"])])
    assert "10.0.0.8/29, but 10.0.0.8/29 of b rests until 20" in problem
