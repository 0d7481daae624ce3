# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCTP (RFC 9260) over raw sockets: not every kernel has its own, and one that has is kept quiet meanwhile."""

from __future__ import annotations

import itertools
import select
import socket
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.services.ground import netns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

IPPROTO_SCTP = 132
PORT = {"name": "sctp", "port": scene.PORT, "targetPort": scene.TARGET, "protocol": "SCTP"}
"""Of a service."""
SORTS = {4: socket.AF_INET, 6: socket.AF_INET6}
DATA, INIT, INIT_ACK, SACK, ABORT, SHUTDOWN, COOKIE_ECHO, COOKIE_ACK = 0, 1, 2, 3, 6, 7, 10, 11
CHECKSUM = 8
"""Where it is."""
_TAGS = {True: 0x01020304, False: 0x05060708}
"""What an association's client wants to be called by, and its server."""
_ports = itertools.count(20000)
_QUIET = """
    chain output {
        type filter hook output priority 0
        meta l4proto sctp meta skuid 0 accept
        meta l4proto sctp drop comment "a kernel that knows of no such association aborts it"
    }
"""


def _table() -> list[int]:
    found = []
    for octet in range(256):
        crc = octet
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)  # CRC-32C, reflected
        found.append(crc)
    return found


_TABLE = _table()


def checksum(packet: bytes) -> bytes:
    """What belongs into a packet."""
    crc = 0xFFFFFFFF
    for octet in packet[:CHECKSUM] + bytes(4) + packet[CHECKSUM + 4 :]:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def chunk(sort: int, value: bytes = b"") -> bytes:
    return struct.pack("!BBH", sort, 0, 4 + len(value)) + value + bytes(-len(value) % 4)


def init(tag: int, sort: int = INIT) -> bytes:
    return chunk(sort, struct.pack("!IIHHI", tag, 65535, 1, 1, 1) + (bytes(8) if sort == INIT_ACK else b""))


def build(source: int, destination: int, tag: int, *chunks: bytes) -> bytes:
    packet = struct.pack("!HHII", source, destination, tag, 0) + b"".join(chunks)
    return packet[:CHECKSUM] + checksum(packet) + packet[CHECKSUM + 4 :]


def free_port() -> int:
    """One that no association has had."""
    return next(_ports)


class Got(NamedTuple):
    """A packet, and where."""

    pod: str
    peer: str
    source: int
    packet: bytes

    @property
    def sort(self) -> int:
        """Of its first chunk."""
        return self.packet[12]


@contextmanager
def ruled(pod: str, table: str, chain: str) -> Iterator[None]:
    """A table of nftables in a pod."""
    argv = ["ip", "netns", "exec", netns(pod), "nft"]
    subprocess.run([*argv, "-f", "-"], input=f"table inet {table} {{{chain}}}", text=True, check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run([*argv, "delete", "table", "inet", table], check=True, timeout=60)


class Ends:
    """Sockets in pods, for all SCTP that comes there. No kernel of theirs has a say."""

    def __init__(self, family: int, pods: Collection[str]) -> None:
        self.family = family
        self._pods = dict.fromkeys(pods)
        self._opened = ExitStack()
        self._sockets: dict[str, socket.socket] = {}

    def __enter__(self) -> Self:
        for pod in self._pods:
            self._opened.enter_context(ruled(pod, f"quiet{self.family}", _QUIET))
            with namespace.inside(netns(pod)):
                self._sockets[pod] = self._opened.enter_context(
                    socket.socket(SORTS[self.family], socket.SOCK_RAW, IPPROTO_SCTP)
                )
        return self

    def __exit__(self, *_error: object) -> None:
        self._opened.close()

    def send(self, pod: str, to: str, packet: bytes) -> None:
        self._sockets[pod].sendto(packet, (to, 0))

    def receive(self, port: int, wait: float = 2) -> Got | None:
        """The next packet to a port of any of the pods."""
        until = time.monotonic() + wait
        pods = {held: pod for pod, held in self._sockets.items()}
        while (left := until - time.monotonic()) > 0:
            for each in select.select(list(pods), [], [], left)[0]:
                packet, peer = each.recvfrom(65536)
                if self.family == 4:  # a raw socket gives the header, too
                    packet = packet[(packet[0] & 15) * 4 :]
                source, destination = struct.unpack_from("!HH", packet)
                if destination == port:
                    return Got(pods[each], peer[0], source, packet)
        return None

    def receive_right(self, port: int, wait: float = 2) -> Got | None:
        """One whose checksum is right."""
        got = self.receive(port, wait)
        assert got is None or got.packet[CHECKSUM : CHECKSUM + 4] == checksum(got.packet), got
        return got

    def associate(self, client: str, address: str, port: int = scene.PORT, source: int = 0) -> Association | None:
        """An association with whichever pod is reached; None when none is."""
        made = Association(self, client, address, port, source or free_port())
        got = made.ask(init(_TAGS[True]), tag=0)
        if got is None:
            return None
        made.backend, made.peer, made.seen = got.pod, got.peer, got.source
        assert made.answer(init(_TAGS[False], INIT_ACK)) == INIT_ACK
        assert made.exchange(chunk(COOKIE_ECHO, bytes(8)), chunk(COOKIE_ACK)) == COOKIE_ACK
        return made


class Association:
    """One that stands."""

    def __init__(self, ends: Ends, client: str, address: str, port: int, source: int) -> None:
        self._ends, self.client, self.address, self.port, self.source = ends, client, address, port, source
        self.backend = self.peer = ""
        self.seen = 0

    def ask(self, *chunks: bytes, tag: int = _TAGS[False]) -> Got | None:
        """Chunks from the client, and what arrives of them."""
        self._ends.send(self.client, self.address, build(self.source, self.port, tag, *chunks))
        return self._ends.receive_right(scene.TARGET)

    def answer(self, *chunks: bytes) -> int | None:
        """Chunks from the backend; the sort of the first one that arrives, from where the client has asked."""
        self._ends.send(self.backend, self.peer, build(scene.TARGET, self.seen, _TAGS[True], *chunks))
        got = self._ends.receive_right(self.source)
        assert got is None or got[:3] == (self.client, self.address, self.port)
        return got and got.sort

    def exchange(self, asked: bytes, answered: bytes) -> int | None:
        """A chunk and an answer to it, which the same backend gives."""
        got = self.ask(asked)
        if got is None or got[:3] != (self.backend, self.peer, self.seen):
            return None
        return self.answer(answered)

    def stands(self) -> bool:
        """Whether data go there and back."""
        data = chunk(DATA, struct.pack("!IHHI", 1, 0, 0, 0) + b"abc")
        return self.exchange(data, data) == DATA


def reached(client: str, address: str, backends: Collection[str], tries: int = 30) -> set[str]:
    """Which of these pods get what a client sends to a service, until all of them have or that often."""
    found: set[str] = set()
    with Ends(6 if ":" in address else 4, (client, *backends)) as ends:
        for _each in range(tries):
            ends.send(client, address, build(free_port(), scene.PORT, 0, init(1)))
            got = ends.receive_right(scene.TARGET, 1)
            if got:
                found.add(got.pod)
            if found == set(backends):
                break
    return found
