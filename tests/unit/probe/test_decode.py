# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets off the underlay are read right, and nothing that a network can send makes the reader stumble."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.probe import decode
from ansible_collections.podnet.fabric.plugins.module_utils.probe.message import MAGIC

# A probe from 10.244.1.2:40000 to 10.244.2.2:8484 in VXLAN 84 from 192.0.2.1 to 198.51.100.2, as tcpdump shows it
# behind the outer Ethernet header.
VXLAN_V4_IN_V4 = bytes.fromhex(
    "4500 0046 1234 0000 4011 0000 c0000201 c6336402"  # outer IPv4
    "c001 12b5 0032 0000"  # outer UDP, port 4789
    "08000000 00005400"  # VXLAN, VNI 84
    "020000000002 020000000001 0800"  # inner Ethernet
    "4500 0020 0001 4000 3f11 0000 0af40102 0af40202"  # inner IPv4, DF
    "9c40 2124 000c 0000 504e5042"  # inner UDP, "PNPB"
)


def _ipv4(source: str, destination: str, protocol: int, payload: bytes, flags: int = 0x4000) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, flags, 64, protocol, 0)
    return header + ip_address(source).packed + ip_address(destination).packed + payload


def _ipv6(source: str, destination: str, following: int, payload: bytes) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), following, 64)
    return header + ip_address(source).packed + ip_address(destination).packed + payload


def _udp(port: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload


def _vxlan(vni: int, ethertype: int, packet: bytes) -> bytes:
    return b"\x08\0\0\0" + vni.to_bytes(3, "big") + b"\0" + bytes(12) + struct.pack("!H", ethertype) + packet


PROBE_V4 = _ipv4("10.244.1.2", "10.244.2.2", 17, _udp(8484, MAGIC + b"rest"))
PROBE_V6 = _ipv6("fd00:1::2", "fd00:2::2", 17, _udp(8484, MAGIC + b"rest"))


def test_a_captured_vxlan_packet_is_read() -> None:
    seen = decode.sighting(decode.ETHERTYPE_IPV4, VXLAN_V4_IN_V4, MAGIC)
    assert seen == decode.Sighting(
        source=ip_address("10.244.1.2").packed,
        destination=ip_address("10.244.2.2").packed,
        payload=MAGIC,
        encapsulation=decode.Encapsulation(
            "vxlan", 84, ip_address("192.0.2.1").packed, ip_address("198.51.100.2").packed, 4789
        ),
        fragmented=False,
    )


@pytest.mark.parametrize("inner", [(decode.ETHERTYPE_IPV4, PROBE_V4), (decode.ETHERTYPE_IPV6, PROBE_V6)])
@pytest.mark.parametrize("outer", [4, 6])
def test_both_families_are_read_inside_and_outside(inner: tuple[int, bytes], outer: int) -> None:
    carried = _udp(4789, _vxlan(0xABCDEF, *inner))
    if outer == 4:
        packet, ethertype = _ipv4("192.0.2.1", "192.0.2.2", 17, carried), decode.ETHERTYPE_IPV4
    else:
        packet, ethertype = _ipv6("2001:db8::1", "2001:db8::2", 17, carried), decode.ETHERTYPE_IPV6
    seen = decode.sighting(ethertype, packet, MAGIC)
    assert seen is not None
    assert seen.encapsulation is not None
    assert seen.encapsulation.vni == 0xABCDEF
    assert len(seen.encapsulation.outer_source) == (4 if outer == 4 else 16)
    assert len(seen.source) == (4 if inner[0] == decode.ETHERTYPE_IPV4 else 16)


# The same probe in GENEVE 84, as the kernel's driver sends it: no options, an Ethernet frame inside (RFC 8926, 3.4).
GENEVE_V4_IN_V4 = bytes.fromhex(
    "4500 0052 0000 4000 4011 0000 c0000201 c6336402"  # outer IPv4
    "d8f1 17c1 003e 0000"  # outer UDP, port 6081
    "0000 6558 000054 00"  # GENEVE, VNI 84
    "020000000002 020000000001 0800"  # inner Ethernet
    "4500 0020 0001 4000 3f11 0000 0af40102 0af40202"  # inner IPv4, DF
    "9c40 2124 000c 0000 504e5042"  # inner UDP, "PNPB"
)
# An option of 4 bytes behind its header (class, type, length), and flag C, as others may send it.
GENEVE_OPTION = bytes.fromhex("02 40 6558 000054 00 0102 80 01 cafecafe")


def _outside(ethertype: int, packet: bytes) -> tuple[str, int | None, str, int | None]:
    seen = decode.sighting(ethertype, packet, MAGIC)
    assert seen is not None
    assert seen.encapsulation is not None
    found = seen.encapsulation
    return found.type, found.vni, str(ip_address(found.outer_destination)), found.port


def test_a_geneve_packet_is_read_with_options_and_without() -> None:
    assert _outside(0x0800, GENEVE_V4_IN_V4) == ("geneve", 84, "198.51.100.2", 6081)
    frame = bytes(12) + b"\x86\xdd" + PROBE_V6
    packet = _ipv6("2001:db8::1", "2001:db8::2", 17, _udp(6082, GENEVE_OPTION + frame))
    assert _outside(0x86DD, packet) == ("geneve", 84, "2001:db8::2", 6082)
    # Without Ethernet inside, as the driver does it with inner_proto_inherit.
    bare = _ipv4("192.0.2.1", "192.0.2.2", 17, _udp(6081, bytes.fromhex("0000 0800 000007 00") + PROBE_V4))
    assert _outside(0x0800, bare) == ("geneve", 7, "192.0.2.2", 6081)


@pytest.mark.parametrize(
    "header",
    [
        "40 00 6558 000054 00",  # version 1
        "00 01 6558 000054 00",  # a reserved flag
        "00 00 6558 000054 01",  # the reserved byte
        "00 00 8847 000054 00",  # MPLS inside
        "00 00 6558 000054",
    ],
)
def test_what_is_no_geneve_is_not_taken_for_it(header: str) -> None:
    packet = _ipv4("192.0.2.1", "192.0.2.2", 17, _udp(6081, bytes.fromhex(header) + bytes(12) + b"\x08\x00" + PROBE_V4))
    assert decode.sighting(0x0800, packet, MAGIC) is None


def test_ip_in_ip_is_read_in_both_families() -> None:
    assert _outside(0x0800, _ipv4("192.0.2.1", "192.0.2.2", 4, PROBE_V4)) == ("ipip", None, "192.0.2.2", None)
    assert _outside(0x86DD, _ipv6("2001:db8::1", "2001:db8::2", 41, PROBE_V6)) == (
        "ip6ip6",
        None,
        "2001:db8::2",
        None,
    )
    # With the encapsulation limit of RFC 2473, 4.1.1: destination options before the inner header.
    limit = b"\x29\0\x04\x01\x04\x01\0\0"
    packet = _ipv6("2001:db8::1", "2001:db8::2", 60, limit + PROBE_V6)
    assert _outside(0x86DD, packet)[0] == "ip6ip6"


def test_of_wireguard_the_outside_is_read_where_it_carries_data() -> None:
    # Type 4, receiver, counter, encrypted packet, tag (WireGuard paper, 5.4.6).
    data = b"\x04\0\0\0" + bytes(4 + 8) + bytes(160) + bytes(16)
    seen = decode.sealed(0x0800, _ipv4("192.0.2.1", "192.0.2.2", 17, _udp(51820, data)))
    ends = ip_address("192.0.2.1").packed, ip_address("192.0.2.2").packed
    assert seen == decode.Sighting(*ends, b"", decode.Encapsulation("wireguard", None, *ends, 51820), False)
    packet = _ipv6("2001:db8::1", "2001:db8::2", 17, _udp(51820, data))
    assert decode.sealed(0x86DD, packet) is not None
    # Nothing of it is taken for a probe, whatever the encrypted bytes are.
    assert decode.sighting(0x86DD, packet, b"\0\0\0\0") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"\x04\0\0\0" + bytes(28),  # a keepalive
        b"\x01\0\0\0" + bytes(144),  # a handshake's initiation
        b"\x02\0\0\0" + bytes(88),  # its response
        b"\x04\0\x01\0" + bytes(144),
        b"",
    ],
)
def test_what_carries_no_data_of_wireguard_is_passed_over(payload: bytes) -> None:
    assert decode.sealed(0x0800, _ipv4("192.0.2.1", "192.0.2.2", 17, _udp(51820, payload))) is None
    assert decode.sealed(0x0800, _ipv4("192.0.2.1", "192.0.2.2", 6, payload)) is None


@pytest.mark.parametrize(("ethertype", "packet"), [(0x0800, PROBE_V4), (0x86DD, PROBE_V6)])
def test_a_probe_without_a_tunnel_is_told_apart(ethertype: int, packet: bytes) -> None:
    seen = decode.sighting(ethertype, packet, MAGIC)
    assert seen is not None
    assert seen.encapsulation is None


def test_vlan_tags_are_passed_over_outside_and_inside() -> None:
    tag = b"\x00\x07"
    inner = _vxlan(84, 0x8100, tag + b"\x08\x00" + PROBE_V4)
    outer = _ipv4("192.0.2.1", "192.0.2.2", 17, _udp(4789, inner))
    seen = decode.sighting(0x88A8, tag + b"\x81\x00" + tag + b"\x08\x00" + outer, MAGIC)
    assert seen is not None
    assert seen.encapsulation is not None


def test_ip_options_and_extension_headers_are_passed_over() -> None:
    options = _udp(8484, MAGIC)
    v4 = b"\x46" + _ipv4("10.0.0.1", "10.0.0.2", 17, b"")[1:] + b"\x01\x01\x01\x01" + options
    assert decode.sighting(0x0800, v4, MAGIC) is not None
    hop_by_hop, destination = b"\x3c\x00" + bytes(6), b"\x11\x01" + bytes(14)
    v6 = _ipv6("fd00::1", "fd00::2", 0, hop_by_hop + destination + options)
    assert decode.sighting(0x86DD, v6, MAGIC) is not None


def test_first_fragments_are_marked() -> None:
    inner = _udp(4789, _vxlan(84, 0x0800, PROBE_V4))
    seen = decode.sighting(0x0800, _ipv4("192.0.2.1", "192.0.2.2", 17, inner, flags=0x2000), MAGIC)
    assert seen is not None
    assert seen.fragmented
    fragment_header = b"\x11\0" + struct.pack("!HI", 1, 7)
    seen = decode.sighting(0x86DD, _ipv6("2001:db8::1", "2001:db8::2", 44, fragment_header + inner), MAGIC)
    assert seen is not None
    assert seen.fragmented


@pytest.mark.parametrize(
    "payload",
    [
        b"\x00\0\0\0\0\0\x54\0",  # the flag that says there is a VNI is missing
        b"\x0c\0\0\0\0\0\x54\0",  # a reserved flag (GPE) is set
        b"\x08\0\0\0\0\0\x54\x01",  # a reserved byte is set
        b"\x08\0\0\0\0\0\x54",
        b"",
    ],
)
def test_what_is_no_vxlan_is_not_taken_for_it(payload: bytes) -> None:
    assert decode.vxlan(payload + (bytes(14) if len(payload) == 8 else b"")) is None


def test_other_traffic_is_not_taken_for_probes() -> None:
    for packet in (
        _ipv4("10.0.0.1", "10.0.0.2", 17, _udp(53, b"PNP?")),
        _ipv4("10.0.0.1", "10.0.0.2", 6, MAGIC * 10),
        _ipv4("10.0.0.1", "10.0.0.2", 17, _udp(4789, _vxlan(84, 0x0806, MAGIC))),
    ):
        assert decode.sighting(0x0800, packet, MAGIC) is None


def test_every_truncation_is_survived() -> None:
    for whole in (VXLAN_V4_IN_V4, GENEVE_V4_IN_V4, _ipv4("192.0.2.1", "192.0.2.2", 4, PROBE_V4)[:52]):
        assert decode.sighting(0x0800, whole, MAGIC) is not None
        for length in range(len(whole)):
            assert decode.sighting(0x0800, whole[:length], MAGIC) is None
            assert decode.sealed(0x0800, whole[:length]) is None


@given(st.sampled_from([0x0800, 0x86DD, 0x8100, 0x0806]), st.binary(max_size=200))
def test_noise_is_survived(ethertype: int, packet: bytes) -> None:
    assert decode.sighting(ethertype, packet, MAGIC) is None or MAGIC in packet


@given(st.integers(0, len(VXLAN_V4_IN_V4) - 1), st.integers(0, 255))
def test_damage_to_any_byte_is_survived(position: int, value: int) -> None:
    damaged = bytearray(VXLAN_V4_IN_V4)
    damaged[position] = value
    decode.sighting(0x0800, bytes(damaged), MAGIC)
