# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiving end: counts which numbers arrived, and for how long nothing did.

Times are the kernel's, of the packet's arrival, so that it does not matter when this process gets its turn: it looks
every few milliseconds and takes in all that has come, which keeps a thousand packets a second cheap.

It goes before all other processes; when it does not get its turn all the same, the machine itself stands still (a guest
whose host is busy). That is not the network's doing, so the time is told, and is no part of a stall that it falls into.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.probe import responder
from ansible_collections.podnet.fabric.plugins.module_utils.stream import message
from ansible_collections.podnet.fabric.plugins.module_utils.stream.orders import STANDSTILL, before_others
from ansible_collections.podnet.fabric.plugins.module_utils.stream.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.stream.orders import Orders

SO_RXQ_OVFL = 40  # asm-generic/socket.h; the control message that it brings has the same number
_BUFFER = 8 << 20  # bytes: several seconds of a stream
_PAUSE = 0.005  # seconds in which packets gather
_IDLE = 0.5  # seconds until it looks at its orders when nothing comes
_AT_ONCE = 64 << 10  # bytes of TCP between two looks at the time
_MOST_AT_ONCE = 50_000  # datagrams before others have their turn: more than the buffer holds
_MOST_STILL = 1000  # of which it is known when they were: those of at least 25 seconds
_MOST_HOLES = 1000  # reported, of a flow
_ANCILLARY = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(4) + responder.ANCILLARY
FAMILY: dict[int, str] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}


class Standstills:
    """When the machine stood still, nanoseconds since the epoch."""

    def __init__(self) -> None:
        self.longest = 0
        self._latest: deque[tuple[int, int]] = deque(maxlen=_MOST_STILL)

    def add(self, begin: int, end: int) -> None:
        """One more, later than all others."""
        self.longest = max(self.longest, end - begin)
        self._latest.append((begin, end))

    def within(self, begin: int, end: int) -> int:
        """For how long it stood still in that time."""
        stood = 0
        for began, ended in reversed(self._latest):
            if ended <= begin:
                break
            stood += max(min(ended, end) - max(began, begin), 0)
        return stood


class Heard:
    """A flow of datagrams as far as it has come."""

    def __init__(self, hello: message.Hello, family: int) -> None:
        self.tally = Tally()
        self.told: int | None = None  # how many the sender says there were
        self._hello = hello
        self._family = FAMILY[family]
        self._last = 0  # arrival, nanoseconds since the epoch
        self._gap = 0
        self._gap_before = 0  # number of the packet that ended it

    def take(self, number: int, arrived: int) -> None:
        """A numbered datagram."""
        if self._last and arrived - self._last > self._gap:
            self._gap, self._gap_before = arrived - self._last, number
        self._last = max(arrived, self._last)
        self.tally.add(number)

    def result(self, overflown: int) -> dict[str, Any]:
        holes = self.tally.holes()
        return {
            **_of(self._hello, self._family, "udp"),
            "received": self.tally.received,
            "expected": self.tally.expected,
            "missing": self.tally.missing,
            "holes": [list(hole) for hole in holes[:_MOST_HOLES]],
            "all_holes": len(holes) <= _MOST_HOLES,
            "duplicates": self.tally.duplicates,
            "reordered": self.tally.reordered,
            "gap_ms": round(self._gap / 1e6, 3),
            "gap_before": self._gap_before,
            "told": self.told,
            "overflown": overflown,
        }


class Transfer:
    """A TCP connection as far as it has come."""

    def __init__(self, connection: socket.socket, still: Standstills) -> None:
        self.socket = connection
        self._family = FAMILY[connection.family]
        self._still = still
        self.greeted = False
        self.over = False
        self.hello = message.Hello("", "", "", "")
        self._begun = b""
        self._bytes = 0
        self._last = 0  # nanoseconds since the epoch of the last progress
        self._stall = 0
        self._error = ""

    def read(self, run: str) -> None:
        """Takes in what there is."""
        try:
            while not self.over:
                wanted = _AT_ONCE if self.greeted else message.GREETING - len(self._begun)
                data, ancillary, _flags, _source = self.socket.recvmsg(wanted, _ANCILLARY)
                if not data:
                    self._finish()
                elif self.greeted:
                    self._bytes += len(data)
                    self._progress(responder.arrival(ancillary))
                else:
                    self._greet(data, run)
        except BlockingIOError:
            return
        except OSError as error:
            self._progress(time.time_ns())
            self._error, self.over = error.strerror or str(error), True

    def result(self) -> dict[str, Any]:
        open_stall = 0 if self.over else self._since(time.time_ns())
        return {
            **_of(self.hello, self._family, "tcp"),
            "received": self._bytes,
            "stall_ms": round(max(self._stall, open_stall) / 1e6, 3),
            "standstill_ms": round(self._still.longest / 1e6, 3),
            "finished": self.over and not self._error,
            "error": self._error,
        }

    def _greet(self, data: bytes, run: str) -> None:
        self._begun += data
        if len(self._begun) < message.GREETING:
            return
        hello = message.decode_hello(self._begun)
        if hello is None or hello.run != run:
            self.over = True
            return
        self.hello, self.greeted = hello, True
        self.socket.send(message.MAGIC)

    def _finish(self) -> None:
        self.over = True
        if self.greeted:
            self.socket.send(message.COUNT.pack(self._bytes))
            # The sender may have heard the count and closed before this process gets its next turn.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def _progress(self, when: int) -> None:
        self._stall = max(self._stall, self._since(when))
        self._last = max(when, self._last)

    def _since(self, when: int) -> int:
        """Nanoseconds from the last progress on. The sender begins when it likes, so there is none before the first."""
        if not self._last:
            return 0
        return when - self._last - self._still.within(self._last, when)


class Receiver:
    """All that arrives at one port."""

    def __init__(self, listeners: Sequence[socket.socket], run: str) -> None:
        self._listeners = listeners
        self._run = message.digest_of(run)
        self._heard: dict[bytes, tuple[Heard, socket.socket]] = {}
        self._transfers: list[Transfer] = []
        self._overflown: dict[socket.socket, int] = {}
        self._still = Standstills()
        for listener in listeners:
            # A TCP connection inherits its listener's window. A small one would close, and the transfer stall, while
            # this process waits for its turn.
            listener.setsockopt(socket.SOL_SOCKET, responder.SO_RCVBUFFORCE, _BUFFER)
            if listener.type == socket.SOCK_DGRAM:
                listener.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)

    def serve(self, orders: Orders) -> None:
        """Until the time is up or it is told to stop."""
        before_others()
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                selector.register(listener, selectors.EVENT_READ, None)
            while not orders.over(time.monotonic()):
                if orders.asked():
                    self._drain()  # what has arrived and was not looked at yet is not lost
                    orders.answer(self.result())
                begun = time.monotonic_ns()
                active = any(not transfer.over for transfer in self._transfers)
                # While a transfer is on, turns come at a fixed pace, or a late one could not be told.
                for key, _events in selector.select(0 if active else _IDLE):
                    self._ready(selector, key)
                time.sleep(_PAUSE)
                if active:
                    self._woken(time.monotonic_ns() - begun)
        self._drain()

    def result(self) -> list[dict[str, Any]]:
        """What has arrived, flow by flow."""
        heard = [flow.result(self._overflown.get(source, 0)) for flow, source in self._heard.values()]
        return heard + [transfer.result() for transfer in self._transfers if transfer.greeted]

    def _woken(self, passed: int) -> None:
        """A turn is over, after so many nanoseconds."""
        late = passed - int(_PAUSE * 1e9)
        if late > STANDSTILL:
            now = time.time_ns()
            self._still.add(now - late, now)

    def _ready(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        transfer: Transfer | None = key.data
        if transfer is not None:
            transfer.read(self._run)
            if transfer.over:
                selector.unregister(transfer.socket)
                transfer.socket.close()
            return
        for listener in self._listeners:
            if listener is key.fileobj and listener.type == socket.SOCK_DGRAM:
                self._datagrams(listener)
            elif listener is key.fileobj:
                self._accept(selector, listener)

    def _drain(self) -> None:
        for listener in self._listeners:
            if listener.type == socket.SOCK_DGRAM:
                self._datagrams(listener)
        for transfer in self._transfers:
            if not transfer.over:
                transfer.read(self._run)

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        try:
            connection, _source = listener.accept()
        except OSError:  # gone again before it was accepted
            return
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, responder.SO_TIMESTAMPNS, 1)
        transfer = Transfer(connection, self._still)
        self._transfers.append(transfer)
        selector.register(connection, selectors.EVENT_READ, transfer)

    def _datagrams(self, udp: socket.socket) -> None:
        for _number in range(_MOST_AT_ONCE):
            try:
                data, ancillary, _flags, source = udp.recvmsg(message.LARGEST, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for an earlier answer
                continue
            datagram = message.decode(data)
            if datagram is None:
                continue
            known = self._heard.get(datagram.token)
            if datagram.kind == message.DATA and known is not None:
                known[0].take(datagram.number, self._arrival(udp, ancillary))
                continue
            answer = self._answer(datagram, udp)
            if answer is not None:
                # No route back: the sender asks again.
                with contextlib.suppress(OSError):
                    udp.sendmsg([answer], responder.from_where_it_was_asked(ancillary), 0, source)

    def _answer(self, datagram: message.Datagram, udp: socket.socket) -> bytes | None:
        known = self._heard.get(datagram.token)
        if datagram.kind == message.HELLO:
            hello = message.decode_hello(datagram.rest)
            if hello is None or hello.run != self._run:
                return None
            if known is None:
                self._heard[datagram.token] = (Heard(hello, udp.family), udp)
            return message.encode(message.READY, datagram.token)
        if datagram.kind == message.END and known is not None:
            known[0].told = datagram.number
            return message.encode(message.DONE, datagram.token, known[0].tally.received)
        return None

    def _arrival(self, udp: socket.socket, ancillary: Sequence[tuple[int, int, bytes]]) -> int:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                self._overflown[udp] = struct.unpack("@I", data[:4])[0]
        return responder.arrival(ancillary)


def _of(hello: message.Hello, family: str, protocol: str) -> dict[str, Any]:
    return {
        "token": hello.token,
        "from": hello.sender,
        "to": hello.target,
        "family": family,
        "protocol": protocol,
    }
