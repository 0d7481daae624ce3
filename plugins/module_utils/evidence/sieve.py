# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet socket that sees our probes in every shape, on every interface, and next to nothing else.

A classic BPF program looks for the probe's magic wherever headers may have put it: plain, in a tunnel of
probe/decode.py, in Geneve behind options, behind a VLAN tag that is still in the packet. WireGuard leaves nothing to
look for, so its data messages pass by the only thing that is known of them, their length.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.probe import capture, decode, message

if TYPE_CHECKING:
    from collections.abc import Iterator

IP_HEADERS = {4: 20, 6: 40}  # RFC 791 without options, RFC 8200 without extension headers
UDP = 8
WIREGUARD = 32
"""Bytes of a WireGuard data message beside the packet (WireGuard paper, 5.4.6): 16 before it, 16 behind."""

STEP = 16
SHORTEST = 448
"""Bytes of the shortest probe with its IP header.

Every probe of a run has its own length: a multiple of WireGuard's padding, so that the length shows through the
encryption. All loads of the program are within the shortest one: a load behind the end of a packet drops it.
"""

SLOTS = 48
"""As many lengths are there, up to 1,200 bytes: with any tunnel's header below IPv6's least MTU of 1,280."""

_MAGIC = int.from_bytes(message.MAGIC, "big")
_WIREGUARD_DATA = int.from_bytes(decode.WIREGUARD_DATA, "big")
_GENEVE = 8  # RFC 8926, 3.4, without options
_ETHERNET = 14
_VLAN_TAG = 4

# Classic BPF (linux/bpf_common.h)
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_BYTE = 0x30  # BPF_LD | BPF_B | BPF_ABS
_LOAD_LENGTH = 0x80  # BPF_LD | BPF_W | BPF_LEN
_LOAD_INDEXED = 0x40  # BPF_LD | BPF_W | BPF_IND
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_JUMP_FROM = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_SHIFT_LEFT = 0x64  # BPF_ALU | BPF_LSH | BPF_K
_TO_INDEX = 0x07  # BPF_MISC | BPF_TAX
_RETURN = 0x06  # BPF_RET | BPF_K
_WHOLE = 0xFFFF

Instruction = tuple[int, int, int, int]


def length_of(slot: int) -> int:
    """Bytes of the probes of a slot, with their IP header."""
    return SHORTEST + STEP * slot


def slot_of(length: int) -> int | None:
    """The slot whose probes have this length."""
    slot, rest = divmod(length - SHORTEST, STEP)
    return slot if not rest and 0 <= slot < SLOTS else None


def program() -> bytes:
    """Instructions (struct sock_filter: code, jump if true, jump if false, constant) for a cooked packet socket."""
    instructions = [*_wireguard(), *_fixed_places(), *_geneve_with_options(), (_RETURN, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def _wireguard() -> Iterator[Instruction]:
    """The type in its first word, and a length that one of our probes would have."""
    for header in IP_HEADERS.values():
        for tag in (0, _VLAN_TAG):
            around = tag + header + UDP + WIREGUARD
            yield (_LOAD_WORD, 0, 0, tag + header + UDP)
            yield (_JUMP_EQUAL, 0, 4, _WIREGUARD_DATA)
            yield (_LOAD_LENGTH, 0, 0, 0)
            yield (_JUMP_FROM, 0, 2, around + SHORTEST)
            yield (_JUMP_GREATER, 1, 0, around + length_of(SLOTS - 1))
            yield (_RETURN, 0, 0, _WHOLE)


def _fixed_places() -> Iterator[Instruction]:
    for offset in sorted({place + tag for place in capture.magic_offsets() for tag in (0, _VLAN_TAG)}):
        yield (_LOAD_WORD, 0, 0, offset)
        yield (_JUMP_EQUAL, 0, 1, _MAGIC)
        yield (_RETURN, 0, 0, _WHOLE)


def _geneve_with_options() -> Iterator[Instruction]:
    """The low six bits of the header's first byte are the length of the options in units of four bytes."""
    for outer in IP_HEADERS.values():
        for tag in (0, _VLAN_TAG):
            start = tag + outer + UDP
            yield (_LOAD_BYTE, 0, 0, start)
            yield (_AND, 0, 0, 0x3F)
            yield (_SHIFT_LEFT, 0, 0, 2)
            yield (_TO_INDEX, 0, 0, 0)
            for inner in IP_HEADERS.values():
                yield (_LOAD_INDEXED, 0, 0, start + _GENEVE + _ETHERNET + inner + UDP)
                yield (_JUMP_EQUAL, 0, 1, _MAGIC)
                yield (_RETURN, 0, 0, _WHOLE)


def listen(interface: str = "") -> socket.socket:
    """A packet socket that receives probes on one interface, or on all.

    :raises CaptureError: not root, no such interface
    """
    return capture.listen(interface, program())
