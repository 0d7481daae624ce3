# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own BPF lets probes through in every shape, and nothing else; what is around them is told from bytes."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence import sieve, trail
from ansible_collections.podnet.fabric.plugins.module_utils.probe import message

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = b"1234567"
SLOT = 5
TARGETS = {4: {SLOT: "10.244.2.1"}, 6: {SLOT: "fd00::2"}}
ENDS = {4: ("10.244.1.1", "10.244.2.1"), 6: ("fd00::1", "fd00::2")}
OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}


def ip(version: int, ends: tuple[str, str], protocol: int, payload: bytes) -> bytes:
    source, destination = (socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, end) for end in ends)
    if version == 4:
        return (
            struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + source + destination + payload
        )
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source + destination + payload


def udp(port: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload


def probe(version: int, slot: int = SLOT, run: bytes = RUN) -> bytes:
    size = sieve.length_of(slot) - sieve.IP_HEADERS[version] - sieve.UDP
    request = message.encode_request(message.SMALL, bytes((slot,)) + run, message.digest_of("dataplane_info"), size)
    return ip(version, ENDS[version], 17, udp(trail.PORT, request))


def frame(version: int, packet: bytes) -> bytes:
    return bytes(12) + ETHERTYPE[version].to_bytes(2, "big") + packet


def geneve(version: int, packet: bytes, options: int) -> bytes:
    return bytes((options, 0, 0x65, 0x58, 0, 0, 84, 0)) + b"\xff" * 4 * options + frame(version, packet)


def shapes() -> Iterator[tuple[str, int, int, bytes]]:
    """Name, version of the inner and of the outer packet, the outer packet."""
    for inner in (4, 6):
        packet = probe(inner)
        yield "plain", inner, inner, packet
        yield (
            ("ipip" if inner == 4 else "ip6ip6"),
            inner,
            inner,
            ip(inner, OUTER[inner], 4 if inner == 4 else 41, packet),
        )
        for outer in (4, 6):
            vxlan = b"\x08\0\0\0\0\0\x54\0" + frame(inner, packet)
            yield "vxlan", inner, outer, ip(outer, OUTER[outer], 17, udp(4789, vxlan))
            for options in (0, 1, 63):
                yield "geneve", inner, outer, ip(outer, OUTER[outer], 17, udp(6081, geneve(inner, packet, options)))
            sealed = b"\x04\0\0\0" + bytes(12) + bytes(len(packet)) + bytes(16)
            yield "wireguard", inner, outer, ip(outer, OUTER[outer], 17, udp(51820, sealed))


@pytest.fixture
def passes() -> Iterator[object]:
    """The program in the kernel, on a socket that any bytes can be written to."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    instructions = sieve.program()
    program = ctypes.create_string_buffer(instructions, len(instructions))
    filter_ = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(program))
    receiver.setsockopt(socket.SOL_SOCKET, 26, filter_)
    receiver.setblocking(False)

    def whole(packet: bytes) -> bool:
        sender.send(packet)
        try:
            return receiver.recv(65535) == packet
        except BlockingIOError:
            return False

    yield whole
    sender.close()
    receiver.close()


SHAPES = list(shapes())


@pytest.mark.parametrize(("name", "inner", "outer", "packet"), SHAPES, ids=[f"{s[0]}-{s[1]}-{s[2]}" for s in SHAPES])
def test_a_probe_of_any_shape_passes_and_is_told(
    passes: object, name: str, inner: int, outer: int, packet: bytes
) -> None:
    assert callable(passes)
    assert passes(packet)
    found = trail.sight("eth0", ETHERTYPE[outer], packet, RUN, TARGETS[inner])
    assert found is not None
    slot, seen = found
    assert (slot, seen.tunnel) == (SLOT, name)
    assert (seen.inner_src, seen.inner_dst) == (("", "") if name == "wireguard" else ENDS[inner])
    assert (seen.outer_src, seen.outer_dst) == (("", "") if name == "plain" else OUTER[outer])
    # Behind a tag that no driver has taken away.
    tagged = b"\0\x64" + ETHERTYPE[outer].to_bytes(2, "big") + packet
    assert passes(tagged)
    assert trail.sight("eth0", 0x8100, tagged, RUN, TARGETS[inner]) == found


def test_what_is_no_probe_does_not_pass(passes: object) -> None:
    assert callable(passes)
    assert not passes(bytes(600))
    assert not passes(b"")
    assert not passes(ip(4, OUTER[4], 17, udp(4789, b"\x08\0\0\0\0\0\x54\0" + frame(4, bytes(500)))))
    # WireGuard's handshake and keepalive, and data that is longer than any probe.
    assert not passes(ip(4, OUTER[4], 17, udp(51820, b"\x01\0\0\0" + bytes(144))))
    assert not passes(ip(4, OUTER[4], 17, udp(51820, b"\x04\0\0\0" + bytes(28))))
    assert not passes(ip(4, OUTER[4], 17, udp(51820, b"\x04\0\0\0" + bytes(1400))))


def test_the_probes_of_another_run_and_data_of_another_length_are_passed_over() -> None:
    assert trail.sight("eth0", 0x0800, probe(4, run=b"7654321"), RUN, TARGETS[4]) is None
    sealed = b"\x04\0\0\0" + bytes(12 + sieve.length_of(SLOT) + 8 + 16)
    assert trail.sight("eth0", 0x0800, ip(4, OUTER[4], 17, udp(51820, sealed)), RUN, TARGETS[4]) is None
    assert trail.sight("eth0", 0x0800, b"", RUN, TARGETS[4]) is None


def test_every_length_is_one_slots_and_fits_below_the_least_mtu() -> None:
    lengths = [sieve.length_of(slot) for slot in range(sieve.SLOTS)]
    assert [sieve.slot_of(length) for length in lengths] == list(range(sieve.SLOTS))
    assert {length % 16 for length in lengths} == {0}
    assert max(lengths) + 80 <= 1280
    assert sieve.slot_of(lengths[-1] + sieve.STEP) is None
    assert sieve.slot_of(lengths[0] - sieve.STEP) is None
