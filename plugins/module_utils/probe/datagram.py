# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pod asks one target by UDP: is it there, does the full size pass, does one byte more.

Three steps, each repeated a few times because a first packet may be lost to address resolution:
small until it is answered, then full, then over. Only a step that was answered leads to the next one.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.probe import message, namespace, responder

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.probe.question import Question

_IP_MTU = 14  # linux/in.h
_IPV6_MTU = 24  # linux/in6.h
HEADERS: dict[int, int] = {socket.AF_INET: 20 + 8, socket.AF_INET6: 40 + 8}

_PAUSES = (0.1, 0.2, 0.4, 0.8)  # seconds between repetitions, the last one from then on
# Seconds without an answer after which one byte more counts as blocked.
_OVER_FOR = 0.8

_NEXT_STEP = {message.SMALL: message.FULL, message.FULL: message.OVER}


class Asking:
    """The exchange with one target as far as it has come."""

    def __init__(self, question: Question, mtu: int | None, digest: bytes, now: float, deadline: float) -> None:
        """:param mtu: of a full-size packet; None takes the MTU that the pod's own route says"""
        self.question = question
        self.mtu = mtu
        self.own_mtu: int | None = None  # what the pod's route to the target can take, as the kernel knows it now
        self.source = ""  # the pod's address that the kernel chose
        self.said: message.Reply | None = None
        self.rtt: float | None = None
        self.full: bool | None = None  # passed; None: not asked
        self.over: bool | None = None
        self.error = ""  # the last thing that the kernel said against it
        self.done = False
        self.due = now
        self.socket: socket.socket | None = None
        self._digest = digest
        self._patience = deadline - now
        self._step = message.SMALL
        self._step_end = deadline
        self._sent = 0
        self._asked: dict[bytes, tuple[int, int]] = {}  # nonce: step, nanoseconds since the epoch

    def tick(self, now: float) -> None:
        """Sends again what is due, or gives the step up."""
        if self.done or now < self.due:
            return
        if now >= self._step_end:
            self._give_up()
            return
        self.socket = self.socket or self._open()
        if self.socket is not None:
            self._send(self.socket)
        if not self.done:
            self._wait(now)

    def receive(self, now: float) -> None:
        """Takes in what has arrived."""
        while self.socket is not None and not self.done:
            try:
                data, ancillary, _flags, _source = self.socket.recvmsg(message.LARGEST, responder.ANCILLARY)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error for an earlier packet
                self._refused(error)
                continue
            reply = message.decode_reply(data)
            asked = None if reply is None else self._asked.get(reply.nonce)
            if reply is not None and asked is not None and not reply.echo:
                self._answered(reply, asked, responder.arrival(ancillary), now)

    def close(self) -> None:
        """Ends the exchange."""
        self.done = True
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _open(self) -> socket.socket | None:
        try:
            with namespace.inside(self.question.pod.netns):
                opened = socket.socket(self.question.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                responder.never_fragment(opened)
                opened.setsockopt(socket.SOL_SOCKET, responder.SO_TIMESTAMPNS, 1)
                opened.connect((self.question.target.address, self.question.target.port))
                self.source = opened.getsockname()[0]
            except OSError:
                opened.close()
                raise
        except OSError as error:  # no route; or an IPv6 address that is still tentative: another try follows
            self._refused(error)
            return None
        self.own_mtu = self._path_mtu(opened)
        if self.mtu is None:
            self.mtu = self.own_mtu
        return opened

    def _path_mtu(self, opened: socket.socket) -> int | None:
        level, option = (
            (socket.IPPROTO_IP, _IP_MTU) if self.question.family == socket.AF_INET else (socket.IPPROTO_IPV6, _IPV6_MTU)
        )
        try:
            return opened.getsockopt(level, option)
        except OSError:
            return None

    def _send(self, opened: socket.socket) -> None:
        nonce = os.urandom(8)
        data = message.encode_request(self._step, nonce, self._digest, self._size())
        self._asked[nonce] = (self._step, time.time_ns())
        # The first send after an ICMP error reports that error and sends nothing, so a second one follows.
        for attempt in range(2):
            try:
                opened.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                self._refused(error)
                # Twice running: it is the pod's own interface that does not take this size.
                if attempt and error.errno == errno.EMSGSIZE and self._step == message.OVER:
                    self.over = False
                    self.close()
            else:
                return

    def _size(self) -> int:
        if self._step == message.SMALL or self.mtu is None:
            return message.SMALLEST
        return self.mtu - HEADERS[self.question.family] + (self._step == message.OVER)

    def _refused(self, error: OSError) -> None:
        self.error = error.strerror or str(error)
        if error.errno == errno.EMSGSIZE and self.socket is not None:
            self.own_mtu = self._path_mtu(self.socket)

    def _wait(self, now: float) -> None:
        # Not all at the same moment again: what was lost in a crowd would be lost in the next one.
        pause = _PAUSES[min(self._sent, len(_PAUSES) - 1)] * random.uniform(0.75, 1.25)
        self._sent += 1
        self.due = min(now + pause, self._step_end)

    def _answered(self, reply: message.Reply, asked: tuple[int, int], arrived: int, now: float) -> None:
        step, sent = asked
        # On the network only: without the time that both processes waited for their turn.
        rtt = max((arrived - sent) / 1e9 - reply.held / 1e6, 0.0)
        self.rtt = rtt if self.rtt is None else min(rtt, self.rtt)
        self.said = self.said or reply
        if step == message.FULL:
            self.full = True
        elif step == message.OVER:
            self.over = True
        if step == self._step:
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        following = _NEXT_STEP.get(self._step)
        if following is None or self.mtu is None or self.mtu - HEADERS[self.question.family] < message.SMALLEST:
            self.close()
            return
        self._step, self._sent, self.due = following, 0, now
        self._step_end = now + (self._patience if following == message.FULL else _OVER_FOR)

    def _give_up(self) -> None:
        if self._step == message.FULL:
            self.full = False
        elif self._step == message.OVER:
            self.over = False
        self.close()
