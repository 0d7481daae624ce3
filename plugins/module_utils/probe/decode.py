# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes on the underlay to "this probe travelled inside that tunnel".

Everything here takes bytes from a network: whatever they are, the answer is a value or None, never an exception.

A tunnel is one function that takes what it finds behind its outer header and returns what it carries, and one entry in
a table: TUNNELS_BY_UDP for those with a UDP port, TUNNELS_BY_PROTOCOL for those with an IP protocol of their own.
UDP tunnels are recognised by their form, not by the port, so that a wrong port can be reported as such. WireGuard's
packets are known by their form, too; nobody can look into them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Callable, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
_VLAN_TAGS = (0x8100, 0x88A8)
# RFC 8926, 3.4: an Ethernet frame is inside.
_ETHERTYPE_BRIDGED = 0x6558
# WireGuard paper, 5.4.6: a transport message begins with the type 4 and three bytes of zero; receiver and counter (12
# bytes) follow, then what is encrypted, and a tag of 16. Without data it is a keepalive (6.5).
WIREGUARD_DATA = b"\x04\0\0\0"
_WIREGUARD_KEEPALIVE = 16 + 16
_UDP = 17
_FRAGMENT = 44
# Hop-by-hop, routing, destination options: each begins with next header and length in units of 8 bytes (RFC 8200, 4.2).
_SKIPPED_EXTENSIONS = (0, 43, 60)


class Datagram(NamedTuple):
    """An IP packet, of which perhaps only the beginning was captured."""

    source: bytes
    destination: bytes
    protocol: int
    fragment: bool
    payload: bytes


class Segment(NamedTuple):
    """A UDP datagram."""

    source_port: int
    port: int
    payload: bytes


class Carried(NamedTuple):
    """What a tunnel carries."""

    tunnel: str
    vni: int | None
    ethertype: int
    packet: bytes


class Encapsulation(NamedTuple):
    """The outside of a tunnelled packet."""

    type: str  # a name in TUNNEL_HEADERS, or "wireguard"
    vni: int | None
    outer_source: bytes
    outer_destination: bytes
    port: int | None


class Sighting(NamedTuple):
    """A packet of a pod as it was seen on the underlay."""

    source: bytes
    destination: bytes
    payload: bytes  # of its UDP datagram
    encapsulation: Encapsulation | None  # None: it travelled as it was
    fragmented: bool  # on the outside: cut in pieces between the nodes


def ethernet(frame: bytes) -> tuple[int, bytes] | None:
    """Ethertype and payload of an Ethernet frame."""
    if len(frame) < 14:
        return None
    return untagged(int.from_bytes(frame[12:14], "big"), frame[14:])


def untagged(ethertype: int, payload: bytes) -> tuple[int, bytes] | None:
    """Ethertype and payload behind any VLAN tags (IEEE 802.1Q: two bytes of tag, two of the next ethertype)."""
    while ethertype in _VLAN_TAGS:
        if len(payload) < 4:
            return None
        ethertype, payload = int.from_bytes(payload[2:4], "big"), payload[4:]
    return ethertype, payload


def ip(ethertype: int, packet: bytes) -> Datagram | None:
    """The IP packet of either version."""
    if ethertype == ETHERTYPE_IPV4:
        return _ipv4(packet)
    if ethertype == ETHERTYPE_IPV6:
        return _ipv6(packet)
    return None


def _ipv4(packet: bytes) -> Datagram | None:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    header = (packet[0] & 0x0F) * 4
    if header < 20 or len(packet) < header:
        return None
    (flags,) = struct.unpack_from("!H", packet, 6)
    # More fragments follow, or this is not the first one (RFC 791).
    fragment = bool(flags & 0x3FFF)
    return Datagram(packet[12:16], packet[16:20], packet[9], fragment, packet[header:])


def _ipv6(packet: bytes) -> Datagram | None:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    following, payload, fragment = packet[6], packet[40:], False
    while following in _SKIPPED_EXTENSIONS or following == _FRAGMENT:
        if len(payload) < 8:
            return None
        if following == _FRAGMENT:
            fragment, length = True, 8
        else:
            length = (payload[1] + 1) * 8
        if len(payload) < length:
            return None
        following, payload = payload[0], payload[length:]
    return Datagram(packet[8:24], packet[24:40], following, fragment, payload)


def udp(datagram: Datagram) -> Segment | None:
    """The UDP datagram inside an IP packet."""
    if datagram.protocol != _UDP or len(datagram.payload) < 8:
        return None
    source_port, port = struct.unpack_from("!HH", datagram.payload)
    return Segment(source_port, port, datagram.payload[8:])


def vxlan(payload: bytes) -> Carried | None:
    """RFC 7348, 5: flags with only the I bit, 24 reserved bits, VNI, 8 reserved bits; then an Ethernet frame."""
    if len(payload) < 8 or payload[:4] != b"\x08\0\0\0" or payload[7] != 0:
        return None
    inner = ethernet(payload[8:])
    return None if inner is None else Carried("vxlan", int.from_bytes(payload[4:7], "big"), *inner)


def geneve(payload: bytes) -> Carried | None:
    """RFC 8926, 3.4: version and length of options, flags, protocol type, VNI, 8 reserved bits; then the options."""
    if len(payload) < 8 or payload[0] >> 6 or payload[1] & 0x3F or payload[7] != 0:
        return None
    vni, carried = int.from_bytes(payload[4:7], "big"), payload[8 + (payload[0] & 0x3F) * 4 :]
    protocol = int.from_bytes(payload[2:4], "big")
    if protocol == _ETHERTYPE_BRIDGED:
        inner = ethernet(carried)
        return None if inner is None else Carried("geneve", vni, *inner)
    return Carried("geneve", vni, protocol, carried) if protocol in (ETHERTYPE_IPV4, ETHERTYPE_IPV6) else None


def ipip(payload: bytes) -> Carried:
    """RFC 2003: the outer header is followed by the inner one."""
    return Carried("ipip", None, ETHERTYPE_IPV4, payload)


def ip6ip6(payload: bytes) -> Carried:
    """RFC 2473, 3: as IP in IP; the encapsulation limit is an extension header of the outer one."""
    return Carried("ip6ip6", None, ETHERTYPE_IPV6, payload)


TUNNELS_BY_UDP: Mapping[str, Callable[[bytes], Carried | None]] = {"vxlan": vxlan, "geneve": geneve}
TUNNELS_BY_PROTOCOL: Mapping[int, Callable[[bytes], Carried | None]] = {4: ipip, 41: ip6ip6}

# Bytes between the end of the outer IP header and the beginning of the inner one, per tunnel: UDP, the tunnel's own
# header (GENEVE's without options), Ethernet.
TUNNEL_HEADERS: Mapping[str, int] = {"vxlan": 8 + 8 + 14, "geneve": 8 + 8 + 14, "ipip": 0, "ip6ip6": 0}


def sealed(ethertype: int, packet: bytes) -> Sighting | None:
    """A packet in which WireGuard carries data. Of what is inside, not even the addresses are seen: here they are the
    nodes'.
    """
    plain = untagged(ethertype, packet)
    outer = None if plain is None else ip(*plain)
    segment = None if outer is None else udp(outer)
    if outer is None or segment is None:
        return None
    if not segment.payload.startswith(WIREGUARD_DATA) or len(segment.payload) <= _WIREGUARD_KEEPALIVE:
        return None
    outside = Encapsulation("wireguard", None, outer.source, outer.destination, segment.port)
    return Sighting(outer.source, outer.destination, b"", outside, outer.fragment)


def sighting(ethertype: int, packet: bytes, magic: bytes) -> Sighting | None:
    """The UDP packet whose payload begins with `magic`, alone or inside one of the tunnels; None for anything else."""
    plain = untagged(ethertype, packet)
    outer = None if plain is None else ip(*plain)
    if outer is None:
        return None
    segment = udp(outer)
    if segment is not None and segment.payload.startswith(magic):
        return Sighting(outer.source, outer.destination, segment.payload, None, outer.fragment)
    port = None if segment is None else segment.port
    for carried in _carried(outer, segment):
        inner = ip(carried.ethertype, carried.packet)
        inside = None if inner is None else udp(inner)
        if inner is not None and inside is not None and inside.payload.startswith(magic):
            outside = Encapsulation(carried.tunnel, carried.vni, outer.source, outer.destination, port)
            return Sighting(inner.source, inner.destination, inside.payload, outside, outer.fragment)
    return None


def _carried(outer: Datagram, segment: Segment | None) -> tuple[Carried, ...]:
    if segment is None:
        decoder = TUNNELS_BY_PROTOCOL.get(outer.protocol)
        found = [] if decoder is None else [decoder(outer.payload)]
    else:
        found = [decoder(segment.payload) for decoder in TUNNELS_BY_UDP.values()]
    return tuple(carried for carried in found if carried is not None)
