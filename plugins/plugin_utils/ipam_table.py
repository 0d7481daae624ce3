# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet.fabric.ipam_info found on each node, drawn for a person: how full the blocks are, and what is leaked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TITLES = ("node", "network", "block", "used", "capacity", "percent", "leaked", "unknown")


def lines(found: Mapping[str, Sequence[Mapping[str, Any]]], missing: Sequence[str] = ()) -> list[str]:
    """The table of all nodes.

    :param found: the networks that the module returned, by node
    :param missing: nodes that were asked and returned nothing
    """
    rows = [_row(node, one, block) for node, networks in found.items() for one in networks for block in one["blocks"]]
    table = drawn(rows, _TITLES) if rows else ["no node declares a network"]
    full = [line for node, networks in found.items() for one in networks for line in _full(node, one)]
    return [*table, *full, *(f"{node}: no answer, see its errors above" for node in missing)]


def _full(node: str, network: Mapping[str, Any]) -> list[str]:
    """Tell which family's blocks have no address left, all of them, and what to do about it."""
    told = []
    for family, mark in ((4, "."), (6, ":")):
        blocks = [block for block in network["blocks"] if mark in block["block"]]
        if blocks and all(block["used"] >= block["capacity"] for block in blocks):
            cure = f"site.yml gives it one more within podnet_growth, or else with podnet_blocks: {len(blocks) + 1}"
            told.append(f"{node}: its IPv{family} blocks are full; {cure}")
    return told


def _row(node: str, network: Mapping[str, Any], block: Mapping[str, Any]) -> tuple[str, ...]:
    verdicts = [entry["verdict"] for entry in block["addresses"]]
    used = (str(block["used"]), str(block["capacity"]), f"{block['percent']} %")
    return (node, network["network"], block["block"], *used, *(str(verdicts.count(v)) for v in ("leaked", "unknown")))
