# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node between two hosts, one with the addresses of pods, and packets that never stop.

outside (10.9.0.2) -- node, the namespace of the test -- pods (10.244.1.2 and on), and the same with IPv6
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from tests.integration.conftest import Namespace

OPEN, SHUT = 80, 81
"""A port that the policies of a test allow, and one that they never do."""
_NUMBER = struct.Struct("!I")


class Crossing(NamedTuple):
    """The names of the two hosts' namespaces."""

    outside: str
    pods: str


def build(netns: Namespace, count: int) -> Crossing:
    """Wire the hosts; there are ``count`` pods."""
    made = Crossing(f"x{os.getpid()}-out", f"x{os.getpid()}-pods")
    settings = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_dad": "0"}
    for setting, value in settings.items():
        Path("/proc/sys/net", setting).write_text(value, encoding="ascii")
    for name, four, six in ((made.outside, "10.9.0", "fd00:9:"), (made.pods, "10.244.1", "fd00:10:244:1:")):
        device = f"to-{name[-4:]}"
        netns.ip("netns", "add", name)
        with namespace.inside(name):
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0", encoding="ascii")
        netns.ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        netns.ip("address", "add", f"{four}.1/24", "dev", device)
        netns.ip("address", "add", f"{six}:1/64", "dev", device, "nodad")
        netns.ip("link", "set", device, "up")
        lines = ["link set lo up", "link set eth0 up"]
        for number in range(2, 3 if name == made.outside else 2 + count):
            lines += [f"address add {four}.{number}/24 dev eth0", f"address add {six}:{number:x}/64 dev eth0 nodad"]
        lines += [f"route add default via {four}.1", f"route add default via {six}:1"]
        netns.run("ip", "-n", name, "-batch", "-", stdin="\n".join(lines))
    return made


def remove(netns: Namespace, made: Crossing) -> None:
    """Remove the hosts."""
    for name in made:
        netns.ip("netns", "delete", name)


def addresses(place: int) -> list[str]:
    """The addresses of a pod, counted from 0."""
    return [f"10.244.1.{place + 2}", f"fd00:10:244:1::{place + 2:x}"]


def listen(made: Crossing, ends: Iterable[tuple[str, int]]) -> dict[tuple[str, int], socket.socket]:
    """UDP sockets in the pods."""
    found = {}
    with namespace.inside(made.pods):
        for address, port in ends:
            found[address, port] = udp(address)
            found[address, port].bind((address, port))
            found[address, port].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            found[address, port].setblocking(False)
    return found


def udp(address: str) -> socket.socket:
    """A UDP socket of an address's family."""
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


class Traffic:
    """First packets of new flows from outside to two ports of a pod, until told to stop."""

    def __init__(self, made: Crossing, whom: Iterable[str]) -> None:
        self._made = made
        self._sockets = listen(made, [(address, port) for address in whom for port in (OPEN, SHUT)])
        self._addresses = list(whom)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0
        self._arrived: dict[tuple[str, int], set[int]] = {end: set() for end in self._sockets}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            self._take(0.05)
        for each in self._sockets.values():
            each.close()

    @property
    def lost(self) -> int:
        """Packets to the open port that did not arrive."""
        return sum(self.sent - len(self._arrived[address, OPEN]) for address in self._addresses)

    @property
    def leaked(self) -> int:
        """Packets to the other port that did."""
        return sum(len(self._arrived[address, SHUT]) for address in self._addresses)

    def _send(self) -> None:
        with namespace.inside(self._made.outside):
            while not self._stop.is_set():
                for address in self._addresses:
                    for port in (SHUT, OPEN):
                        # A flow of its own: another source port.
                        with udp(address) as sender:
                            sender.sendto(_NUMBER.pack(self.sent), (address, port))
                self.sent += 1
                self._take(0.001)

    def _take(self, seconds: float) -> None:
        ready, _writable, _failed = select.select(list(self._sockets.values()), [], [], seconds)
        for end, each in self._sockets.items():
            while each in ready:
                try:
                    self._arrived[end].add(_NUMBER.unpack(each.recv(64))[0])
                except BlockingIOError:
                    break
