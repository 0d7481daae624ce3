# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of all nodes: columns, drift, addresses."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import drift_table, ipam_table
from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn


def difference(**changed: Any) -> dict[str, Any]:
    """What drift_info tells of one field."""
    told = {"kind": "bridge", "facility": "links", "object": "podnet0", "field": "mtu", "declared": 1450, "found": 1300}
    return {**told, **changed}


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert drawn([["node1", "1"], ["n", "200"]], ["name", "count"]) == [
        "name   count",
        "-----  -----",
        "node1  1",
        "n      200",
    ]
    assert drawn([["a", ""], ["bb", "c"]]) == ["a", "bb  c"]


def test_drift_is_shown_by_node_object_and_field() -> None:
    found: dict[str, dict[str, Any]] = {
        "node1": {"kinds": ["bridge", "vxlan"], "problems": [], "differences": [], "unhealthy": ["web is out"]},
        "node2": {
            "kinds": ["bridge"],
            "problems": [],
            "differences": [difference(), difference(found=None)],
            "unhealthy": ["db is out"],
        },
        "node3": {
            "kinds": ["bridge"],
            "problems": ["/etc/podnet/node.d/bridge.json: not a declaration"],
            "differences": [
                difference(field="", declared={"name": "podnet0"}, found=None),
                difference(field="", declared=None, found={"name": "podnet9"}, object="podnet9"),
            ],
            "unhealthy": [],
        },
        "node4": {"kinds": [], "problems": [], "differences": [], "unhealthy": []},
    }
    report = drift_table.report(found, ["node5"])
    assert report["table"] == [
        "node1: as declared (bridge, vxlan)",
        "  web is out",
        "node2: 2 differences",
        "  bridge: links podnet0: mtu: declared 1450, found 1300",
        "  bridge: links podnet0: mtu: declared 1450, found nothing",
        "  db is out",
        "node3: 3 differences",
        "  /etc/podnet/node.d/bridge.json: not a declaration",
        "  bridge: links podnet0: missing",
        "  bridge: links podnet9: not declared",
        "node4: as declared (nothing is declared)",
        "node5: it could not be asked",
    ]
    assert report["drifted"] == ["node2: 2 differences", "node3: 3 differences", "node5: it could not be asked"]


def test_a_node_that_lost_everything_does_not_fill_the_screen() -> None:
    differences = [difference(object=f"route {number}") for number in range(drift_table.LONGEST + 3)]
    one = {"kinds": [], "problems": [], "differences": differences, "unhealthy": []}
    table = drift_table.report({"node1": one})["table"]
    assert len(table) == 1 + drift_table.LONGEST + 1
    assert table[-1] == "  and 3 more"


def test_nobody_asked_is_no_agreement() -> None:
    assert drift_table.report({})["table"] == ["no node was asked"]


def test_blocks_are_shown_with_their_leaks() -> None:
    addresses = [{"verdict": verdict} for verdict in ("leaked", "in use", "leaked", "unknown")]
    block = {"block": "10.244.1.0/24", "used": 4, "capacity": 253, "percent": 2, "addresses": addresses}
    shown = ipam_table.lines({"node1": [{"network": "podnet", "blocks": [block]}]}, ["node2"])
    assert shown == [
        "node   network  block          used  capacity  percent  leaked  unknown",
        "-----  -------  -------------  ----  --------  -------  ------  -------",
        "node1  podnet   10.244.1.0/24  4     253       2 %      2       1",
        "node2: no answer, see its errors above",
    ]
    assert ipam_table.lines({}) == ["no node declares a network"]


def test_full_blocks_are_told_once_all_of_a_family_are() -> None:
    def block(cidr: str, used: int) -> dict[str, Any]:
        return {"block": cidr, "used": used, "capacity": 5, "percent": 20.0 * used, "addresses": []}

    def told(*blocks: dict[str, Any]) -> list[str]:
        lines = ipam_table.lines({"node1": [{"network": "podnet", "blocks": list(blocks)}]})
        return [line for line in lines if line.startswith("node1: ")]

    cure = "are full; site.yml gives it one more within podnet_growth, or else with podnet_blocks:"
    assert told(block("10.0.0.0/29", 4), block("fd00::/125", 5)) == [f"node1: its IPv6 blocks {cure} 2"]
    assert told(block("10.0.0.0/29", 5), block("10.0.0.8/29", 4)) == []
    assert told(block("10.0.0.0/29", 5), block("10.0.0.8/29", 5)) == [f"node1: its IPv4 blocks {cure} 3"]
