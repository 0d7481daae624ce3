# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic between two network namespaces in short slices: one TCP stream, new connections, round trips.

The answering side is a process for each sort of traffic, on one CPU; the asking side is the caller, on another one.
What is timed begins and ends at the asking side: a transfer is over when the other side has said that all has arrived.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSFER, CONNECTIONS, ECHO = 5001, 5002, 5003
_PIECE = 256 << 10  # bytes of one send
_LENGTH = struct.Struct("!Q")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: ends without TIME_WAIT, of which there would be too many


class Peer(NamedTuple):
    """The answering side and the asking side's open sockets."""

    servers: list[int]
    netns: str
    address: str
    stream: socket.socket
    echo: socket.socket


def open_peer(client: str, server: str, address: str, cpu: int) -> Peer:
    """Starts the answering side in namespace `server` and connects to it from namespace `client`."""
    servers = [_serve(server, address, port, life, cpu) for port, life in _LIVES.items()]
    with namespace.inside(client):
        stream = _connected(address, TRANSFER)
        echo = socket.socket(_family(address), socket.SOCK_DGRAM)
    echo.connect((address, ECHO))
    echo.settimeout(2)
    return Peer(servers, client, address, stream, echo)


def open_connections(client: str, server: str, asked: str, bound: str, cpu: int) -> Peer:
    """The same for new connections alone, which are asked for at another address than that of the answering side."""
    servers = [_serve(server, bound, CONNECTIONS, _take_connections, cpu)]
    return Peer(servers, client, asked, socket.socket(), socket.socket())


def close_peer(peer: Peer) -> None:
    """Ends the processes and the sockets."""
    for pid in peer.servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)
    peer.stream.close()
    peer.echo.close()


def transfer(peer: Peer, size: int) -> float:
    """Bytes per second of one TCP stream, over `size` bytes."""
    piece = memoryview(bytes(_PIECE))
    begin = time.perf_counter()
    peer.stream.sendall(_LENGTH.pack(size))
    for sent in range(0, size, _PIECE):
        peer.stream.sendall(piece[: size - sent])
    if peer.stream.recv(1) != b".":
        raise SystemExit("the transfer broke")
    return size / (time.perf_counter() - begin)


def connections(peer: Peer, count: int) -> float:
    """New connections per second, one after the other, each with a byte there and back."""
    with namespace.inside(peer.netns):
        begin = time.perf_counter()
        for _number in range(count):
            with socket.socket(_family(peer.address), socket.SOCK_STREAM) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.connect((peer.address, CONNECTIONS))
                one.send(b".")
                one.recv(1)
        return count / (time.perf_counter() - begin)


def handshakes(peer: Peer, count: int) -> list[float]:
    """Seconds of each of so many new connections, from the socket on until it is connected: the handshake alone.

    Between namespaces of one machine it all happens on the asking side's CPU, without waiting for another process.
    """
    times = []
    with namespace.inside(peer.netns):
        for _number in range(count):
            begin = time.perf_counter()
            one = socket.socket(_family(peer.address), socket.SOCK_STREAM)
            one.connect((peer.address, CONNECTIONS))
            times.append(time.perf_counter() - begin)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.close()
    return times


def round_trips(peer: Peer, count: int) -> list[float]:
    """Seconds of each of so many UDP round trips."""
    times = []
    for _number in range(count):
        begin = time.perf_counter()
        peer.echo.send(b".")
        peer.echo.recv(16)
        times.append(time.perf_counter() - begin)
    return times


def before_others(cpu: int) -> None:
    """Puts this process on one CPU and before all others there, as real time where that is allowed."""
    os.sched_setaffinity(0, {cpu})
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)


def among_others(cpus: set[int]) -> None:
    """Takes that back."""
    os.sched_setaffinity(0, cpus)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 0)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _connected(address: str, port: int) -> socket.socket:
    one = socket.socket(_family(address), socket.SOCK_STREAM)
    one.settimeout(30)
    one.connect((address, port))
    return one


def _serve(netns: str, address: str, port: int, life: Callable[[socket.socket], None], cpu: int) -> int:
    kind = socket.SOCK_DGRAM if port == ECHO else socket.SOCK_STREAM
    with namespace.inside(netns):
        listener = socket.socket(_family(address), kind)
    listener.bind((address, port))
    if kind == socket.SOCK_STREAM:
        listener.listen(1024)
    child = os.fork()
    if child == 0:
        try:
            before_others(cpu)
            life(listener)
        finally:
            os._exit(1)
    listener.close()
    return child


def _take_transfers(listener: socket.socket) -> None:
    connection, _source = listener.accept()
    buffer = memoryview(bytearray(1 << 20))
    while True:
        left = _LENGTH.unpack(connection.recv(_LENGTH.size, socket.MSG_WAITALL))[0]
        while left:
            left -= connection.recv_into(buffer, min(left, len(buffer)))
        connection.send(b".")


def _take_connections(listener: socket.socket) -> None:
    while True:
        connection, _source = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(1)
            connection.send(b".")
            connection.recv(1)


def _take_echoes(udp: socket.socket) -> None:
    while True:
        data, source = udp.recvfrom(16)
        udp.sendto(data, source)


_LIVES = {TRANSFER: _take_transfers, CONNECTIONS: _take_connections, ECHO: _take_echoes}
