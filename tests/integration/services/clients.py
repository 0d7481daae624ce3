# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clients and servers in the scene: who is answered by whom, and whose address the one who answers sees."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.services.ground import netns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

PATIENCE = 10.0
"""Seconds that what has to come may take."""
GRACE = 0.6
"""Seconds after which it has not come: no packet is sent a second time before a whole second has passed."""

TARGET = "forward"
_SORTS = {4: socket.AF_INET, 6: socket.AF_INET6}
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_LABEL = struct.Struct("!I")
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets, and no port waits


class Attempt(NamedTuple):
    """A connection to be made."""

    client: str
    family: int
    protocol: str
    address: str
    port: int


class Outcome(NamedTuple):
    """What came of it: forward with the backend and the address that it saw, reject, or drop where nothing came."""

    verdict: str
    backend: str = ""
    seen: str = ""


class Clients:
    """Servers in all pods, on the target port of both protocols and families; a context manager."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._servers: dict[socket.socket, tuple[str, str]] = {}
        self._accepted: dict[socket.socket, tuple[str, str]] = {}

    def __enter__(self) -> Self:
        for pod in scene.POD_NODES:
            self.serve(pod, *_KINDS)
        return self

    def serve(self, pod: str, *protocols: str) -> None:
        """Have a pod's servers take connections."""
        with namespace.inside(netns(pod)):
            for family, sort in _SORTS.items():
                for protocol in protocols:
                    server = socket.socket(sort, _KINDS[protocol])
                    server.setblocking(False)
                    # Where one of before has left connections.
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    server.bind((scene.pod_address(pod, family), scene.TARGET))
                    if protocol == "tcp":
                        server.listen(1024)  # connections that come at once
                    self._servers[server] = (pod, protocol)

    def refuse(self, pod: str) -> None:
        """Have a pod take no TCP connection any more; those that stand go on."""
        for server in [each for each, what in self._servers.items() if what == (pod, "tcp")]:
            del self._servers[server]
            server.close()

    def __exit__(self, *_error: object) -> None:
        for each in (*self._servers, *self._accepted):
            each.close()

    def attempt(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """Make all of them at once, each from a port of its own."""
        opened = [self.open(each) for each in attempts]
        try:
            return self.ask(opened)
        finally:
            for connection in opened:
                connection.close()

    def open(self, attempt: Attempt) -> socket.socket:
        """Begin a connection."""
        with namespace.inside(netns(attempt.client)):
            connection = socket.socket(_SORTS[attempt.family], _KINDS[attempt.protocol])
            connection.setblocking(False)
            if attempt.protocol == "tcp":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            connection.connect_ex((attempt.address, attempt.port))
        return connection

    def ask(self, connections: Sequence[socket.socket]) -> list[Outcome]:
        """Send a number over each and wait for what the servers say; they answer with that number."""
        numbers = {connection: next(self._numbers) for connection in connections}
        found: dict[int, Outcome] = {}
        heard: dict[int, tuple[str, str]] = {}
        with selectors.DefaultSelector() as selector:
            for server in (*self._servers, *self._accepted):
                selector.register(server, selectors.EVENT_READ)
            for connection in connections:
                selector.register(connection, selectors.EVENT_WRITE)
            last, limit = time.monotonic(), time.monotonic() + PATIENCE
            while len(found) < len(numbers) and time.monotonic() < limit:
                ready = selector.select(0.05)
                # Whoever was kept from looking for a while looks once more.
                if not ready and time.monotonic() > last + GRACE:
                    break
                for key, _events in ready:
                    last = time.monotonic()
                    each = key.fileobj
                    assert isinstance(each, socket.socket)
                    if each in numbers:
                        self._client(selector, each, numbers[each], found, heard)
                    else:
                        self._server(selector, each, heard)
        return [found.get(number, Outcome("drop")) for number in numbers.values()]

    def _client(
        self,
        selector: selectors.BaseSelector,
        connection: socket.socket,
        number: int,
        found: dict[int, Outcome],
        heard: dict[int, tuple[str, str]],
    ) -> None:
        try:
            if selector.get_key(connection).events == selectors.EVENT_WRITE:
                # Where the node itself sends what its own filter keeps, that is told first; a rejection follows.
                with suppress(PermissionError):
                    connection.send(_LABEL.pack(number))
                selector.modify(connection, selectors.EVENT_READ)
                return
            data = connection.recv(64)
            if data:
                assert _LABEL.unpack(data)[0] == number
                found[number] = Outcome("forward", *heard[number])
            else:
                found[number] = Outcome("closed")
        except OSError as error:
            found[number] = Outcome("reject" if isinstance(error, ConnectionRefusedError) else str(error))
        selector.unregister(connection)

    def _server(
        self, selector: selectors.BaseSelector, server: socket.socket, heard: dict[int, tuple[str, str]]
    ) -> None:
        try:
            if server in self._accepted:
                pod, seen = self._accepted[server]
                data = server.recv(64)
                if not data:
                    raise ConnectionResetError
                server.send(data)
            else:
                pod, protocol = self._servers[server]
                if protocol == "tcp":
                    accepted, peer = server.accept()
                    accepted.setblocking(False)
                    self._accepted[accepted] = (pod, peer[0])
                    selector.register(accepted, selectors.EVENT_READ)
                    return
                data, peer = server.recvfrom(64)
                seen = peer[0]
                # First what was heard: the client is told in the same moment.
                heard[_LABEL.unpack(data)[0]] = (pod, seen)
                server.sendto(data, peer)
                return
            heard[_LABEL.unpack(data)[0]] = (pod, seen)
        except BlockingIOError:
            return
        except OSError:
            if server in self._accepted:
                selector.unregister(server)
                del self._accepted[server]
                server.close()
