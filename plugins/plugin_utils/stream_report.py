# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of streams: the counts of senders and receivers put together, and judged. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils.columns import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Flow = dict[str, Any]

# First lost numbers that are named.
_NAMED = 8
# Of a stream's time that its sender may stand still.
_STANDING = 0.5


class Limits(NamedTuple):
    """What a flow may suffer."""

    lost: int = 0  # packets
    stall_ms: float = 200.0  # without progress of a TCP transfer, besides what its sender waited for its own turn
    rate: float = 0.9  # of the wanted rate of packets, at least, over the time for which the sender had its turns


class Counts(NamedTuple):
    """What podnet.fabric.stream returned on one node."""

    flows: Sequence[Flow]
    failures: Sequence[str]


def report(
    sent: Mapping[str, Counts | None], received: Mapping[str, Counts | None], limits: Limits
) -> dict[str, list[Any]]:
    """Return flows, failures and the lines of a table.

    :param sent: by node; None: the node did not get so far
    :param received: by node
    """
    told = _missing(sent, "senders") + _missing(received, "receivers")
    told += [f"{node}: {text}" for both in (sent, received) for node, one in both.items() if one for text in one[1]]
    heard = {flow["token"]: (node, flow) for node, one in received.items() if one for flow in one.flows}
    paired: list[Flow] = []
    for node, one in sent.items():
        for flow in one.flows if one else ():
            _receiver, other = heard.pop(flow["token"], ("", None))
            paired.append(_paired(node, flow, other, limits))
    senders_of: set[tuple[Any, ...]] = {(flow["from"], flow["to"], flow["family"], flow["protocol"]) for flow in paired}
    paired += [_orphan(node, flow) for node, flow in heard.values() if not _is_former(flow, senders_of)]
    if not paired and not told:
        told.append("no stream was counted at all; start receivers and senders with podnet.fabric.stream")
    failures = told + [text for flow in paired for text in flow["failures"]]
    return {"flows": paired, "failures": failures, "table": _table(paired)}


def _missing(counts: Mapping[str, Counts | None], what: str) -> list[str]:
    return [f"{node}: its {what} told nothing, see the errors above" for node, one in counts.items() if one is None]


def _is_former(flow: Flow, known: set[tuple[Any, ...]]) -> bool:
    """Whether it belongs to a sender that took leave earlier while this receiver went on: it was judged then."""
    over = flow["finished"] if flow["protocol"] == "tcp" else flow["told"] is not None
    return bool(over) and (flow["from"], flow["to"], flow["family"], flow["protocol"]) in known


def _paired(node: str, flow: Flow, other: Flow | None, limits: Limits) -> Flow:
    who = f"{node}/{flow['from']} -> {flow['to']} ({flow['address']}, {flow['protocol']})"
    base = {key: flow[key] for key in ("from", "to", "address", "family", "protocol", "sent", "seconds", "token")}
    base["node"] = node
    if other is None:
        text = f"{who}: no receiver counted it, so nothing is known of {flow['sent']} sent; see the receiver's node"
        return {**base, "received": None, "failures": [text]}
    judged = _transfer(flow, other, limits) if flow["protocol"] == "tcp" else _numbers(flow, other, limits)
    return {**base, **judged, "failures": [f"{who}: {text}" for text in judged["failures"]]}


def _numbers(flow: Flow, other: Flow, limits: Limits) -> Flow:
    sent = flow["sent"]
    holes = [(first, min(last, sent - 1)) for first, last in other["holes"] if first < sent]
    if other["expected"] < sent:
        holes.append((other["expected"], sent - 1))
    if other["all_holes"]:
        lost = sum(last - first + 1 for first, last in holes)
    else:
        lost = other["missing"] + max(sent - other["expected"], 0)
    rate = _rate(sent - 1, flow["seconds"])
    failures = []
    if lost > limits.lost:
        failures.append(f"{lost} of {sent} packets lost, allowed are {limits.lost}; they are {_named(holes)}")
    if other["overflown"]:
        failures.append(
            f"the receiver itself did not fetch {other['overflown']} packets in time, so this is no measurement of "
            "the network; give the machine less to do or send fewer"
        )
    if not sent:
        failures.append("nothing was sent")
    elif rate is not None and rate < limits.rate * flow["wanted_rate"]:
        failures += _slow(flow, limits)
    failures += [
        f"the sender's own network refused {times} packets ({name})" for name, times in sorted(flow["errors"].items())
    ]
    return {
        "received": other["received"],
        "lost": lost,
        "holes": [list(hole) for hole in holes[:_NAMED]],
        "rate": rate,
        "gap_ms": other["gap_ms"],
        "pause_ms": flow["pause_ms"],
        "duplicates": other["duplicates"],
        "reordered": other["reordered"],
        "failures": failures,
    }


def _slow(flow: Flow, limits: Limits) -> list[str]:
    """What is wrong with a stream that sent less than it should have."""
    stood = flow["stood_ms"] / 1e3
    if stood > _STANDING * flow["seconds"]:
        return [
            f"the sender stood still for {stood:.1f} of {flow['seconds']:.1f} s, so this is no measurement of the "
            "network; give the machine less to do"
        ]
    # What a sender does not send, because its machine gives it no turn, is not the network's doing.
    pace = _rate(flow["sent"] - 1, flow["seconds"] - stood)
    if pace is None or pace >= limits.rate * flow["wanted_rate"]:
        return []
    return [
        f"only {pace:.0f} packets a second were sent, wanted at least {limits.rate:.0%} of {flow['wanted_rate']:g}; "
        f"queues of the sender were full {flow['queue_full']} times, its longest pause was {flow['pause_ms']:.0f} ms"
    ]


def _transfer(flow: Flow, other: Flow, limits: Limits) -> Flow:
    failures = []
    # What a sender does not send, because its machine gives it no turn, nobody could receive.
    if other["stall_ms"] > limits.stall_ms + flow["pause_ms"]:
        failures.append(
            f"no progress at the receiver for {other['stall_ms']:.0f} ms, allowed are {limits.stall_ms:g} ms; the "
            f"sender itself paused for up to {flow['pause_ms']:.0f} ms"
        )
    failures += [f"the connection broke at the {side}: {one['error']}" for side, one in _ends(flow, other)]
    if not other["received"]:
        failures.append("nothing arrived")
    elif other["finished"] and other["received"] != flow["sent"]:
        failures.append(f"{other['received']} bytes arrived of {flow['sent']} sent")
    return {
        "received": other["received"],
        "stall_ms": other["stall_ms"],
        "standstill_ms": other["standstill_ms"],
        "pause_ms": flow["pause_ms"],
        "mbit": None if not flow["seconds"] else round(other["received"] * 8 / flow["seconds"] / 1e6, 3),
        "failures": failures,
    }


def _ends(flow: Flow, other: Flow) -> list[tuple[str, Flow]]:
    return [(side, one) for side, one in (("sender", flow), ("receiver", other)) if one["error"]]


def _orphan(node: str, flow: Flow) -> Flow:
    """A flow that no sender has counts for."""
    who = f"{flow['from']} -> {flow['to']} ({flow['family']}, {flow['protocol']})"
    text = f"{who}: its sender left no counts, so nothing is known of its losses; {flow['received']} arrived at {node}"
    keys = ("from", "to", "family", "protocol", "token", "received")
    return {**{key: flow[key] for key in keys}, "node": None, "sent": None, "failures": [text]}


def _rate(intervals: int, seconds: float) -> float | None:
    """Packets per second; None for so few that it says nothing."""
    return intervals / seconds if intervals > 0 and seconds > 0 else None


def _named(holes: Sequence[tuple[int, int]]) -> str:
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in holes[:_NAMED]]
    return ", ".join(texts) + (f" and {len(holes) - _NAMED} more ranges" if len(holes) > _NAMED else "")


def _table(flows: Sequence[Flow]) -> list[str]:
    titles = ["flow", "sent", "lost", "rate", "longest gap", "stall", "sender paused"]
    rows: list[list[str]] = []
    for flow in flows:
        where = f"{flow['node']}/{flow['from']}" if flow["node"] else flow["from"]
        rows.append(
            [
                f"{where} -> {flow['to']} {flow['family']} {flow['protocol']}",
                "?" if flow["sent"] is None else str(flow["sent"]),
                _cell(flow, "lost", "{:d}"),
                _cell(flow, "rate", "{:.0f}/s") or _cell(flow, "mbit", "{:.1f} Mbit/s"),
                _cell(flow, "gap_ms", "{:.1f} ms"),
                _cell(flow, "stall_ms", "{:.1f} ms"),
                _cell(flow, "pause_ms", "{:.1f} ms"),
            ]
        )
    return drawn(rows, titles)


def _cell(flow: Flow, key: str, form: str) -> str:
    return "" if flow.get(key) is None else form.format(flow[key])
