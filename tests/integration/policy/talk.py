# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of pods that say something to each other."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from tests.integration.policy.conftest import Ground


def arrives(from_: socket.socket, to: socket.socket, there: tuple[str, int] | None = None) -> bool:
    """Whether a datagram, or some bytes of a connection, get from one socket to another."""
    word = struct.pack("=d", time.monotonic())
    if there:
        from_.sendto(word, there)
    else:
        from_.send(word)
    limit = time.monotonic() + 0.5
    try:
        while time.monotonic() < limit:
            if word in to.recv(2048):
                return True
    except TimeoutError:
        pass
    return False


def connected(ground: Ground, client: socket.socket, server: socket.socket) -> socket.socket | None:
    """The server's end of a new connection; None when there is none."""
    server.listen()
    try:
        client.connect(server.getsockname())
    except TimeoutError:
        return None
    accepted, _there = server.accept()
    accepted.settimeout(0.5)
    return accepted
