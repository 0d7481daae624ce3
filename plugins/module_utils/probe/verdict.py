# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges answers: the result of a question, and a line for the operator for everything that is not as it should be."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.probe import question as asked

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.probe.decode import Encapsulation
    from ansible_collections.podnet.fabric.plugins.module_utils.probe.prober import Answer, Observed


def judge(
    answer: Answer, is_own: Callable[[str], bool], timeout: float, watch_on: str | None, check_mtu: bool
) -> dict[str, Any]:
    """The result for one question, with its failures.

    :param is_own: whether an address is one of the node's
    :param timeout: seconds that were given for an answer, for the text
    :param watch_on: the interface that was watched, for the text
    :param check_mtu: whether sizes count
    """
    question = answer.question
    failures = _reachability(answer, timeout, watch_on or "")
    if not failures:
        failures += _source(answer, is_own)
        failures += _size(answer) if check_mtu and question.target.check_mtu else []
        failures += _underlay(answer, watch_on or "")
    return {
        "from": question.pod.name,
        "to": question.target.name,
        "address": question.target.address,
        "family": "ipv4" if question.family == socket.AF_INET else "ipv6",
        "reachable": answer.udp and answer.tcp,
        "udp": answer.udp,
        "tcp": answer.tcp,
        "source": answer.source or None,
        "source_seen": answer.udp_source or answer.tcp_source or None,
        "nat": _translated(answer),
        "rtt_ms": None if answer.rtt is None else round(answer.rtt * 1000, 3),
        "mtu": answer.mtu,
        "mtu_ok": answer.full,
        "over_mtu_blocked": None if answer.over is None else not answer.over,
        "expected": question.target.tunnel.type,
        "encapsulation": _encapsulation(answer.observed),
        "plain_on_underlay": None if answer.observed is None else answer.observed.plain,
        "fragmented": None if answer.observed is None else answer.observed.fragmented,
        "failures": [
            f"{question.pod.name} -> {question.target.name} ({question.target.address}): {text}" for text in failures
        ],
    }


def _same(one: str, other: str) -> bool:
    return ip_address(one) == ip_address(other)


def _translated(answer: Answer) -> bool | None:
    seen = [text for text in (answer.udp_source, answer.tcp_source) if text]
    if not seen or not answer.source:
        return None
    return not all(_same(text, answer.source) for text in seen)


def _reachability(answer: Answer, timeout: float, watch_on: str) -> list[str]:
    missing = [
        f"{protocol}: {error or 'no answer'}"
        for protocol, there, error in (
            ("UDP", answer.udp, answer.udp_error),
            ("TCP", answer.tcp, answer.tcp_error),
        )
        if not there
    ]
    if not missing:
        return []
    if len(missing) == 1:
        cure = "one protocol passes, so routes are fine: a packet filter on the way drops the other"
    else:
        cure = _where_it_ends(answer, watch_on)
    return [f"not reached within {timeout:g} s ({', '.join(missing)}); {cure}"]


def _where_it_ends(answer: Answer, watch_on: str) -> str:
    observed, wanted = answer.observed, answer.question.target.tunnel
    if wanted.type == asked.LOCAL:
        return "both are on this node: look at the bridge, its ports and packet filters (`nft list ruleset`)"
    if observed is None or wanted.type in (asked.ANY, asked.PLAIN):
        return "look at the route to it (`ip route get`) and for a packet filter on the way"
    if observed.encapsulations:
        return _where_the_tunnel_ends(_told(observed.encapsulations[0]), wanted.type, watch_on)
    if not observed.plain:
        return (
            f"nothing of it leaves {watch_on}: look at the route to it, its neighbour and its FDB entry "
            "(podnet.fabric.dataplane_info shows them, site.yml repairs them)"
        )
    if wanted.type == asked.DIRECT:
        return (
            f"it leaves {watch_on} as it is: look for a packet filter and for the routes of routers between the nodes, "
            "then at the other node"
        )
    return f"it leaves {watch_on} without a tunnel: the route to it is missing or another one is preferred"


def _where_the_tunnel_ends(outside: str, wanted: str, watch_on: str) -> str:
    if wanted == asked.WIREGUARD:
        return (
            f"packets leave {watch_on} in {outside}, whether it is among them cannot be seen: "
            "look at the session with that node (podnet.fabric.wireguard_sessions), then at the other node"
        )
    if wanted == asked.DIRECT:
        return f"it leaves {watch_on} in {outside}: the direct route to it is missing or another one is preferred"
    return f"it leaves {watch_on} in {outside}: look for a packet filter between the nodes, then at the other node"


def _source(answer: Answer, is_own: Callable[[str], bool]) -> list[str]:
    protocols: dict[str, list[str]] = {}
    for protocol, seen in (("UDP", answer.udp_source), ("TCP", answer.tcp_source)):
        protocols.setdefault(seen, []).append(protocol)
    return [
        f"by {' and '.join(by)} the receiver saw {told}"
        for seen, by in protocols.items()
        for told in [_wrong_source(answer, seen, is_own)]
        if told
    ]


def _wrong_source(answer: Answer, seen: str, is_own: Callable[[str], bool]) -> str:
    wanted, kept = answer.question.target.source, _same(seen, answer.source)
    if wanted == asked.KEPT and not kept:
        return (
            f"{seen} as the source, wanted the pod's own address {answer.source}; "
            "something translates addresses inside the pod network (`nft list ruleset`, `iptables-save -t nat`)"
        )
    if wanted == asked.NODE and kept:
        return (
            f"the pod's own address {seen} as the source, wanted an address of the node; "
            "outgoing NAT is missing (`nft list table inet podnet`)"
        )
    if wanted == asked.NODE and not is_own(seen):
        return f"{seen} as the source, wanted an address of this node; a router on the way translates addresses, too"
    return ""


def _size(answer: Answer) -> list[str]:
    if answer.full is None:
        return [f"the size of packets could not be tried: its MTU ({answer.mtu}) is unusable"]
    failures = []
    if not answer.full:
        limit = ""
        if answer.own_mtu is not None and answer.mtu is not None and answer.own_mtu < answer.mtu:
            limit = f" (the pod's route takes {answer.own_mtu})"
        failures.append(
            f"a packet of {answer.mtu} bytes with DF does not pass, a small one does{limit}; "
            "something on the way has a smaller MTU: lower podnet_mtu or raise the MTU there"
        )
    if answer.over:
        failures.append(
            f"a packet of {(answer.mtu or 0) + 1} bytes with DF passes, wanted none larger than {answer.mtu}; "
            "the pod's interface has a larger MTU than the network: attach the pod anew"
        )
    return failures


def _underlay(answer: Answer, watch_on: str) -> list[str]:
    observed, wanted = answer.observed, answer.question.target.tunnel
    if observed is None:
        return []
    failures = []
    if observed.fragmented:
        failures.append(
            f"full-size packets travel in fragments on {watch_on}; "
            "the underlay has a smaller MTU than its interfaces say: "
            "set podnet_mtu to what it takes less the tunnel's overhead"
        )
    if wanted.type in (asked.LOCAL, asked.PLAIN):
        failures += [f"left {watch_on} in {_told(one)}, wanted no tunnel" for one in observed.encapsulations]
        if wanted.type == asked.LOCAL and observed.plain:
            failures.append(f"left {watch_on} though both ends are on this node; see `ip route get` for the address")
    elif wanted.type == asked.DIRECT:
        failures += [
            f"left {watch_on} in {_told(one)}, wanted no tunnel; the direct route to it is missing"
            for one in observed.encapsulations
        ]
        if not observed.plain and not observed.encapsulations:
            failures.append(_unseen(answer, watch_on, "it there without a tunnel"))
    elif wanted.type != asked.ANY:
        if observed.plain:
            failures.append(
                f"left {watch_on} without a tunnel, wanted {_told_wanted(wanted)}; another route is preferred"
            )
        elif not observed.encapsulations:
            failures.append(_unseen(answer, watch_on, f"{_told_wanted(wanted)} there"))
        failures += [
            f"left {watch_on} in {_told(one)}, wanted {_told_wanted(wanted)}"
            for one in observed.encapsulations
            if not _matches(one, wanted)
        ]
    return failures


def _unseen(answer: Answer, watch_on: str, wanted: str) -> str:
    lost = f"; the capture lost {answer.missed} packets, try again" if answer.missed else ""
    where = "it takes another interface (`ip route get` for the peer's address)"
    return f"not seen on {watch_on}, wanted {wanted}; {where}{lost}"


def _matches(found: Encapsulation, wanted: asked.Tunnel) -> bool:
    return (
        found.type == wanted.type
        and (wanted.vni is None or found.vni == wanted.vni)
        and (wanted.port is None or found.port == wanted.port)
        and (wanted.outer_src is None or found.outer_source == ip_address(wanted.outer_src).packed)
        and (wanted.outer_dst is None or found.outer_destination == ip_address(wanted.outer_dst).packed)
    )


def _told(found: Encapsulation) -> str:
    return _told_wanted(
        asked.Tunnel(
            found.type,
            found.vni,
            str(ip_address(found.outer_source)),
            str(ip_address(found.outer_destination)),
            found.port,
        )
    )


def _told_wanted(tunnel: asked.Tunnel) -> str:
    parts = [tunnel.type]
    if tunnel.vni is not None:
        parts.append(f"VNI {tunnel.vni}")
    if tunnel.outer_src is not None:
        parts.append(f"from {tunnel.outer_src}")
    if tunnel.outer_dst is not None:
        parts.append(f"to {tunnel.outer_dst}")
    if tunnel.port is not None:
        parts.append(f"port {tunnel.port}")
    return " ".join(parts)


def _encapsulation(observed: Observed | None) -> dict[str, Any] | None:
    if observed is None or not observed.encapsulations:
        return None
    first = observed.encapsulations[0]
    return {
        "type": first.type,
        "vni": first.vni,
        "outer_src": str(ip_address(first.outer_source)),
        "outer_dst": str(ip_address(first.outer_destination)),
        "port": first.port,
    }
