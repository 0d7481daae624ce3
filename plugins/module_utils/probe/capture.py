# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching the underlay while probes are under way.

A cooked packet socket (SOCK_DGRAM) hands over packets from the network header on, so it does not matter what kind of
link the underlay is. A classic BPF program lets only probes through, so a busy node loses none of them to a full queue.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.probe import decode, message, responder

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_OUTGOING = 4
_SO_ATTACH_FILTER = 26
_SNAP = 256  # bytes kept of a packet: all headers and the head of a request

# Classic BPF (linux/bpf_common.h)
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_IP_HEADERS = (20, 40)  # IPv4 without options, IPv6
_UDP_HEADER = 8
_FRAGMENT_HEADER = 8  # IPv6 only


class CaptureError(PodnetError):
    """The underlay cannot be watched; the text says why and what to do."""


class Seen(NamedTuple):
    """One probe on the wire."""

    outgoing: bool
    what: decode.Sighting


def magic_offsets() -> tuple[int, ...]:
    """Where the magic of a probe can be, counted from the network header, ascending."""
    plain = {header + _UDP_HEADER for header in _IP_HEADERS}
    outside = {20, 40, 40 + _FRAGMENT_HEADER}
    tunnelled = {
        outer + tunnel + inner for outer in outside for tunnel in decode.TUNNEL_HEADERS.values() for inner in plain
    }
    return tuple(sorted(plain | tunnelled))


def sealed_offsets() -> tuple[int, ...]:
    """Where WireGuard's messages can begin, counted from the network header, ascending."""
    return tuple(sorted({header + _UDP_HEADER for header in (*_IP_HEADERS, 40 + _FRAGMENT_HEADER)}))


def filter_program(sealed: bool = False) -> bytes:
    """Instructions (struct sock_filter: code, jump if true, jump if false, constant) that accept probes only.

    A load behind the end of a packet ends the program with "drop"; so a probe is at least message.SMALLEST long and the
    offsets ascend.

    :param sealed: accept WireGuard's data, too: probes cannot be told in it
    """
    words = [(offset, message.MAGIC) for offset in magic_offsets()]
    if sealed:
        words = sorted(words + [(offset, decode.WIREGUARD_DATA) for offset in sealed_offsets()])
    program = []
    for number, (offset, word) in enumerate(words):
        remaining = len(words) - number - 1
        program.append((_LOAD_WORD, 0, 0, offset))
        # If equal, jump over the remaining pairs and over the "drop".
        program.append((_JUMP_EQUAL, 2 * remaining + 1, 0, int.from_bytes(word, "big")))
    program.append((_RETURN, 0, 0, 0))
    program.append((_RETURN, 0, 0, _SNAP))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def watch(interface: str, sealed: bool = False) -> socket.socket:
    """A packet socket on `interface` that receives probes, and WireGuard's data if wanted, both directions."""
    return listen(interface, filter_program(sealed))


def listen(interface: str, instructions: bytes) -> socket.socket:
    """A packet socket on `interface`, on all of them when it is empty, that receives what the program accepts."""
    try:
        # Protocol 0 receives nothing until bind(), so no packet comes in before the filter is there. Without an
        # interface there is no bind(), and what comes in before is read and passed over like anything else.
        protocol = 0 if interface else socket.htons(_ETH_P_ALL)
        watcher = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, protocol)
    except OSError as error:
        raise CaptureError(f"packet socket: {error.strerror}; is this root?") from error
    try:
        program = ctypes.create_string_buffer(instructions, len(instructions))
        count = len(instructions) // 8
        # struct sock_fprog: unsigned short, padding, pointer
        watcher.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(program)))
        watcher.setsockopt(socket.SOL_SOCKET, responder.SO_RCVBUFFORCE, 4 << 20)
        watcher.setblocking(False)
        if interface:
            watcher.bind((interface, _ETH_P_ALL))
    except OSError as error:
        watcher.close()
        raise CaptureError(
            f"capture on {interface or 'all interfaces'}: {error.strerror}; `ip link` shows the interfaces there are"
        ) from error
    return watcher


def drain(watcher: socket.socket) -> list[Seen]:
    """The probes seen since the last call."""
    seen: list[Seen] = []
    while True:
        try:
            packet, address = watcher.recvfrom(_SNAP)
        except BlockingIOError:
            return seen
        except OSError:  # ENETDOWN: the interface went down; the probes will tell
            return seen
        sighting = decode.sighting(address[1], packet, message.MAGIC) or decode.sealed(address[1], packet)
        if sighting is not None:
            seen.append(Seen(address[2] == _PACKET_OUTGOING, sighting))


def lost(watcher: socket.socket) -> int:
    """Probes that were seen but not kept since the last call (struct tpacket_stats: packets, drops)."""
    _packets, drops = struct.unpack("=II", watcher.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(drops)
