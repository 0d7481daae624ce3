# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom, by packets: every pod begins a flow of its own to every pod, on every port of every protocol.

TCP reaches when the connection stands, so replies are proven as well; UDP and SCTP when the packet arrives. Where the
kernel has no SCTP, its first packet (INIT, RFC 9260) goes over a raw socket: a packet filter sees the same.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IPPROTO_SCTP = 132
NUMBERS = (80, 81)
PATIENCE = 3.0
"""Seconds that a packet which may arrive may take."""
GRACE = 0.05
"""Seconds after the last that may arrive, in which one that may not would have."""

_LABEL = struct.Struct("!IHH")
_LABEL_BYTES = struct.calcsize("!IHH")
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets

Cell = tuple[str, int, int, int]
"""Protocol, port, places of the source and of the destination."""


class Pod(NamedTuple):
    """Where a pod is and what listens in it."""

    netns: str
    address: str
    servers: Mapping[tuple[str, int], socket.socket]
    raw: socket.socket


class Prober:
    """Pods by their places, on one family."""

    def __init__(self, family: int, pods: Sequence[tuple[str, str]]) -> None:
        self._sort = socket.AF_INET if family == 4 else socket.AF_INET6
        self._pods = [self._serve(netns, address) for netns, address in pods]
        self._round = 0

    def close(self) -> None:
        """Close every socket."""
        for pod in self._pods:
            for server in (*pod.servers.values(), pod.raw):
                server.close()

    def reached(self, expected: Mapping[Cell, bool]) -> set[Cell]:
        """The cells that were reached of those asked for; returns early when all that should be were."""
        self._round += 1
        arrived: set[Cell] = set()
        pending = self._send(list(expected))
        try:
            wanted = {cell for cell, reaches in expected.items() if reaches}
            limit = time.monotonic() + PATIENCE
            while not wanted <= arrived and time.monotonic() < limit:
                self._listen(arrived, pending, 0.05)
            end = time.monotonic() + GRACE
            while time.monotonic() < end:
                self._listen(arrived, pending, 0.01)
        finally:
            for connection in pending:
                connection.close()
        return arrived & set(expected)

    def _serve(self, netns: str, address: str) -> Pod:
        servers = {}
        with namespace.inside(netns):
            for number in NUMBERS:
                tcp = socket.socket(self._sort, socket.SOCK_STREAM)
                tcp.bind((address, number))
                tcp.listen(256)
                udp = socket.socket(self._sort, socket.SOCK_DGRAM)
                udp.bind((address, number))
                servers.update({("tcp", number): tcp, ("udp", number): udp})
            raw = socket.socket(self._sort, socket.SOCK_RAW, IPPROTO_SCTP)
        for server in (*servers.values(), raw):
            server.setblocking(False)
        return Pod(netns, address, servers, raw)

    def _send(self, cells: Sequence[Cell]) -> dict[socket.socket, Cell]:
        """Begin every flow; the TCP connections that are on their way."""
        pending: dict[socket.socket, Cell] = {}
        for place, pod in enumerate(self._pods):
            own = [cell for cell in cells if cell[2] == place]
            if not own:
                continue
            with namespace.inside(pod.netns), contextlib.ExitStack() as opened:
                udp = opened.enter_context(socket.socket(self._sort, socket.SOCK_DGRAM))
                for cell in own:
                    protocol, number, _place, to = cell
                    there = (self._pods[to].address, number)
                    if protocol == "tcp":
                        connection = socket.socket(self._sort, socket.SOCK_STREAM)
                        connection.setblocking(False)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                        connection.connect_ex(there)
                        pending[connection] = cell
                    elif protocol == "udp":
                        udp.sendto(self._label(place, to), there)
                    else:
                        pod.raw.sendto(self._init(number, place, to), (there[0], 0))
        return pending

    def _label(self, source: int, destination: int) -> bytes:
        return _LABEL.pack(self._round, source, destination)

    def _init(self, number: int, source: int, destination: int) -> bytes:
        """An SCTP packet with an INIT chunk, from a port that no flow has had; its checksum is nobody's concern."""
        port = 1024 + (self._round * 131 + source * 11 + destination) % 60000
        chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
        return struct.pack("!HHII", port, number, 0, 0) + chunk + self._label(source, destination)

    def _listen(self, arrived: set[Cell], pending: dict[socket.socket, Cell], seconds: float) -> None:
        poll = select.poll()
        known: dict[int, tuple[str, int, int, socket.socket]] = {}
        for place, pod in enumerate(self._pods):
            for (protocol, number), server in pod.servers.items():
                known[server.fileno()] = (protocol, number, place, server)
            known[pod.raw.fileno()] = ("sctp", 0, place, pod.raw)
        for number in known:
            poll.register(number, select.POLLIN)
        waiting = {connection.fileno(): connection for connection in pending if pending[connection] not in arrived}
        for number in waiting:
            poll.register(number, select.POLLOUT)
        for ready, _events in poll.poll(seconds * 1000):
            if ready in waiting:
                connection = waiting[ready]
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    arrived.add(pending[connection])
                else:  # refused: it did not get through
                    del pending[connection]
                    connection.close()
            else:
                self._take(arrived, *known[ready])

    def _take(self, arrived: set[Cell], protocol: str, number: int, place: int, server: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                if protocol == "tcp":
                    server.accept()[0].close()
                    continue
                data = server.recv(2048)
                port = number
                if protocol == "sctp":
                    # An IPv4 raw socket gives the header, too.
                    packet = data[(data[0] & 15) * 4 :] if self._sort == socket.AF_INET else data
                    port, data = struct.unpack_from("!H", packet, 2)[0], packet[len(packet) - _LABEL_BYTES :]
                run, source, destination = _LABEL.unpack(data)
                if run == self._round and destination == place:
                    arrived.add((protocol, port, source, place))
