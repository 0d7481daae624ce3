# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pod asks one target by TCP: does a connection come about, and from whom does the receiver think it comes."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.probe import message, namespace

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.probe.question import Question

_PAUSE = 0.3  # seconds before another try after a refusal
_UNDER_WAY = (0, errno.EINPROGRESS)


class Connecting:
    """One connection as far as it has come."""

    def __init__(self, question: Question, digest: bytes, now: float, deadline: float) -> None:
        self.question = question
        self.source = ""
        self.said: message.Reply | None = None
        self.error = ""
        self.done = False
        self.due = now
        self.socket: socket.socket | None = None
        self.writing = True  # waits to be connected; afterwards to be answered
        self._nonce = os.urandom(8)
        self._request = message.encode_request(message.SMALL, self._nonce, digest)
        self._deadline = deadline

    def tick(self, now: float) -> None:
        """Connects when it is time to, gives up when it is too late."""
        if self.done or now < self.due:
            return
        if now >= self._deadline:
            self.error = self.error or "no answer"
            self.close()
            return
        if self.socket is None:
            self._open(now)

    def proceed(self, now: float) -> None:
        """The socket is ready for what was waited for."""
        if self.socket is None:
            return
        try:
            if self.writing:
                self._connected(self.socket, now)
                return
            reply = message.decode_reply(self.socket.recv(message.LARGEST))
        except BlockingIOError:
            return
        except OSError as error:
            self._again(now, error.strerror or str(error))
            return
        if reply is None or reply.nonce != self._nonce:
            self._again(now, "something else than a responder answers there")
            return
        self.said = reply
        self.close()

    def close(self) -> None:
        """Ends the exchange."""
        self.done = True
        self._drop()

    def _open(self, now: float) -> None:
        try:
            with namespace.inside(self.question.pod.netns):
                self.socket = socket.socket(self.question.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            code = self.socket.connect_ex((self.question.target.address, self.question.target.port))
        except OSError as error:
            self._again(now, error.strerror or str(error))
            return
        if code not in _UNDER_WAY:
            self._again(now, os.strerror(code))
            return
        self.writing = True
        self.due = self._deadline

    def _connected(self, opened: socket.socket, now: float) -> None:
        code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._again(now, os.strerror(code))
            return
        self.source = opened.getsockname()[0]
        opened.send(self._request)
        self.writing = False

    def _again(self, now: float, why: str) -> None:
        self.error = why
        self._drop()
        self.due = min(now + _PAUSE, self._deadline)

    def _drop(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
