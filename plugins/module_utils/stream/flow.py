# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One flow to one address: a greeting that has to be answered, then numbers or bytes, then a farewell.

What precedes the answer to the greeting is not counted, so that the resolution of addresses is no loss, nor is a
receiver that is not there yet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from typing import Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.stream import message

# Linux values that Python's socket module lacks (asm-generic/socket.h).
_SO_SNDBUFFORCE = 32
_SO_MAX_PACING_RATE = 47
# Bytes of TCP that wait in the kernel, which doubles it: 1.6 seconds at the usual rate, while this process waits.
_WAITING = 1 << 20
# Seconds of a transfer that are sent at a time. Left to itself the kernel sends up to 64 KiB at once, at 2 Mbit/s four
# times a second: nothing would arrive for as long as two of these are apart where one has to be sent again.
_BURST = 0.02
_LEAST, _MOST = 1024, 64 << 10  # bytes of a burst
_AGAIN = 0.1  # seconds between greetings
# The datagram never left because a queue of this host was full: its number is used again.
_QUEUE_FULL = (errno.EAGAIN, errno.ENOBUFS)


class StreamError(PodnetError):
    """A stream that cannot begin; the text says which and what to do."""


class Way(NamedTuple):
    """From where to where."""

    netns: str
    sender: str
    target: str
    address: str
    port: int
    run: str

    @property
    def family(self) -> int:
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    def __str__(self) -> str:
        return f"{self.sender} -> {self.target} ({self.address})"


class Numbers:
    """UDP: numbered datagrams."""

    def __init__(self, way: Way, rate: float, size: int) -> None:
        self.way = way
        self.token = os.urandom(8)
        self.sent = 0  # numbers that left, or that the network refused
        self.done = False
        self.stood = 0  # nanoseconds, altogether, of long waits of this process for its turn
        self._refused = 0  # attempts for which a queue of this host was full
        self._errors: dict[str, int] = {}
        self._rate = rate
        self._padding = bytes(max(size - message.HEADER.size, 0))
        self._to = (way.address, way.port)
        self._first = self._last = 0  # nanoseconds, monotonic
        self._pause = 0
        with namespace.inside(way.netns):
            # Not connected: an ICMP error would make the next send fail that has nothing to do with it.
            self.socket = socket.socket(way.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def greet(self, patience: float) -> None:
        """Until the receiver has answered."""
        hello = message.encode_hello(
            message.Hello(message.digest_of(self.way.run), self.token.hex(), self.way.sender, self.way.target)
        )
        limit, refused = time.monotonic() + patience, ""
        while time.monotonic() < limit:
            try:
                self.socket.sendto(message.encode(message.HELLO, self.token, 0, hello), self._to)
            except OSError as error:
                refused = error.strerror or str(error)
            select.select([self.socket], [], [], _AGAIN)
            if self._heard(message.READY) is not None:
                return
        raise _silent(self.way, "UDP", patience, refused)

    def next(self, now: int) -> None:
        """One more number, at `now` nanoseconds."""
        try:
            self.socket.sendto(message.encode(message.DATA, self.token, self.sent, self._padding), self._to)
        except OSError as error:
            if error.errno in _QUEUE_FULL:
                self._refused += 1
                return
            # No route, a filter: to the application that packet is lost.
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            self._errors[name] = self._errors.get(name, 0) + 1
        if self.sent:
            self._pause = max(self._pause, now - self._last)
        else:
            self._first = now
        self._last = now
        self.sent += 1

    def part(self) -> None:
        """Says how many there were, and hears how many have arrived."""
        with contextlib.suppress(OSError):
            self.socket.sendto(message.encode(message.END, self.token, self.sent), self._to)
        arrived = self._heard(message.DONE)
        self.done = arrived is not None and arrived >= self.sent

    def close(self) -> None:
        """Gives the socket back."""
        self.socket.close()

    def result(self) -> dict[str, Any]:
        return {
            **_of(self.way, self.token, "udp"),
            "sent": self.sent,
            "seconds": round((self._last - self._first) / 1e9, 6),
            "wanted_rate": self._rate,
            "pause_ms": round(self._pause / 1e6, 3),
            "stood_ms": round(self.stood / 1e6, 3),
            "queue_full": self._refused,
            "errors": self._errors,
        }

    def _heard(self, kind: int) -> int | None:
        number = None
        while True:
            try:
                datagram = message.decode(self.socket.recv(message.LARGEST))
            except OSError:
                return number
            if datagram is not None and datagram.kind == kind and datagram.token == self.token:
                number = max(number or 0, datagram.number)


class Bytes:
    """TCP: a transfer that never ends by itself, paced by the kernel."""

    def __init__(self, way: Way, rate: float) -> None:
        """:param rate: Mbit/s"""
        self.way = way
        self.token = os.urandom(8)
        self.done = False
        self.pause = 0  # nanoseconds, the longest that this process waited for its turn
        self._rate = rate
        self._chunk = bytes(min(max(int(rate * 1e6 / 8 * _BURST), _LEAST), _MOST))
        self._sent = 0
        self._acknowledged: int | None = None
        self._answer = b""
        self._error = ""
        self._first = self._last = 0
        self._parted = False
        self.socket = socket.socket()

    def greet(self, patience: float) -> None:
        """Connects, and waits until the receiver has answered."""
        hello = message.encode_hello(
            message.Hello(message.digest_of(self.way.run), self.token.hex(), self.way.sender, self.way.target)
        )
        limit, refused = time.monotonic() + patience, ""
        while time.monotonic() < limit:
            self.socket.close()
            with namespace.inside(self.way.netns):
                self.socket = socket.socket(self.way.family, socket.SOCK_STREAM)
            try:
                self.socket.settimeout(max(limit - time.monotonic(), _AGAIN))
                self.socket.connect((self.way.address, self.way.port))
                self.socket.sendall(hello.ljust(message.GREETING))
                if self.socket.recv(len(message.MAGIC), socket.MSG_WAITALL) == message.MAGIC:
                    self._pace()
                    return
                refused = "something else than a receiver of this run answers there"
            except OSError as error:
                refused = error.strerror or str(error)
            time.sleep(_AGAIN)
        raise _silent(self.way, "TCP", patience, refused)

    def pump(self, now: int) -> None:
        """Fills the kernel's buffer, at `now` nanoseconds."""
        if self._error:
            return
        self._first = self._first or now
        self._last = now
        try:
            while True:
                # The end of a record: the kernel puts nothing behind it into the same burst.
                self._sent += self.socket.send(self._chunk, socket.MSG_EOR)
        except BlockingIOError:
            return
        except OSError as error:
            self._error = error.strerror or str(error)

    def part(self) -> None:
        """Says that this was all, and hears how many bytes have arrived."""
        try:
            if not self._parted and not self._error:
                self._parted = True
                self.socket.shutdown(socket.SHUT_WR)
            if not self._error:
                data = self.socket.recv(message.COUNT.size - len(self._answer))
                self._answer += data
                if len(self._answer) == message.COUNT.size:
                    (self._acknowledged,) = message.COUNT.unpack(self._answer)
                elif not data:
                    self._error = "closed by the receiver before the end"
        except BlockingIOError:
            return
        except OSError as error:
            self._error = error.strerror or str(error)
        self.done = bool(self._error) or self._acknowledged is not None

    def close(self) -> None:
        """Gives the socket back."""
        self.socket.close()

    def result(self) -> dict[str, Any]:
        return {
            **_of(self.way, self.token, "tcp"),
            "sent": self._sent,
            "seconds": round((self._last - self._first) / 1e9, 6),
            "wanted_rate": self._rate,
            "pause_ms": round(self.pause / 1e6, 3),
            "acknowledged": self._acknowledged,
            "error": self._error,
        }

    def _pace(self) -> None:
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _WAITING)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, int(self._rate * 1e6 / 8))


def _silent(way: Way, protocol: str, patience: float, refused: str) -> StreamError:
    told = f" ({refused})" if refused else ""
    return StreamError(
        f"{way}: no receiver answered by {protocol} on port {way.port} within {patience:g} s{told}; start the "
        "receivers first, with the same run and port, and see with podnet.fabric.reachability whether the way is open"
    )


def _of(way: Way, token: bytes, protocol: str) -> dict[str, Any]:
    return {
        "token": token.hex(),
        "from": way.sender,
        "to": way.target,
        "address": way.address,
        "family": "ipv6" if way.family == socket.AF_INET6 else "ipv4",
        "protocol": protocol,
    }
