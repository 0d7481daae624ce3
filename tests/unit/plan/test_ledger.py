# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger promises, whatever the history of the inventory."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import (
    Entry,
    Ledger,
    Settlement,
    blocks_by_node,
    settle,
    usage_by_pool,
)

if TYPE_CHECKING:
    from types import FrameType

REST = 100
EMPTY = Ledger("test")


def pool(name: str, cidr: str, block_size: int) -> Pool:
    """A pool."""
    return Pool(name, ipaddress.ip_network(cidr), block_size, nat_outgoing=True)


# Small, so that they run out; two of one family, so that the second one is reached.
POOLS = (pool("a", "10.0.0.0/27", 29), pool("b", "10.0.1.0/28", 29), pool("six", "fd00::/122", 125))
NAMES = [f"node{number}" for number in range(8)]


class Run(NamedTuple):
    """One run of the playbook: the inventory's nodes and the time that has passed since the last one."""

    nodes: list[str]
    passed: int


# No deadline: the machines that run this are shared.
PROMISE = settings(deadline=None, max_examples=60)
RUNS = st.lists(
    st.builds(
        Run,
        st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES)),
        st.sampled_from([0, 1, REST - 1, REST, 3 * REST]),
    ),
    min_size=1,
    max_size=12,
)


def replay(runs: Sequence[Run], pools: Sequence[Pool] = POOLS) -> list[tuple[Run, int, Ledger, Settlement]]:
    """Settle run after run; return each with its time and the ledger that it found."""
    history = []
    ledger, now = EMPTY, 1_000_000
    for run in runs:
        now += run.passed
        settlement = settle(ledger, run.nodes, pools, now, REST)
        history.append((run, now, ledger, settlement))
        ledger = settlement.ledger
    return history


@PROMISE
@given(RUNS)
def test_no_two_blocks_ever_overlap(runs: list[Run]) -> None:
    for _run, _now, _before, (ledger, _strays, _shortages, _taken) in replay(runs):
        for one, other in pairwise(ledger.entries):
            assert one.span[0] < other.span[0] or one.span[2] < other.span[1]


@PROMISE
@given(RUNS)
def test_a_node_keeps_its_blocks_while_it_is_there(runs: list[Run]) -> None:
    for run, _now, before, (after, _strays, _shortages, _taken) in replay(runs):
        owned, owned_after = blocks_by_node(before), blocks_by_node(after)
        for node in run.nodes:
            assert set(owned.get(node, ())) <= set(owned_after.get(node, ()))


@PROMISE
@given(RUNS)
def test_every_node_has_one_block_of_each_family_or_is_named_as_short(runs: list[Run]) -> None:
    for run, _now, _before, (after, _strays, shortages, _taken) in replay(runs):
        short = {(node, shortage.family) for shortage in shortages for node in shortage.nodes}
        owned = blocks_by_node(after)
        assert set(owned) <= set(run.nodes)
        for node in run.nodes:
            families = [block.network.version for block in owned.get(node, ())]
            assert families + [family for family in (4, 6) if (node, family) in short] in ([4, 6], [6, 4])


@PROMISE
@given(RUNS)
def test_a_second_run_changes_nothing(runs: list[Run]) -> None:
    for run, now, _before, (after, _strays, shortages, _taken) in replay(runs):
        assert settle(after, run.nodes, POOLS, now, REST).ledger == after
        if not shortages:
            assert settle(after, run.nodes, POOLS, now + 10 * REST, REST).ledger == after


@PROMISE
@given(RUNS)
def test_a_released_block_goes_to_no_other_node_before_it_has_rested(runs: list[Run]) -> None:
    for _run, now, before, (after, _strays, _shortages, _taken) in replay(runs):
        owner = {entry.network: entry for entry in after.entries}
        for entry in before.entries:
            if entry.released is not None and now - entry.released < REST:
                assert owner[entry.network].node == entry.node


@PROMISE
@given(RUNS)
def test_a_node_that_comes_back_in_time_gets_its_own_blocks(runs: list[Run]) -> None:
    for run, now, before, (after, _strays, _shortages, _taken) in replay(runs):
        owned, owned_after = blocks_by_node(before), blocks_by_node(after)
        for entry in before.entries:
            resting = entry.released is not None and now - entry.released < REST
            if resting and entry.node in run.nodes and entry.node not in owned:
                assert entry.network in [block.network for block in owned_after[entry.node]]


@PROMISE
@given(RUNS)
def test_the_text_of_a_ledger_reads_back_as_the_ledger(runs: list[Run]) -> None:
    for _run, _now, _before, (after, _strays, _shortages, _taken) in replay(runs)[-2:]:
        assert ledger_text.parse(ledger_text.render(after), "ledger", "test") == after


@PROMISE
@given(RUNS, st.sampled_from([26, 27, 28, 29]))
def test_new_blocks_avoid_those_of_an_earlier_block_size(runs: list[Run], size: int) -> None:
    before = replay(runs)[-1][3].ledger
    now = 2_000_000
    changed = (pool("a", "10.0.0.0/26", size), *POOLS[1:])
    gone = settle(before, [], POOLS, now, REST).ledger
    after = settle(gone, ["new1", "new2"], changed, now, REST).ledger
    for one, other in pairwise(after.entries):
        assert one.span[0] < other.span[0] or one.span[2] < other.span[1]


def test_nodes_get_the_lowest_free_blocks_in_the_inventorys_order() -> None:
    ledger = settle(EMPTY, ["z", "a", "m"], POOLS, 0, REST).ledger
    assert [(str(entry.network), entry.pool, entry.node) for entry in ledger.entries] == [
        ("10.0.0.0/29", "a", "z"),
        ("10.0.0.8/29", "a", "a"),
        ("10.0.0.16/29", "a", "m"),
        ("fd00::/125", "six", "z"),
        ("fd00::8/125", "six", "a"),
        ("fd00::10/125", "six", "m"),
    ]


def test_the_next_pool_of_a_family_serves_when_the_first_is_full() -> None:
    nodes = [f"n{number}" for number in range(7)]
    settlement = settle(EMPTY, nodes, POOLS, 0, REST)
    assert [str(entry.network) for entry in settlement.ledger.entries if entry.node in ("n3", "n4", "n5")][:3] == [
        "10.0.0.24/29",
        "10.0.1.0/29",
        "10.0.1.8/29",
    ]
    assert [(shortage.family, shortage.nodes) for shortage in settlement.shortages] == [(4, ("n6",))]


def test_a_node_may_own_several_blocks_and_keeps_their_order() -> None:
    # Blocks beyond the first are not given out yet; a ledger that has them is kept and read.
    first = Entry(ipaddress.ip_network("10.0.0.8/29"), "a", "n", order=0)
    second = Entry(ipaddress.ip_network("10.0.0.0/29"), "a", "n", order=1)
    ledger = settle(Ledger("test", (second, first)), ["n"], POOLS[:1], 5, REST).ledger
    assert [str(block.network) for block in blocks_by_node(ledger)["n"]] == ["10.0.0.8/29", "10.0.0.0/29"]
    away = settle(ledger, [], POOLS[:1], 6, REST).ledger
    assert settle(away, ["n"], POOLS[:1], 7, REST).ledger == ledger


def test_a_rested_block_stays_its_former_nodes_until_somebody_needs_it() -> None:
    ledger = settle(EMPTY, ["old"], POOLS[:1], 0, REST).ledger
    ledger = settle(ledger, [], POOLS[:1], 10, REST).ledger
    assert settle(ledger, [], POOLS[:1], 10_000, REST).ledger == ledger
    assert blocks_by_node(settle(ledger, ["old"], POOLS[:1], 10_000, REST).ledger)["old"][0].gateway == (
        ipaddress.ip_address("10.0.0.1")
    )
    ledger = settle(ledger, ["new"], POOLS[:1], 10_000, REST).ledger
    assert [(str(entry.network), entry.node) for entry in ledger.entries] == [("10.0.0.0/29", "new")]


def test_owned_blocks_outside_every_pool_are_strays() -> None:
    ledger = settle(EMPTY, ["n"], POOLS, 0, REST).ledger
    for changed in (
        (pool("a", "10.9.0.0/27", 29), *POOLS[1:]),
        (pool("a", "10.0.0.0/27", 28), *POOLS[1:]),
        (pool("renamed", "10.0.0.0/27", 29), *POOLS[1:]),
        POOLS[1:],
    ):
        settlement = settle(ledger, ["n"], changed, 0, REST)
        assert [str(entry.network) for entry in settlement.strays] == ["10.0.0.0/29"]


def test_a_node_back_after_its_pool_went_gets_a_block_of_another_pool_and_later_only_that() -> None:
    ledger = settle(EMPTY, ["n"], POOLS[:1], 0, REST).ledger
    ledger = settle(ledger, [], POOLS[:1], 1, REST).ledger
    ledger = settle(ledger, ["n"], POOLS[1:2], 2, REST).ledger
    assert [str(block.network) for block in blocks_by_node(ledger)["n"]] == ["10.0.1.0/29"]
    ledger = settle(ledger, [], POOLS[:2], 3, REST).ledger
    ledger = settle(ledger, ["n"], POOLS[:2], 4, REST).ledger
    assert [str(block.network) for block in blocks_by_node(ledger)["n"]] == ["10.0.1.0/29"]


def test_usage_counts_owned_and_resting_blocks() -> None:
    ledger = settle(EMPTY, ["x", "y"], POOLS, 0, REST).ledger
    ledger = settle(ledger, ["x"], POOLS, 10, REST).ledger
    assert usage_by_pool(ledger, 11, REST) == {"a": (1, 1), "six": (1, 1)}
    assert usage_by_pool(ledger, 10 + REST, REST) == {"a": (1, 0), "six": (1, 0)}


def test_settling_ten_times_the_nodes_takes_less_than_thirty_times_the_steps() -> None:
    def steps(count: int) -> int:
        pools = (pool("a", "10.0.0.0/8", 24), pool("six", "fd00::/48", 64))
        nodes = [f"n{number}" for number in range(count)]
        taken = 0

        def one_more(_frame: FrameType, _event: str, _of: object) -> None:
            nonlocal taken
            taken += 1

        former = sys.getprofile()
        sys.setprofile(one_more)  # calls and returns, of functions in C as well
        try:
            ledger = settle(EMPTY, nodes, pools, 0, REST).ledger
            settle(ledger, nodes[1:], pools, 1, REST)
        finally:
            sys.setprofile(former)
        return taken

    assert steps(1000) < 30 * steps(100)
