# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads when the inventory is wrong: the exact text, everything at once, nothing changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.podnet.fabric.plugins.plugin_utils import planner, problem

CASES = yaml.safe_load(Path(__file__).with_name("errors.yml").read_text(encoding="utf-8"))
TWO_NODES = [{"name": "node1", "address": "192.0.2.11"}, {"name": "node2", "address": "192.0.2.12"}]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_every_problem_is_told_at_once_with_path_and_cure(case: dict[str, Any], host: Any, report: Any) -> None:
    hosts = [
        host(
            item["name"], item.get("address", ""), item.get("told"), **item.get("variables", case.get("variables", {}))
        )
        for item in case.get("hosts", TWO_NODES)
    ]
    assert report(hosts) == case["errors"]


def test_every_line_names_found_wanted_and_cure() -> None:
    for case in CASES:
        for line in case["errors"]:
            assert line.index(": found ") < line.index(", wanted ") < line.rindex("; ")


def test_hardware_addresses_that_collide(host: Any, report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.podnet.fabric.plugins.plugin_utils.node_check.vtep_mac"
    monkeypatch.setattr(module, lambda _cluster, _node: "02:00:00:00:00:01")
    assert report([host("node1", "192.0.2.11"), host("node2", "192.0.2.12")]) == [
        "inventory: found node1 and node2, whose tunnel ends would share the hardware address 02:00:00:00:00:01, "
        "wanted a hardware address of its own for each node; rename one of them"
    ]


def test_a_thousand_nodes_with_one_mistake_make_one_line(host: Any, report: Any) -> None:
    wrong = {
        "pools": [{"name": "default", "cidr": "10.64.0.0/10"}],
        "underlay": {"adress": "auto"},
        "vxlan_vni": 0,
        "vni": 1,
    }
    assert report([host(f"node{n:03}", f"192.0.{n // 250}.{n % 250 + 1}", **wrong) for n in range(1000)]) == [
        "podnet_vni: found a variable that does not exist, wanted a variable listed in docs/variables.md; did you mean "
        "podnet_vxlan_vni?",
        "podnet_vxlan_vni: found 0, wanted a whole number from 1 to 16777215; choose a VNI that nothing else on the "
        "underlay uses",
        "podnet_underlay.adress (node000, node001, node002 and 997 more): found a key that does not exist, wanted one "
        "of interface, address, second_address; did you mean address?",
    ]


def test_host_gw_over_a_hundred_subnets_makes_one_line(host: Any, report: Any) -> None:
    pools = [{"name": "default", "cidr": "10.244.0.0/16", "block_size": 28}]
    told = [{"interface": "eth0", "address": f"192.0.{n // 20}.{n % 20 + 1}", "prefixlen": 24} for n in range(2000)]
    hosts = [host(f"node{n:04}", one["address"], one, dataplane="host_gw", pools=pools) for n, one in enumerate(told)]
    (line,) = report(hosts)
    assert line.startswith(
        "podnet_dataplane: found host_gw with nodes in 100 subnets (node0000, node0001, node0002 and 17 more in "
        "192.0.0.0/24, node0020, node0021, node0022 and 17 more in 192.0.1.0/24, node0040, node0041, node0042 and 17 "
        "more in 192.0.2.0/24 and 97 more), wanted all nodes in one subnet"
    )


def test_the_text_of_the_failed_task(host: Any) -> None:
    problems = planner.draft([host("node1", vxlan_vni=0)]).problems
    assert problem.render(problems) == (
        "2 errors in the inventory; nothing has been changed:\n"
        "  podnet_vxlan_vni: found 0, wanted a whole number from 1 to 16777215; choose a VNI that nothing else on the "
        "underlay uses\n"
        "  podnet_underlay.address (node1): found no address, wanted the node's IP address on the underlay; set "
        "ansible_host to an IP address, or podnet_underlay.address"
    )
