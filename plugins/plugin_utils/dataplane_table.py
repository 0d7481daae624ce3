# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet.fabric.dataplane_info found on each node, drawn for a person: which dataplane, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Found = dict[str, Any]

LONGEST = 16
"""Rows of a node's table: enough for the families of a small cluster; of a large one the first are like the others."""

_TITLES = ("to", "address", "how", "declared", "tables", "packets")


def report(found: Mapping[str, Found], missing: Sequence[str] = ()) -> dict[str, list[str]]:
    """The table of all nodes, and a line for each contradiction.

    :param found: what the module returned, by node
    :param missing: nodes that were asked and returned nothing
    """
    lines: list[str] = []
    for node, one in found.items():
        lines += [*([""] if lines else []), *_node(node, one)]
    lines += [f"{node}: no answer, see its errors above" for node in missing]
    contradictions = [f"{node}: {text}" for node, one in found.items() for text in one["verdict"]["contradictions"]]
    contradictions += [f"{node}: it could not be asked" for node in missing]
    return {"table": lines or ["no node was asked"], "contradictions": contradictions}


def _node(node: str, found: Found) -> list[str]:
    verdict = found["verdict"]
    rows = [_row(finding) for finding in _contradictions_first(verdict["findings"])]
    shown = [f"{node}: {verdict['summary']}"]
    if rows:
        shown += drawn(rows[:LONGEST], _TITLES)
    if len(rows) > LONGEST:
        shown.append(f"and {len(rows) - LONGEST} more")
    shown += [f"contradiction: {text}" for text in verdict["contradictions"]]
    shown += [
        f"here, too: {network['name']}{_by(network['dataplane'])}: {'; '.join(network['evidence'])}"
        for network in found["foreign"]
    ]
    services = found["services"]
    shown.append(f"services: {services['implementation']} ({'; '.join(services['evidence'])})")
    shown += [f"services, too: {text}" for text in services["also"]]
    return shown + [f"unknown: {text}" for text in found["unknown"]]


def _contradictions_first(findings: Sequence[Found]) -> list[Found]:
    return sorted(findings, key=lambda finding: bool(finding["agreement"]))


def _row(finding: Found) -> tuple[str, ...]:
    agreed = finding["agreement"]
    asked = [name in finding["witnesses"] for name in _TITLES[3:]]
    marks = [("yes" if agreed else "NO") if there else "-" for there in asked]
    return (finding["peer"] or "-", finding["to"], finding["how"] or "(see below)", *marks)


def _by(dataplane: str | None) -> str:
    return f" ({dataplane})" if dataplane else ""
