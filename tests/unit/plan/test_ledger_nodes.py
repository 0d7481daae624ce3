# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node under another name keeps what it had, and a new one under the former name gets what is its own."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text, node_request
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger, blocks_by_node, settle
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_nodes import (
    distinct,
    identities,
    rename_problems,
    renamed,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.node_request import Request

POOLS = (
    Pool("a", ipaddress.ip_network("10.0.0.0/24"), 29, nat_outgoing=True),
    Pool("six", ipaddress.ip_network("fd00::/120"), 125, nat_outgoing=True),
)
REST = 100


def run(ledger: Ledger, nodes: list[str], now: int = 0) -> Ledger:
    """The ledger after a run of site.yml."""
    return distinct(settle(ledger, nodes, POOLS, now, REST).ledger)


def identity(ledger: Ledger, node: str) -> str:
    """The name that a node's hardware addresses come from."""
    return identities(ledger).get(node, node)


def texts(ledger: Ledger, *arguments: str, nodes: tuple[str, ...]) -> list[str]:
    """What is said of a renaming."""
    former, name = arguments
    return [str(problem) for problem in rename_problems(ledger, former, name, nodes, "L")]


def test_the_new_name_has_the_blocks_and_the_hardware_addresses() -> None:
    before = run(Ledger("c"), ["one", "two"])
    after = run(renamed(before, "one", "eins"), ["eins", "two"])
    owned, former = blocks_by_node(after), blocks_by_node(before)
    assert owned == {"eins": former["one"], "two": former["two"]}
    assert identities(after) == {"eins": "one"}
    assert ledger_text.parse(ledger_text.render(after), "L", "c") == after
    # Once more, and further.
    assert renamed(after, "one", "eins") == after
    again = run(renamed(after, "eins", "uno"), ["uno", "two"])
    assert (blocks_by_node(again)["uno"], identity(again, "uno")) == (former["one"], "one")


def test_a_renamed_node_that_left_comes_back_as_it_was() -> None:
    named = run(renamed(run(Ledger("c"), ["one", "two"]), "one", "eins"), ["eins", "two"])
    left = run(named, ["two"], now=5)
    assert identities(left) == {}
    assert run(left, ["eins", "two"], now=10) == named


def test_a_new_node_under_the_former_name_shares_nothing_with_the_renamed_one() -> None:
    ledger = run(renamed(run(Ledger("c"), ["one"]), "one", "eins"), ["eins"])
    both = run(ledger, ["eins", "one"])
    assert identities(both) == {"eins": "one", "one": "one+2"}
    assert run(both, ["eins", "one"]) == both
    # Also where the renamed one is away at that time.
    away = run(run(ledger, [], now=1), ["one"], now=2)
    assert identities(run(away, ["eins", "one"], now=3)) == {"eins": "one", "one": "one+2"}


NAMES = ["a", "b", "c", "d"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.lists(st.sampled_from(NAMES), unique=True)),
        st.tuples(st.just("rename"), st.lists(st.sampled_from(NAMES), unique=True, min_size=2, max_size=2)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(STEPS)
def test_no_two_nodes_ever_have_one_identity_and_none_changes_while_its_node_stays(
    steps: list[tuple[str, list[str]]],
) -> None:
    ledger = Ledger("c")
    for now, (step, chosen) in enumerate(steps):
        nodes = list(blocks_by_node(ledger))
        before = {node: identity(ledger, node) for node in nodes}
        present, moved = chosen, {}
        if step == "rename":
            former, name = chosen
            present = [name if node == former else node for node in nodes]
            if rename_problems(ledger, former, name, present, "L"):
                continue
            ledger, moved = renamed(ledger, former, name), {former: name}
        ledger = run(ledger, present, now)
        nodes = list(blocks_by_node(ledger))
        assert len({identity(ledger, node) for node in nodes}) == len(nodes)
        for node, known in before.items():
            stays = moved.get(node, node)
            assert stays not in nodes or identity(ledger, stays) == known


def test_what_keeps_a_node_from_being_renamed() -> None:
    ledger = run(run(Ledger("c"), ["one", "two", "gone"]), ["one", "two"], now=7)
    assert texts(ledger, "one", "eins", nodes=("eins", "two")) == []
    assert texts(ledger, "one", "two", nodes=("one", "two")) == [
        "one: found a node of the inventory, wanted the former name to be gone from the inventory, and the new one in "
        "its place; write two in its place",
        "two: found 10.0.0.8/29 and fd00::8/125, owned by two in L, wanted a name without blocks; give another name; "
        "where site.yml was run before the renaming, restore the ledger of before that run",
    ]
    assert texts(ledger, "one", "one", nodes=("two",)) == [
        "one: found the same name twice, wanted a former name and a new one; give another name"
    ]
    assert texts(ledger, "gone", "x", nodes=("x",)) == [
        "gone: found blocks that rest, 10.0.0.16/29 and fd00::10/125 in L, wanted a node that owns blocks; "
        "give one of the names that own blocks: one and two"
    ]
    assert texts(Ledger("c"), "one", "x", nodes=("x",)) == [
        "one: found no block of it in L, wanted a node that owns blocks; run site.yml first"
    ]


def test_names_that_the_inventory_does_not_know() -> None:
    request = Request(expected=("nodeX", "old", ""), renamed={"": "", "one": "nix"}, removed=("old",))
    assert [str(problem) for problem in node_request.problems(request, ["node1", "node2"])] == [
        "node: found 'nodeX', wanted a node of the inventory (node1 and node2); did you mean node2?",
        "node: found 'old', a host of the group podnet_removed, wanted a node; take it out of the group podnet_removed",
        "node: found nothing, wanted the name of a node; say -e node=NAME",
        "node: found nothing, wanted the name of a node; say -e node=NAME",
        "to: found nothing, wanted the name of a node; say -e to=NAME",
        "to: found 'nix', wanted a node of the inventory (node1 and node2); add it to the inventory, or give one "
        "that is there",
    ]
