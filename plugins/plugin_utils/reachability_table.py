# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probes found, drawn for a person: who reached whom, and a line for each promise of the network."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn
from ansible_collections.podnet.fabric.plugins.plugin_utils.probe_targets import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Result = dict[str, Any]
Results = dict[str, list[Result]]  # by the node that asked

# A matrix of more pods than this does not fit on a screen.
WIDEST = 12
DIGIT = {"ipv4": "4", "ipv6": "6"}
DIRECT = "direct"  # as the targets of podnet.fabric.reachability have it
WAYS_LEGEND = (
    "seen leaving for another node's pods: the tunnel, or direct without one; -: nothing; 4:, 6: in IPv4, IPv6"
)
LEGEND = "4, 6: reached over IPv4, IPv6; !: reached, but not as it should be; -: not reached; blank: not asked"


def lines(results: Results, missing: Sequence[str] = ()) -> list[str]:
    """The report.

    :param results: what podnet.fabric.reachability returned on each node
    :param missing: nodes that should have asked and did not
    """
    between = [(node, one) for node, found in results.items() for one in found if one["to"] != OUTSIDE]
    outward = [(node, one) for node, found in results.items() for one in found if one["to"] == OUTSIDE]
    report = []
    if between:
        report += [*_who_reached_whom(between), "", *_how_it_travelled(between)]
        report += _promises([one for _node, one in between])
    for address in sorted({one["address"] for _node, one in outward}):
        report.append(_outside(address, [one for _node, one in outward if one["address"] == address]))
    report += [f"{node}: no result, see its errors above" for node in missing]
    return report or ["nothing was asked"]


def failures(results: Results, missing: Sequence[str] = ()) -> list[str]:
    """A line for everything that is not as it should be."""
    told = [f"{node}/{text}" for node, found in results.items() for one in found for text in one["failures"]]
    return [*told, *(f"{node}: its pods asked nobody, see the errors above" for node in missing)]


def _who_reached_whom(between: Sequence[tuple[str, Result]]) -> list[str]:
    cells: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for node, one in between:
        cells[f"{node}/{one['from']}", one["to"]][DIGIT[one["family"]]] = _mark(one)
    pods = sorted({row for row, _column in cells} | {column for _row, column in cells}, key=_natural)
    if len(pods) > WIDEST:
        return _by_node(between)
    titles = ["from / to", *pods]
    rows = [[row, *("." if row == column else _cell(cells.get((row, column), {})) for column in pods)] for row in pods]
    return [*drawn(rows, titles), "", LEGEND]


def _how_it_travelled(between: Sequence[tuple[str, Result]]) -> list[str]:
    """From node to node, in what the underlay saw the packets."""
    cells: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for node, one in between:
        peer = one["to"].partition("/")[0]
        if peer != node and one["plain_on_underlay"] is not None:
            cells[node, peer][_way(one)].add(DIGIT[one["family"]])
    nodes = sorted({node for pair in cells for node in pair}, key=_natural)
    if not nodes or len(nodes) > WIDEST:
        return []
    titles = ["from / to", *nodes]
    rows = [
        [row, *("." if row == column else _ways(cells.get((row, column), {})) for column in nodes)] for row in nodes
    ]
    return [*drawn(rows, titles), "", WAYS_LEGEND, ""]


def _way(one: Result) -> str:
    found = ([one["encapsulation"]["type"]] if one["encapsulation"] is not None else []) + (
        [DIRECT] if one["plain_on_underlay"] else []
    )
    return "+".join(found) or "-"


def _ways(found: Mapping[str, set[str]]) -> str:
    """One word where all packets travelled alike, else a word with the families that it counts for."""
    if len(found) < 2:
        return "".join(found)
    told = [f"{''.join(sorted(families))}:{way}" for way, families in found.items()]
    return " ".join(sorted(told))


def _by_node(between: Sequence[tuple[str, Result]]) -> list[str]:
    found: dict[str, list[Result]] = defaultdict(list)
    for node, one in between:
        found[node].append(one)
    rows = [
        [
            node,
            str(len(asked)),
            str(sum(one["reachable"] for one in asked)),
            str(sum(not one["failures"] for one in asked)),
        ]
        for node, asked in sorted(found.items(), key=lambda item: _natural(item[0]))
    ]
    return drawn(rows, ["node", "asked", "reached", "as it should be"])


def _mark(one: Result) -> str:
    if not one["reachable"]:
        return "-"
    return DIGIT[one["family"]] + ("!" if one["failures"] else "")


def _cell(marks: Mapping[str, str]) -> str:
    return " ".join(mark for _family, mark in sorted(marks.items()))


def _promises(between: Sequence[Result]) -> list[str]:
    total = len(between)
    reached = [one for one in between if one["reachable"]]
    watched = [one for one in reached if one["plain_on_underlay"] is not None]
    tunnelled = [one for one in watched if one["encapsulation"] is not None]
    as_they_are = [one for one in watched if one["plain_on_underlay"] and one["encapsulation"] is None]
    unseen = [one for one in watched if one["encapsulation"] is None and not one["plain_on_underlay"]]
    sizes = ", ".join(str(size) for size in sorted({one["mtu"] for one in reached if one["mtu"] is not None}))
    rows = [
        ["reached by UDP and TCP", _of(between, lambda one: one["reachable"], total)],
        ["source address kept (no NAT)", _of(reached, lambda one: one["nat"] is False, total)],
        [f"full-size packet with DF ({sizes} bytes) passes", _of(reached, lambda one: one["mtu_ok"], total)],
        ["one byte more does not", _of(reached, lambda one: one["over_mtu_blocked"], total)],
    ]
    rows += [
        [f"on the underlay in {outside}", str(sum(_outside_of(one) == outside for one in tunnelled))]
        for outside in sorted({_outside_of(one) for one in tunnelled})
    ]
    if watched:
        direct = [one for one in as_they_are if one["expected"] == DIRECT]
        rows += _unless_zero("on the underlay as they are", len(direct))
        rows.append(["not on the underlay at all", str(len(unseen))])
        stray = sum(one["plain_on_underlay"] and one["expected"] != DIRECT for one in watched)
        rows += _unless_zero("on the underlay without a tunnel, against the plan", stray)
        rows += _unless_zero("in fragments on the underlay", sum(one["fragmented"] for one in watched))
    times = [one["rtt_ms"] for one in reached if one["rtt_ms"] is not None]
    if times:
        rows.append(["round trip, median", f"{statistics.median(times):.2f} ms"])
    return drawn(rows)


def _outside_of(one: Result) -> str:
    tunnel = one["encapsulation"]
    parts = [tunnel["type"].upper()]
    parts += [f"VNI {tunnel['vni']}"] if tunnel["vni"] is not None else []
    parts += [f"port {tunnel['port']}"] if tunnel["port"] is not None else []
    return " ".join(parts)


def _unless_zero(title: str, count: int) -> list[list[str]]:
    return [[title, str(count)]] if count else []


def _outside(address: str, asked: Sequence[Result]) -> str:
    reached = [one for one in asked if one["reachable"]]
    seen = sorted({one["source_seen"] for one in reached}, key=_natural)
    told = ", ".join(seen[:4]) + (f" and {len(seen) - 4} more" if len(seen) > 4 else "")
    line = f"outside {address}: reached by {len(reached)} of {len(asked)} pods"
    translated = sum(bool(one["nat"]) for one in reached)
    return f"{line}, {translated} through NAT; it saw {told}" if reached else line


def _of(found: Iterable[Result], holds: Callable[[Result], Any], total: int) -> str:
    return f"{sum(bool(holds(one)) for one in found)} of {total}"


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts node10 behind node9."""
    parts: list[str] = [""]
    for character in text:
        if character.isdigit() == parts[-1][-1:].isdigit():
            parts[-1] += character
        else:
            parts.append(character)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
