# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet.fabric.policy_info found on each node, drawn for a person: what was let through, and what was denied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TITLES = ("node", "verdict", "by or of", "direction", "packets", "bytes")
_FLOWS = 20  # of a node, so that the table stays in sight


def lines(found: Mapping[str, Mapping[str, Any]], missing: Sequence[str] = ()) -> list[str]:
    """The table of all nodes, policies before pods.

    :param found: what the module returned, by node
    :param missing: nodes that were asked and returned nothing
    """
    rows = [
        (node, verdict, whose(each), each["direction"], str(each["packets"]), str(each["bytes"]))
        for node, told in found.items()
        for verdict, whose in (("allowed", _policies), ("denied", _endpoint))
        for each in told[verdict]
    ]
    table = drawn(rows, _TITLES) if rows else ["no policy selects a pod"]
    flows = [
        f"{node}: denied {each['packets']} packets of {each['protocol']} from {_end(each, 'source')} to "
        f"{_end(each, 'destination')} ({each['direction']}), the last {each['seconds_ago']:.0f} s ago"
        for node, told in found.items()
        for each in told["last_denied"][:_FLOWS]
    ]
    return [*table, *flows, *(f"{node}: no answer, see its errors above" for node in missing)]


def _end(flow: Mapping[str, Any], end: str) -> str:
    address, port = flow[end], flow[f"{end}_port"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _policies(counted: Mapping[str, Any]) -> str:
    return ", ".join(counted["policies"])


def _endpoint(counted: Mapping[str, Any]) -> str:
    return str(counted["endpoint"])
