# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames as a pod can put them on its interface, whatever address it has: each ends with a word to know it by."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

ETH_IPV4, ETH_ARP, ETH_VLAN, ETH_IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
ETH_ALL = 3  # linux/if_ether.h
BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "ff02::1"
WORD = 8


def ether(source: str, destination: str, kind: int, payload: bytes) -> bytes:
    """A frame."""
    return b"".join(bytes.fromhex(each.replace(":", "")) for each in (destination, source)) + struct.pack(
        "!H", kind
    ) + payload  # fmt: skip


def tagged(kind: int, payload: bytes) -> bytes:
    """What follows the kind of a frame with tag 0."""
    return struct.pack("!HH", 0, kind) + payload


def arp(mac: str, sender: str, target: str) -> bytes:
    """Who has the target? tell the sender."""
    return (
        struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, 1)
        + bytes.fromhex(mac.replace(":", ""))
        + socket.inet_aton(sender)
        + bytes(6)
        + socket.inet_aton(target)
    )


def ipv4(source: str, destination: str, payload: bytes) -> bytes:
    """A datagram to port 9, with a checksum of the header alone."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    header += socket.inet_aton(source) + socket.inet_aton(destination)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]
    return header + struct.pack("!HHHH", 9, 9, 8 + len(payload), 0) + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """A packet with hop limit 255."""
    ends = b"".join(ipaddress.IPv6Address(each).packed for each in (source, destination))
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + ends + payload


def neighbour(source: str, kind: int, target: str, word: bytes) -> bytes:
    """A solicitation (135) or an advertisement (136) to everybody; the word is in an option that nobody knows."""
    body = ipaddress.IPv6Address(target).packed + bytes([250, 2]) + word.rjust(14, b"\0")
    message = struct.pack("!BBHI", kind, 0, 0, 0) + body
    pseudo = ipv6(source, ALL_NODES, 58, message)[8:40] + struct.pack("!II", len(message), 58)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(message)) // 2}H", pseudo + message))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return ipv6(source, ALL_NODES, 58, message[:2] + struct.pack("!H", checksum) + message[4:])


def heard(sender: str, receiver: str, frames: Mapping[bytes, bytes], last: bytes) -> set[bytes]:
    """Which frames get from a pod's interface to another's: the words that they end with.

    :param frames: by their words
    :param last: the word of one that passes, and that is sent last
    """
    opened = []
    for name in (sender, receiver):
        with namespace.inside(name):
            opened.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL)))
            opened[-1].bind(("eth0", 0))
    found: set[bytes] = set()
    with opened[0] as out, opened[1] as into:
        into.settimeout(5)
        for word in sorted(frames, key=lambda each: each == last):
            out.send(frames[word])
        while last not in found:
            data = into.recv(4096)
            found.update(word for word in frames if word in data)
    return found
