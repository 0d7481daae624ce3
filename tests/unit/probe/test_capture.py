# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's filter finds the magic wherever a probe can carry it, and summaries keep what matters."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import capture, decode, message, prober

A, B = b"\x0a\xf4\x01\x02", b"\x0a\xf4\x02\x02"
TUNNEL = decode.Encapsulation("vxlan", 84, b"\xc0\0\x02\x01", b"\xc0\0\x02\x02", 4789)


def _run(program: bytes, packet: bytes) -> int:
    """Classic BPF as the kernel runs it, as far as the filter uses it."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, constant = instructions[position]
        if code == 0x06:
            return int(constant)
        if code == 0x20:
            if constant + 4 > len(packet):
                return 0
            accumulator = int.from_bytes(packet[constant : constant + 4], "big")
        else:
            assert code == 0x15
            position += if_true if accumulator == constant else if_false
        position += 1


def test_the_offsets_are_those_of_every_combination_of_headers() -> None:
    # IPv4 28, IPv6 48; VXLAN or GENEVE over IPv4 20+30+28 and +48, over IPv6 40+30+28 and +48, both behind a fragment
    # header; IP in IP 20+28 and 20+48, IP in IPv6 40+28 and 40+48, and behind a fragment header 48+28 and 48+48.
    assert capture.magic_offsets() == (28, 48, 68, 76, 78, 88, 96, 98, 106, 118, 126)


def test_the_shortest_probe_is_long_enough_for_every_load() -> None:
    last_byte_read = capture.magic_offsets()[-1] + len(message.MAGIC)
    assert last_byte_read <= 28 + message.SMALLEST


@pytest.mark.parametrize("offset", capture.magic_offsets())
def test_the_filter_accepts_the_magic_where_it_can_be(offset: int) -> None:
    packet = bytes(offset) + message.MAGIC + bytes(message.SMALLEST)
    assert _run(capture.filter_program(), packet) > 0


def test_the_filter_drops_everything_else() -> None:
    program = capture.filter_program()
    assert _run(program, bytes(200)) == 0
    assert _run(program, bytes(29) + message.MAGIC + bytes(200)) == 0
    assert _run(program, b"") == 0
    assert _run(program, bytes(28) + message.MAGIC[:3]) == 0


@pytest.mark.parametrize("offset", capture.sealed_offsets())
def test_the_filter_accepts_what_is_sealed_only_when_it_is_asked_for(offset: int) -> None:
    packet = bytes(offset) + decode.WIREGUARD_DATA + bytes(128)
    assert _run(capture.filter_program(sealed=True), packet) > 0
    assert _run(capture.filter_program(), packet) == 0


@pytest.mark.parametrize("offset", capture.magic_offsets())
def test_probes_are_accepted_beside_what_is_sealed(offset: int) -> None:
    packet = bytes(offset) + message.MAGIC + bytes(message.SMALLEST)
    assert _run(capture.filter_program(sealed=True), packet) > 0
    assert _run(capture.filter_program(sealed=True), bytes(200)) == 0


def _seen(source: bytes, destination: bytes, *, outgoing: bool, tunnel: bool, fragmented: bool = False) -> capture.Seen:
    what = decode.Sighting(source, destination, b"", TUNNEL if tunnel else None, fragmented)
    return capture.Seen(outgoing, what)


def test_what_left_is_told_from_what_came() -> None:
    summary = prober.summarise(
        [
            _seen(A, B, outgoing=True, tunnel=True),
            _seen(A, B, outgoing=True, tunnel=True),
            _seen(B, A, outgoing=False, tunnel=False),
        ]
    )
    assert summary == {(A, B): prober.Observed((TUNNEL,), plain=False, fragmented=False)}


def test_a_fragmented_answer_counts_for_the_question() -> None:
    summary = prober.summarise(
        [_seen(A, B, outgoing=True, tunnel=False), _seen(B, A, outgoing=False, tunnel=True, fragmented=True)]
    )
    assert summary[A, B] == prober.Observed((), plain=True, fragmented=True)
