# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table says who was asked and who contradicts; a node without an answer is a contradiction of its own."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.filter.evidence import dataplane_report
from ansible_collections.podnet.fabric.plugins.plugin_utils import dataplane_table

GOOD = {
    "to": "10.244.1.1",
    "peer": "node2",
    "agreement": True,
    "how": "VXLAN, VNI 84, port 4789 to 192.0.2.12",
    "witnesses": ["declared", "tables", "packets"],
    "text": "fine",
}
BAD = {**GOOD, "to": "10.244.2.1", "peer": None, "agreement": False, "how": "", "witnesses": ["tables", "packets"]}


def _found(*findings: dict[str, Any]) -> dict[str, Any]:
    told = [finding["text"] for finding in findings if not finding["agreement"]]
    return {
        "verdict": {"summary": "VXLAN is declared.", "findings": list(findings), "contradictions": told},
        "foreign": [{"name": "flannel", "dataplane": "vxlan", "evidence": ["device flannel.1"]}],
        "services": {"implementation": "iptables", "evidence": ["chain KUBE-SERVICES"], "also": ["ipvs: device"]},
        "unknown": ["nft is not installed"],
    }


def test_a_sound_node_and_one_that_contradicts_itself() -> None:
    report = dataplane_table.report({"node1": _found(GOOD, {**BAD, "text": "differs"})})
    assert report["table"] == [
        "node1: VXLAN is declared.",
        "to     address     how                                     declared  tables  packets",
        "-----  ----------  --------------------------------------  --------  ------  -------",
        "-      10.244.2.1  (see below)                             -         NO      NO",
        "node2  10.244.1.1  VXLAN, VNI 84, port 4789 to 192.0.2.12  yes       yes     yes",
        "contradiction: differs",
        "here, too: flannel (vxlan): device flannel.1",
        "services: iptables (chain KUBE-SERVICES)",
        "services, too: ipvs: device",
        "unknown: nft is not installed",
    ]
    assert report["contradictions"] == ["node1: differs"]


def test_a_large_cluster_does_not_fill_the_screen() -> None:
    lines = dataplane_table.report({"node1": _found(*[GOOD] * 40)})["table"]
    assert "and 24 more" in lines
    assert sum(line.startswith("node2") for line in lines) == 16


def test_a_node_without_an_answer_is_told() -> None:
    hostvars = {"node1": {"asked": _found(GOOD)}, "node2": {"asked": {"failed": True}}, "node3": {}}
    report = dataplane_report(hostvars, ["node1", "node2", "node3"], "asked")
    assert report["table"][-2:] == [f"{node}: no answer, see its errors above" for node in ("node2", "node3")]
    assert report["contradictions"] == ["node2: it could not be asked", "node3: it could not be asked"]
    assert dataplane_report({}, [], "asked") == {"table": ["no node was asked"], "contradictions": []}
