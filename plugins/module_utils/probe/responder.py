# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The far end of a probe: tells who asks from which address it was asked, by UDP and TCP, over IPv4 and IPv6.

It serves for a limited time and ends by itself, whatever becomes of the one who started it.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import time
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.probe import message, namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Linux values that Python's socket module lacks in some supported version (linux/in.h, linux/in6.h).
IP_PKTINFO = 8
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
IPV6_DONTFRAG = 62
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the control message that it brings has the same number
PMTUDISC_PROBE = 3  # sets DF, and neither fragments nor believes what was learned of the path's MTU

_CONNECTIONS = 256  # at once; more wait in the backlog
ANCILLARY = socket.CMSG_SPACE(32) + socket.CMSG_SPACE(16)  # packet information and time stamp
_LOOK = 2.0  # seconds between looks whether it is still wanted
_PATIENCE = 5.0  # seconds a TCP client has for its request


class ResponderError(PodnetError):
    """A responder that cannot be started; the text says why and what to do."""


def listen(netns: str, port: int) -> list[socket.socket]:
    """Sockets bound to `port` in the namespace, two per address family that the kernel has there."""
    opened: list[socket.socket] = []
    with namespace.inside(netns):
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    listener = _listener(family, kind, port)
                    if listener is not None:
                        opened.append(listener)
        except OSError as error:
            for listener in opened:
                listener.close()
            cure = "choose another port or end what listens there" if error.errno == errno.EADDRINUSE else "see dmesg"
            raise ResponderError(f"port {port} in network namespace {netns}: {error.strerror}; {cure}") from error
    if not opened:
        raise ResponderError(f"network namespace {netns}: neither IPv4 nor IPv6 is there")
    return opened


def _listener(family: int, kind: int, port: int) -> socket.socket | None:
    try:
        listener = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:  # IPv6 is switched off in this kernel
            return None
        raise
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            never_fragment(listener)
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            # Hundreds of full-size packets may arrive in one go.
            listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
            # Tells the address that was asked, so that a host with several answers from that one.
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        listener.bind(("::" if family == socket.AF_INET6 else "", port))
        if kind == socket.SOCK_STREAM:
            listener.listen(_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def never_fragment(udp: socket.socket) -> None:
    """Every datagram of this socket leaves whole, with DF, or not at all."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        udp.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)


def serve(
    listeners: Sequence[socket.socket], name: str, digest: bytes, lifetime: float, wanted: Callable[[], bool]
) -> None:
    """Answers until `lifetime` seconds have passed or it is not `wanted` any more, which is asked now and then."""
    end = time.monotonic() + lifetime
    look = time.monotonic() + _LOOK
    clients: dict[socket.socket, float] = {}
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ, listener)
        while True:
            now = time.monotonic()
            if now >= end:
                return
            if now >= look:
                look = now + _LOOK
                if not wanted():
                    return
            for client in [client for client, limit in clients.items() if limit <= now]:
                _drop(selector, clients, client)
            for key, _events in selector.select(min(end - now, 1.0)):
                ready: socket.socket = key.data
                if ready in clients:
                    _answer_stream(ready, name, digest)
                    _drop(selector, clients, ready)
                elif ready.type == socket.SOCK_STREAM:
                    _accept(selector, clients, ready)
                else:
                    _answer_datagram(ready, name, digest)


def _accept(selector: selectors.BaseSelector, clients: dict[socket.socket, float], listener: socket.socket) -> None:
    if len(clients) >= _CONNECTIONS:
        _drop(selector, clients, next(iter(clients)))
    try:
        client, _source = listener.accept()
    except OSError:  # gone again before it was accepted
        return
    client.setblocking(False)
    # Wakes up only when the whole request is there.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, message.SMALLEST)
    clients[client] = time.monotonic() + _PATIENCE
    selector.register(client, selectors.EVENT_READ, client)


def _drop(selector: selectors.BaseSelector, clients: dict[socket.socket, float], client: socket.socket) -> None:
    selector.unregister(client)
    del clients[client]
    client.close()


def _answer_stream(client: socket.socket, name: str, digest: bytes) -> None:
    # What goes wrong with a connection is the client's affair: it asks again.
    with contextlib.suppress(OSError):
        data = client.recv(message.SMALLEST)
        request = message.decode_request(data)
        if request is not None and request.digest == digest:
            host, port = client.getpeername()[:2]
            client.send(message.encode_reply(message.Reply(request.nonce, name, host, port, len(data), False, 0)))


def _answer_datagram(udp: socket.socket, name: str, digest: bytes) -> None:
    try:
        data, ancillary, _flags, source = udp.recvmsg(message.LARGEST, ANCILLARY)
    except OSError:  # an ICMP error for an earlier answer
        return
    request = message.decode_request(data)
    if request is None or request.digest != digest:
        return
    held = (time.time_ns() - arrival(ancillary)) // 1000
    reply = message.Reply(request.nonce, name, source[0], source[1], len(data), False, held)
    answers = [reply]
    if request.kind == message.FULL:
        answers.append(reply._replace(echo=True))
    for answer in answers:
        # EMSGSIZE for an echo, no route back: the prober notices the silence.
        with contextlib.suppress(OSError):
            udp.sendmsg([message.encode_reply(answer)], from_where_it_was_asked(ancillary), 0, source)


def arrival(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """When the kernel got the datagram, in nanoseconds since the epoch; the process sees it later."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("@ll", data[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def from_where_it_was_asked(ancillary: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            # struct in_pktinfo: ifindex, local address, destination of the header. The route chooses the interface.
            return [(level, kind, b"\0\0\0\0" + data[4:8] + b"\0\0\0\0")]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            # struct in6_pktinfo: destination, ifindex; a link-local address needs its interface.
            index = data[16:20] if data[:2] == b"\xfe\x80" else b"\0\0\0\0"
            return [(level, kind, data[:16] + index)]
    return []
