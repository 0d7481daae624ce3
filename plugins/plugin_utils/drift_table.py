# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet.fabric.drift_info found on each node, drawn for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.difference import Difference, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST = 40
"""Differences of a node that are shown one by one; of a node that lost everything, the first tell enough."""


def report(found: Mapping[str, Mapping[str, Any]], missing: Sequence[str] = ()) -> dict[str, list[str]]:
    """The lines about all nodes, and a line for each node that is not as it declares.

    :param found: what the module returned, by node
    :param missing: nodes that were asked and returned nothing
    """
    table: list[str] = []
    drifted = []
    for node, one in found.items():
        lines = [*one["problems"], *(sentence(Difference(**each)) for each in one["differences"])]
        if not lines:
            table.append(f"{node}: as declared ({', '.join(one['kinds']) or 'nothing is declared'})")
            table += [f"  {line}" for line in one["unhealthy"]]
            continue
        drifted.append(f"{node}: {len(lines)} {'difference' if len(lines) == 1 else 'differences'}")
        table += [f"{drifted[-1]}", *(f"  {line}" for line in lines[:LONGEST])]
        if len(lines) > LONGEST:
            table.append(f"  and {len(lines) - LONGEST} more")
        table += [f"  {line}" for line in one["unhealthy"]]
    lost = [f"{node}: it could not be asked" for node in missing]
    return {"table": [*table, *lost] or ["no node was asked"], "drifted": [*drifted, *lost]}
