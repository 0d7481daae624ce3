# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three witnesses of one thing: what is declared, what the kernel's tables say, what packets look like.

Each is brought into the same form, and they agree when nothing that two of them know differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.claims import PLAIN

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.claims import Claim
    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.trail import Trail
    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.ways import Way

NAMES = {
    "vxlan": "VXLAN",
    "geneve": "Geneve",
    "ipip": "IP in IP",
    "ip6ip6": "IPv6 in IPv6",
    "wireguard": "WireGuard",
    "gre": "GRE",
    PLAIN: "no tunnel",
}
DECLARED, TABLES, PACKETS = "declared", "tables", "packets"
# How a witness is cited where all agree (with its interface), and where they do not (with its words).
_SOURCE = {DECLARED: "declared", TABLES: "in the kernel's tables through {}", PACKETS: "seen on {}"}
_SAYS = {DECLARED: "declared is {}", TABLES: "the kernel's tables say {}", PACKETS: "the packets say {}"}
# Tunnels that probe/decode.py cannot look into.
_UNSEEN = ("gre",)
# Ways that end on this node.
HERE = ("local", "bridge")


class Statement(NamedTuple):
    """What a witness says of the way to an address. None: it does not know."""

    tunnel: str | None
    outer: str | None = None  # where the outer packet, or without a tunnel the next hop, is
    vni: int | None = None
    port: int | None = None
    dev: str | None = None
    problem: str = ""  # why there is no way


class Case(NamedTuple):
    """An address with what is known of it."""

    to: str
    claims: Sequence[Claim]
    way: Way
    trail: Trail | None
    foreign: str = ""  # whose way it is, when it is not ours


class Finding(NamedTuple):
    """The comparison for one address."""

    to: str
    peer: str | None
    agreement: bool
    how: str  # what they agree on, in a few words; empty where they do not
    witnesses: tuple[str, ...]  # "declared", "tables", "packets": who was asked
    text: str


def judge(case: Case, inner: Collection[str] = ()) -> Finding:
    """Compare what is known of one address.

    :param inner: interfaces behind which something follows (tunnels, bridges)
    """
    tables = of_way(case.way)
    claim = _fitting(case.claims, tables)
    peer = claim.peer if claim else None
    who = f"{peer} ({case.to})" if peer else case.to
    if claim is None and case.way.carrier in HERE:
        return Finding(case.to, None, True, "this node", (TABLES,), f"{who}: on this node{_through(case.way.dev)}.")
    witnesses = {DECLARED: of_claim(claim)} if claim else {}
    witnesses[TABLES] = tables
    if case.trail is not None and case.way.carrier not in (*HERE, *_UNSEEN):
        witnesses[PACKETS] = of_trail(case.trail, inner)
    told = list(witnesses.values())
    # What is declared to be ours and is carried by somebody else is no agreement, however alike it looks.
    agreement = not (claim and case.foreign) and all(
        _agree(one, other) for nth, one in enumerate(told) for other in told[nth + 1 :]
    )
    foreign = f" (by {case.foreign})" if case.foreign else ""
    how = words(_merged(told)) + foreign if agreement else ""
    if how and not tables.problem:
        text = f"{who}: {how}; {_list([_SOURCE[name].format(one.dev) for name, one in witnesses.items()])}."
    else:
        text = f"{who}: {'; '.join(_SAYS[name].format(words(one)) for name, one in witnesses.items())}{foreign}."
    return Finding(case.to, peer, agreement, how, tuple(witnesses), text)


def summarise(findings: Sequence[Finding], kinds: Collection[str], foreign: Collection[str]) -> dict[str, Any]:
    """The verdict on the node as the module returns it.

    :param kinds: the dataplanes that are declared to carry packets
    :param foreign: the names of pod networks of somebody else
    """
    contradictions = [finding.text for finding in findings if not finding.agreement]
    named = " and ".join(NAMES.get(kind, kind) for kind in kinds)
    start = f"{named} is declared" if named else "No dataplane is declared"
    others = f" Other pod networks are here: {', '.join(sorted(foreign))}." if foreign else ""
    if contradictions:
        middle = f"{len(contradictions)} of {len(findings)} ways that were looked at are contradictory"
    elif findings:
        counted = (
            f"all {len(findings)} ways that were looked at are" if len(findings) > 1 else "the one way looked at is"
        )
        middle = f"{counted} without contradiction"
    else:
        middle = "no way was looked at"
    if len(kinds) > 1:
        middle += "; a move from one dataplane to another is not finished"
    return {
        "agreement": not contradictions,
        "summary": f"{start}; {middle}.{others}",
        "contradictions": contradictions,
        "findings": [finding._asdict() for finding in findings],
    }


def of_claim(claim: Claim) -> Statement:
    """What is declared."""
    return Statement(claim.tunnel, claim.outer or None, claim.vni, claim.port)


def of_way(way: Way) -> Statement:
    """What the tables say."""
    if way.carrier in HERE:
        return Statement(None, problem=f"this node itself{_through(way.dev)}")
    tunnel = None if not way.carrier else way.carrier if way.carrier in NAMES else PLAIN
    problem = way.problem or ("" if tunnel else "nowhere")
    outer = None if way.several else way.outer or None
    return Statement(tunnel, outer, way.vni, way.port, way.dev or None, problem)


def of_trail(trail: Trail, inner: Collection[str] = ()) -> Statement:
    """What the packets looked like where they left."""
    last = trail.outermost
    if last is None:
        why = f"nothing could be sent ({trail.error})" if not trail.sent else "none of them left the node"
        return Statement(None, problem=why)
    if last.dev in inner:
        return Statement(None, dev=last.dev, problem=f"none of them got out behind {last.dev}")
    outer = last.outer_dst if last.tunnel != PLAIN else None
    return Statement(last.tunnel, outer, last.vni, last.port, last.dev)


def _fitting(claims: Sequence[Claim], tables: Statement) -> Claim | None:
    """While a node moves, the claim of the dataplane that it has reached."""
    return next((claim for claim in claims if claim.tunnel == tables.tunnel), claims[0] if claims else None)


def _agree(one: Statement, other: Statement) -> bool:
    if one.problem or other.problem:
        return bool(one.problem and other.problem)
    pairs = zip(one[:4], other[:4])
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


def _merged(told: Sequence[Statement]) -> Statement:
    """What all of them know together, where they agree."""
    merged = told[0]
    for one in told[1:]:
        known = {field: getattr(one, field) for field in ("tunnel", "outer", "vni", "port")}
        merged = merged._replace(**{field: value for field, value in known.items() if getattr(merged, field) is None})
    return merged._replace(dev=None)


def words(one: Statement) -> str:
    """A statement in words."""
    if one.problem:
        return one.problem
    name = NAMES.get(one.tunnel or "", str(one.tunnel))
    parts = ["IPv6 in IPv4" if one.tunnel == "ip6ip6" and one.outer and ":" not in one.outer else name]
    parts += [f"VNI {one.vni}"] if one.vni is not None else []
    parts += [f"port {one.port}"] if one.port is not None else []
    outer = f" {'via' if one.tunnel == PLAIN else 'to'} {one.outer}" if one.outer else ""
    return f"{', '.join(parts)}{outer}{_through(one.dev)}"


def _through(dev: str | None) -> str:
    return f" through {dev}" if dev else ""


def _list(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
