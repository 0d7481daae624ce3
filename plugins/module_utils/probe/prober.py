# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks all questions at once out of one process and one poll loop, with the underlay watched meanwhile."""

from __future__ import annotations

import selectors
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.probe import capture, message
from ansible_collections.podnet.fabric.plugins.module_utils.probe.datagram import Asking
from ansible_collections.podnet.fabric.plugins.module_utils.probe.question import WIREGUARD
from ansible_collections.podnet.fabric.plugins.module_utils.probe.stream import Connecting

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.probe.decode import Encapsulation
    from ansible_collections.podnet.fabric.plugins.module_utils.probe.question import Question

# Questions asked at once: two sockets each, below the usual limit of 1,024 open files.
_AT_ONCE = 400
# Seconds from one question to the next: a crowd of packets would fill queues and be lost.
_APART = 0.001
# An echo of the last full-size packet may still be on the underlay when its short reply is here.
_LINGER = 0.05
# Where packets to one target were seen, at most so many kinds kept.
Pair = tuple[bytes, bytes]


class Observed(NamedTuple):
    """What the underlay showed of packets between a pod and a target."""

    encapsulations: tuple[Encapsulation, ...] = ()  # of packets that left
    plain: bool = False  # left without a tunnel
    fragmented: bool = False  # in either direction


class Answer(NamedTuple):
    """What came of a question."""

    question: Question
    mtu: int | None  # of a full-size packet
    own_mtu: int | None  # what the pod's route can take
    udp: bool
    tcp: bool
    udp_error: str
    tcp_error: str
    source: str  # the pod's address used
    udp_source: str  # as the receivers saw it, empty without an answer
    tcp_source: str
    rtt: float | None  # seconds
    full: bool | None  # passed; None: not asked
    over: bool | None
    observed: Observed | None  # None: the underlay was not watched
    missed: int  # probes that the capture had to drop


def probe(
    questions: Sequence[Question],
    *,
    run: str,
    timeout: float,
    mtu: int | None = None,
    watch_on: str | None = None,
) -> list[Answer]:
    """Asks and waits, for at most `timeout` seconds, and as long again for sizes, per 400 questions.

    :param run: what the responders were started with
    :param mtu: bytes of a full-size packet with its IP header; None takes each pod's own
    :param watch_on: name of the underlay interface; None does without
    """
    digest = message.digest_of(run)
    answers: list[Answer] = []
    for first in range(0, len(questions), _AT_ONCE):
        some = questions[first : first + _AT_ONCE]
        sealed = any(question.target.tunnel.type == WIREGUARD for question in some)
        watcher = None if watch_on is None else capture.watch(watch_on, sealed)
        try:
            answers += _ask(some, digest, timeout, mtu, watcher)
        finally:
            if watcher is not None:
                watcher.close()
    return answers


def _ask(
    questions: Sequence[Question], digest: bytes, timeout: float, mtu: int | None, watcher: socket.socket | None
) -> list[Answer]:
    now = time.monotonic()
    starts = [now + number * _APART for number in range(len(questions))]
    datagrams = [Asking(question, mtu, digest, start, start + timeout) for question, start in zip(questions, starts)]
    streams = [Connecting(question, digest, start, start + timeout) for question, start in zip(questions, starts)]
    exchanges: list[Asking | Connecting] = [*datagrams, *streams]
    seen: list[capture.Seen] = []
    try:
        _run(exchanges, watcher, seen)
    finally:
        for exchange in exchanges:
            exchange.close()
    observed = None
    missed = 0
    if watcher is not None:
        time.sleep(_LINGER)
        seen += capture.drain(watcher)
        missed = capture.lost(watcher)
        observed = summarise(seen)
    return [_answer(datagram, stream, observed, missed) for datagram, stream in zip(datagrams, streams)]


def _run(exchanges: Sequence[Asking | Connecting], watcher: socket.socket | None, seen: list[capture.Seen]) -> None:
    """Until every exchange is done."""
    with selectors.PollSelector() as selector:
        if watcher is not None:
            selector.register(watcher, selectors.EVENT_READ)
        pending = list(exchanges)
        registered: dict[int, tuple[socket.socket, int]] = {}  # exchange: its socket and what it waits for
        while pending:
            now = time.monotonic()
            for exchange in pending:
                exchange.tick(now)
            pending = [exchange for exchange in pending if not exchange.done]
            _register(selector, registered, pending)
            wait = min((exchange.due for exchange in pending), default=now) - time.monotonic()
            for key, _events in selector.select(max(wait, 0.0)) if pending else ():
                if key.fileobj is watcher and watcher is not None:
                    seen += capture.drain(watcher)
                elif isinstance(key.data, Asking):
                    key.data.receive(time.monotonic())
                else:
                    key.data.proceed(time.monotonic())


def _register(
    selector: selectors.BaseSelector,
    registered: dict[int, tuple[socket.socket, int]],
    pending: Sequence[Asking | Connecting],
) -> None:
    """Brings the selector up to date: sockets come, go and change what they wait for."""
    wanted = {}
    for exchange in pending:
        if exchange.socket is not None:
            writing = isinstance(exchange, Connecting) and exchange.writing
            wanted[id(exchange)] = (
                exchange.socket,
                selectors.EVENT_WRITE if writing else selectors.EVENT_READ,
                exchange,
            )
    for mark, (held, waits_for) in list(registered.items()):
        if mark not in wanted or wanted[mark][:2] != (held, waits_for):
            # By its object: a closed socket has no number any more, and another one may have it.
            selector.unregister(held)
            del registered[mark]
    for mark, (fresh, waits_for, exchange) in wanted.items():
        if mark not in registered:
            selector.register(fresh, waits_for, exchange)
            registered[mark] = (fresh, waits_for)


def summarise(seen: Sequence[capture.Seen]) -> dict[Pair, Observed]:
    """What was seen between any two addresses, under (asker, asked)."""
    outside: dict[Pair, list[Encapsulation]] = {}
    plain: set[Pair] = set()
    fragmented: set[Pair] = set()
    for outgoing, what in seen:
        pair = (what.source, what.destination)
        if what.fragmented:
            fragmented |= {pair, pair[::-1]}
        if not outgoing:
            continue
        if what.encapsulation is None:
            plain.add(pair)
        elif what.encapsulation not in outside.setdefault(pair, []):
            outside[pair].append(what.encapsulation)
    return {
        pair: Observed(tuple(outside.get(pair, ())), pair in plain, pair in fragmented)
        for pair in {*outside, *plain, *fragmented}
    }


def _sealed(question: Question, observed: dict[Pair, Observed]) -> list[Observed]:
    """What WireGuard sent to the target's node meanwhile; that the probes were in it follows from their being answered
    and not being seen outside it.
    """
    wanted = question.target.tunnel
    if wanted.type != WIREGUARD:
        return []
    ends = (
        wanted.outer_src and ip_address(wanted.outer_src).packed,
        wanted.outer_dst and ip_address(wanted.outer_dst).packed,
    )
    return [
        found
        for pair, found in observed.items()
        if any(one.type == WIREGUARD for one in found.encapsulations)
        and all(end is None or end == seen for end, seen in zip(ends, pair))
    ]


def _united(parts: Sequence[Observed]) -> Observed:
    return Observed(
        tuple(one for part in parts for one in part.encapsulations),
        any(part.plain for part in parts),
        any(part.fragmented for part in parts),
    )


def _answer(datagram: Asking, stream: Connecting, observed: dict[Pair, Observed] | None, missed: int) -> Answer:
    question = datagram.question
    source = datagram.source or stream.source
    udp_source = datagram.said.source if datagram.said else ""
    seen = None
    if observed is not None:
        # With NAT the packets were on the underlay under the address that the receiver saw.
        sources = {ip_address(text).packed for text in {source, udp_source, *question.pod.addresses} if text}
        target = ip_address(question.target.address).packed
        seen = _united(
            [
                *(observed[one, target] for one in sorted(sources) if (one, target) in observed),
                *_sealed(question, observed),
            ]
        )
    return Answer(
        question=question,
        mtu=datagram.mtu,
        own_mtu=datagram.own_mtu,
        udp=datagram.said is not None,
        tcp=stream.said is not None,
        udp_error=datagram.error,
        tcp_error=stream.error,
        source=source,
        udp_source=udp_source,
        tcp_source=stream.said.source if stream.said else "",
        rtt=datagram.rtt,
        full=datagram.full,
        over=datagram.over,
        observed=seen,
        missed=missed,
    )
