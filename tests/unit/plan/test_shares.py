# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several blocks for a node, pools for some nodes only, and parts of pools for none."""

from __future__ import annotations

import ipaddress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.plugin_utils import planning
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import (
    Ledger,
    blocks_by_node,
    reserved_by_pool,
    settle,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_nodes import renamed

NAMES = [f"node{number}" for number in range(6)]
RESERVED = (ipaddress.ip_network("10.0.0.9/32"), ipaddress.ip_network("10.0.0.32/28"))
FEW = Pool("few", ipaddress.ip_network("10.0.0.0/26"), 29, True, 0, RESERVED, frozenset(NAMES[:2]))
ALL = Pool("all", ipaddress.ip_network("10.0.1.0/26"), 29, True, 1)
POOLS = (FEW, ALL)
RUNS = st.lists(
    st.tuples(st.sets(st.sampled_from(NAMES)), st.dictionaries(st.sampled_from(NAMES), st.integers(1, 4))),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=80)
@given(RUNS)
def test_what_holds_whatever_comes_and_grows(runs: list[tuple[set[str], dict[str, int]]]) -> None:
    ledger = Ledger("test")
    for now, (present, wants) in enumerate(runs):
        nodes = sorted(present)
        before = blocks_by_node(ledger)
        ledger, strays, shortages, _taken = settle(ledger, nodes, POOLS, now, 3, wants)
        after = blocks_by_node(ledger)
        short = {node for shortage in shortages for node in shortage.nodes}
        assert strays == ()
        for one, other in pairwise(ledger.entries):
            assert one.span[2] < other.span[1]
        for entry in ledger.entries:
            assert not any(entry.network.overlaps(part) for part in RESERVED)
            assert entry.pool != "few" or entry.node in NAMES[:2]
        for node in nodes:
            own = after.get(node, ())
            # The blocks that it had are its first ones still, in their order.
            assert own[: len(before.get(node, ()))] == before.get(node, ())
            assert len(own) >= wants.get(node, 1) or node in short
            orders = sorted(entry.order for entry in ledger.entries if entry.node == node and entry.released is None)
            assert len(set(orders)) == len(orders)
        assert settle(ledger, nodes, POOLS, now, 3, wants).ledger == ledger


def test_first_blocks_go_before_second_ones() -> None:
    pool = Pool("p", ipaddress.ip_network("10.0.0.0/28"), 29, True)
    settlement = settle(Ledger("test"), ["greedy", "other"], [pool], 0, 0, {"greedy": 2})
    assert {node: len(blocks) for node, blocks in blocks_by_node(settlement.ledger).items()} == {
        "greedy": 1,
        "other": 1,
    }
    assert [shortage.nodes for shortage in settlement.shortages] == [("greedy",)]


def test_a_smaller_number_takes_nothing_back_and_a_node_that_returns_has_all_it_had() -> None:
    ledger = settle(Ledger("test"), ["n", "m"], [ALL], 0, 10, {"n": 3}).ledger
    assert settle(ledger, ["n", "m"], [ALL], 1, 10).ledger == ledger
    gone = settle(ledger, ["m"], [ALL], 2, 10).ledger
    assert settle(gone, ["m", "n"], [ALL], 3, 10).ledger == ledger


def test_a_renamed_node_has_one_identity_on_all_its_blocks() -> None:
    ledger = renamed(settle(Ledger("test"), ["old"], [ALL], 0, 10).ledger, "old", "new")
    grown = settle(ledger, ["new"], [ALL], 1, 10, {"new": 2}).ledger
    assert [(entry.node, entry.identity) for entry in grown.entries] == [("new", "old")] * 2


def test_the_rest_of_a_pool_goes_to_the_next_pool_that_serves_the_node() -> None:
    ledger = settle(Ledger("test"), ["node0", "node5"], POOLS, 0, 0, {"node0": 6}).ledger
    blocks = {node: [str(block.network) for block in held] for node, held in blocks_by_node(ledger).items()}
    # Of few's eight blocks the second, the fifth and the sixth are reserved.
    assert blocks["node0"] == [
        "10.0.0.0/29",
        "10.0.0.16/29",
        "10.0.0.24/29",
        "10.0.0.48/29",
        "10.0.0.56/29",
        "10.0.1.8/29",
    ]
    assert blocks["node5"] == ["10.0.1.0/29"]
    assert reserved_by_pool(ledger, POOLS, 0, 0) == {"few": 3, "all": 0}


def test_a_block_reserved_under_a_node_stays_and_is_told(tmp_path: Path, host: Any) -> None:
    def run(*reserved: str) -> Any:
        pools = [{"name": "p", "cidr": "10.0.0.0/24", "block_size": 26, "reserved": list(reserved)}]
        hosts = [host(name, f"192.0.2.{number}", pools=pools) for number, name in enumerate(("a", "b"), 1)]
        return planning.run(hosts, [], str(tmp_path), allocate=True)

    before = run()
    assert before.warnings == []
    after = run("10.0.0.64/26", "10.0.0.192/27")
    assert after.plan["nodes"] == before.plan["nodes"]
    assert after.plan["pools"][0]["blocks"] == {"total": 4, "held": 2, "resting": 0, "reserved": 1}
    assert after.warnings == [
        "podnet_pools[0].reserved: 10.0.0.64/26 is b's already, and stays so as long as the node is in the inventory"
    ]


def test_nodes_are_chosen_by_name_group_and_pattern(tmp_path: Path, host: Any) -> None:
    pools = [
        {"name": "racks", "cidr": "10.1.0.0/16", "nodes": ["rack?"]},
        {"name": "one", "cidr": "10.2.0.0/16", "nodes": ["lone"]},
        {"name": "rest", "cidr": "10.3.0.0/16", "nodes": ["other*"]},
    ]
    groups = {"a": ("all", "rack1"), "b": ("all", "rack2"), "lone": ("all",), "other7": ("all",)}
    hosts = [
        host(name, f"192.0.2.{number}", pools=pools)._replace(groups=within)
        for number, (name, within) in enumerate(groups.items(), 1)
    ]
    plan = planning.run(hosts, [], str(tmp_path), allocate=True).plan
    assert plan is not None
    assert {name: node["blocks"][0]["pool"] for name, node in plan["nodes"].items()} == {
        "a": "racks",
        "b": "racks",
        "lone": "one",
        "other7": "rest",
    }


@pytest.mark.parametrize(
    ("pools", "problems"),
    [
        (
            [{"name": "p", "cidr": "10.0.0.0/16", "nodes": ["nod1", "node*"]}],
            ["podnet_pools[0].nodes[0]: found 'nod1', wanted the name of a node or of a group with nodes; did you mean "
             "node1?"],
        ),
        (
            [
                {"name": "p", "cidr": "10.0.0.0/16"},
                {"name": "s", "cidr": "fd00::/48", "nodes": ["node1"]},
            ],
            ["podnet_pools: found no IPv6 pool for node2, wanted one or more for each node; add a pool without nodes, "
             "or add them to nodes in podnet_pools[1]"],
        ),
        (
            [{"name": "p", "cidr": "10.0.0.0/16", "reserved": ["10.0.4.0/24", "10.1.0.0/24", "fd00::/64"]}],
            [
                "podnet_pools[0].reserved[1]: found 10.1.0.0/24, wanted a part of 10.0.0.0/16; correct it, or "
                "remove it",
                "podnet_pools[0].reserved[2]: found fd00::/64, wanted a part of 10.0.0.0/16; correct it, or remove it",
            ],
        ),
        (
            [{"name": "p", "cidr": "10.0.0.0/23", "block_size": 24, "reserved": ["10.0.1.0/30"]}],
            ["podnet_pools: found no free IPv4 block for node2 (1 owned, 0 resting), wanted a free one for each of "
             "them; add an IPv4 pool"],
        ),
    ],
    ids=["unknown node", "node without a pool", "outside the pool", "nothing left"],
)  # fmt: skip
def test_what_cannot_be_is_told(report: Any, host: Any, pools: list[dict[str, Any]], problems: list[str]) -> None:
    assert report([host("node1", "192.0.2.1", pools=pools), host("node2", "192.0.2.2", pools=pools)]) == problems


def test_more_blocks_than_the_pool_has(report: Any, host: Any) -> None:
    pools = [{"name": "p", "cidr": "10.0.0.0/23"}]
    assert report([host("node1", "192.0.2.1", pools=pools, blocks=2), host("node2", "192.0.2.2", pools=pools)]) == [
        "podnet_pools: found 2 IPv4 blocks in podnet_pools[0] (10.0.0.0/23 in blocks of /24), wanted 3, as "
        "podnet_blocks says for 2 nodes; enlarge cidr, set a larger number as block_size, or add a pool"
    ]
