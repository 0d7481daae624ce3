# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet.fabric.ipam_info found on each node, drawn for a person: how full the blocks are, and what is leaked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TITLES = ("node", "network", "block", "used", "capacity", "percent", "leaked", "unknown")


def lines(found: Mapping[str, Sequence[Mapping[str, Any]]], missing: Sequence[str] = ()) -> list[str]:
    """The table of all nodes.

    :param found: the networks that the module returned, by node
    :param missing: nodes that were asked and returned nothing
    """
    rows = [_row(node, one, block) for node, networks in found.items() for one in networks for block in one["blocks"]]
    drawn = _drawn([_TITLES, *rows]) if rows else ["no node declares a network"]
    return [*drawn, *(f"{node}: no answer, see its errors above" for node in missing)]


def _row(node: str, network: Mapping[str, Any], block: Mapping[str, Any]) -> tuple[str, ...]:
    verdicts = [entry["verdict"] for entry in block["addresses"]]
    used = (str(block["used"]), str(block["capacity"]), f"{block['percent']} %")
    return (node, network["network"], block["block"], *used, *(str(verdicts.count(v)) for v in ("leaked", "unknown")))


def _drawn(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    drawn = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [drawn[0], "  ".join("-" * width for width in widths), *drawn[1:]]
