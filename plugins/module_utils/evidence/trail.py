# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a few real packets to addresses and watches them through the node, interface by interface.

The last interface that a packet leaves by is the underlay; what is around the packet there is the dataplane that
really carries it, whatever the tables and the declarations say.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.evidence import sieve
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.probe import decode, message

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PORT = 9
"""The discard service (RFC 863), which nobody has: a node that the packet reaches says "port unreachable"."""

_ROUNDS = 3
_GRACE = 0.3  # seconds that answers and slow queues may take behind the last interface
_PACKET_OUTGOING = 4
_LARGEST = 65535
_DIGEST = message.digest_of("dataplane_info")


class Sight(NamedTuple):
    """A probe on an interface, on its way out."""

    dev: str
    tunnel: str  # as probe/decode.py names it, "wireguard", or "plain"
    vni: int | None
    port: int | None
    outer_src: str
    outer_dst: str
    inner_src: str  # empty behind encryption
    inner_dst: str
    fragmented: bool = False


class Trail(NamedTuple):
    """What became of the probes to one address."""

    to: str
    source: str  # address that they were sent from; empty when none was sent
    sent: int
    answered: bool  # the other side refused the port, so it got there and back
    error: str
    sights: tuple[Sight, ...]  # in the order of their first packets, which is that of the interfaces

    @property
    def outermost(self) -> Sight | None:
        """How it left the node."""
        return self.sights[-1] if self.sights else None


class _Probe:
    """A connected socket to one address."""

    def __init__(self, to: str, source: str, slot: int, nonce: bytes) -> None:
        self.to, self.source, self.slot = to, source, slot
        self.sent, self.answered, self.error = 0, False, ""
        self.sights: dict[Sight, None] = {}
        six = ":" in to
        overhead = sieve.IP_HEADERS[6 if six else 4] + sieve.UDP
        self._packet = message.encode_request(message.SMALL, nonce, _DIGEST, sieve.length_of(slot) - overhead)
        self.socket = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            if source:
                self.socket.bind((source, 0))
            self.socket.connect((to, PORT))
            self.source = self.socket.getsockname()[0]
        except OSError as error:
            self.error = f"from {source or 'any address'}: {error.strerror}"

    def send(self) -> None:
        if self.error:
            return
        for attempt in range(2):
            try:
                self.socket.send(self._packet)
            except ConnectionRefusedError:  # the answer to an earlier one
                self.answered = True
            except OSError as error:
                # EHOSTUNREACH can be a router's word on an earlier one; it is told where nothing left at all.
                self.error = (error.strerror or str(error)) if attempt or error.errno != errno.EHOSTUNREACH else ""
            else:
                self.sent += 1
                return

    def listen(self) -> None:
        """Take an answer: the port refused, or whatever somebody there has to say."""
        try:
            self.socket.recv(1)
        except ConnectionRefusedError:
            self.answered = True
        except OSError:  # none yet
            return
        else:
            self.answered = True

    def close(self) -> Trail:
        self.listen()
        self.socket.close()
        return Trail(self.to, self.source, self.sent, self.answered, self.error, tuple(self.sights))


def follow(
    targets: Sequence[str],
    sources: Mapping[int, str],
    *,
    seconds: float,
    interface: str = "",
    inner: Collection[str] = (),
) -> list[Trail]:
    """Send to every target three times within `seconds` and watch; ends sooner when all have been seen to leave.

    :param targets: at most sieve.SLOTS addresses
    :param sources: the address to send from by IP version; the kernel's choice where there is none
    :param interface: the one to watch; all when empty
    :param inner: interfaces behind which something follows (tunnels, bridges): leaving by them is not the end
    :raises CaptureError: not root, no such interface
    """
    run = os.urandom(7)
    watcher = sieve.listen(interface)
    probes: list[_Probe] = []
    try:
        for slot, to in enumerate(targets[: sieve.SLOTS]):
            probes.append(_Probe(to, sources.get(6 if ":" in to else 4, ""), slot, bytes((slot,)) + run))
        start = time.monotonic()
        for nth in range(_ROUNDS):
            for probe in probes:
                probe.send()
            if _watch(watcher, probes, run, start + seconds * (nth + 1) / _ROUNDS, inner):
                break
    finally:
        watcher.close()
        trails = [probe.close() for probe in probes]
    return trails


def _watch(watcher: socket.socket, probes: Sequence[_Probe], run: bytes, until: float, inner: Collection[str]) -> bool:
    """Take down what is seen; whether all probes have left, and have been answered or waited for."""
    ends = until
    while True:
        complete = all(probe.error or any(sight.dev not in inner for sight in probe.sights) for probe in probes)
        for probe in probes:
            probe.listen()
        now = time.monotonic()
        if complete:
            ends = min(ends, now + _GRACE)
        if now >= ends or (complete and all(probe.error or probe.answered for probe in probes)):
            return complete
        answers = [probe.socket for probe in probes if not probe.error and not probe.answered]
        select.select([watcher, *answers], [], [], ends - now)
        for packet, address in _received(watcher):
            dev, ethertype, packet_type = address[:3]
            if packet_type == _PACKET_OUTGOING and dev != "lo":
                found = sight(dev, ethertype, packet, run, {probe.slot: probe.to for probe in probes})
                if found is not None:
                    probes[found[0]].sights.setdefault(found[1])


def _received(watcher: socket.socket) -> list[tuple[bytes, Any]]:
    packets: list[tuple[bytes, Any]] = []
    while len(packets) < 256:
        try:
            packets.append(watcher.recvfrom(_LARGEST))
        except OSError:  # nothing more, or an interface that went down
            break
    return packets


def sight(dev: str, ethertype: int, packet: bytes, run: bytes, targets: Mapping[int, str]) -> tuple[int, Sight] | None:
    """The slot of the probe in a captured packet, and what is around it; None for anything else.

    :param targets: the address of each slot
    """
    found = decode.sighting(ethertype, packet, message.MAGIC)
    if found is None:
        return _encrypted(dev, ethertype, packet, targets)
    request = message.decode_request(found.payload.ljust(message.SMALLEST, b"\0"))
    if request is None or request.digest != _DIGEST or request.nonce[1:] != run or request.nonce[0] not in targets:
        return None
    around = found.encapsulation
    seen = Sight(
        dev,
        around.type if around else "plain",
        around.vni if around else None,
        around.port if around else None,
        ip_text(around.outer_source) if around else "",
        ip_text(around.outer_destination) if around else "",
        ip_text(found.source),
        ip_text(found.destination),
        found.fragmented,
    )
    return request.nonce[0], seen


def _encrypted(dev: str, ethertype: int, packet: bytes, targets: Mapping[int, str]) -> tuple[int, Sight] | None:
    """A WireGuard data message that carries a packet of exactly a probe's length."""
    found = decode.sealed(ethertype, packet)
    plain = decode.untagged(ethertype, packet)
    outer = decode.ip(*plain) if plain else None
    segment = decode.udp(outer) if outer else None
    if found is None or found.encapsulation is None or segment is None:
        return None
    slot = sieve.slot_of(len(segment.payload) - sieve.WIREGUARD)
    if slot is None or slot not in targets or found.destination == packed_ip(targets[slot]):
        return None
    around = found.encapsulation
    ends = (ip_text(around.outer_source), ip_text(around.outer_destination))
    return slot, Sight(dev, around.type, None, around.port, *ends, "", "", found.fragmented)
