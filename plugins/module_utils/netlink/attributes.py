# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netlink's grammar: message header, attributes, verbs (linux/netlink.h). Everything is in host byte order."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# struct nlmsghdr: length, type, flags, sequence, port id.
MESSAGE = struct.Struct("=IHHII")
# struct nlattr: length, type.
ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")
_NUMBER_ATTRIBUTE = struct.Struct("=HHI")
# The two top bits of an attribute's type say "nested" and "network byte order" (NLA_TYPE_MASK).
NLA_F_NESTED = 0x8000
_TYPE_MASK = 0x3FFF

# Address family -> bytes of an address.
ADDRESS_SIZE: Mapping[int, int] = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_DUMP = 0x300
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

# What each verb asks of the kernel about an object that is there already.
VERBS: Mapping[str, int] = {
    "create": NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL,
    "replace": NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE,
    "append": NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND,
    "delete": NLM_F_REQUEST,
}


def verbs(new: int, delete: int) -> dict[str, tuple[int, int]]:
    """The message type and flags of every verb, for a kind of object whose message types are `new` and `delete`."""
    return {verb: (delete if verb == "delete" else new, flags) for verb, flags in VERBS.items()}


def message(kind: int, flags: int, body: bytes) -> bytes:
    """One message; the sequence number is the connection's to fill in."""
    return MESSAGE.pack(MESSAGE.size + len(body), kind, flags, 0, 0) + body


def attribute(kind: int, payload: bytes = b"") -> bytes:
    """One attribute, padded to the four bytes that the next one starts at."""
    return ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) & 3)


def number(kind: int, value: int) -> bytes:
    """One attribute that holds an unsigned number of 32 bits."""
    return _NUMBER_ATTRIBUTE.pack(8, kind, value)


def text(kind: int, value: str) -> bytes:
    """One attribute that holds a string, with the final zero byte that the kernel's policy NLA_NUL_STRING wants."""
    return attribute(kind, value.encode() + b"\0")


def walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The attributes in data[start:end], each as (type, offset of the payload, size of the payload)."""
    while start < end:
        if end - start < 4:
            raise ProtocolError(f"{end - start} bytes are left where an attribute should start")
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if length < 4 or start + length > end:
            raise ProtocolError(
                f"attribute {kind & _TYPE_MASK} claims {length} bytes of the {end - start} that there are"
            )
        yield kind & _TYPE_MASK, start + 4, length - 4
        start += (length + 3) & ~3


def attributes(data: bytes, start: int = 0, end: int | None = None) -> dict[int, bytes]:
    """The attributes in data[start:end] by type."""
    end = len(data) if end is None else end
    return {kind: data[offset : offset + size] for kind, offset, size in walk(data, start, end)}


def number_of(payload: bytes | None, default: int = 0) -> int:
    """An attribute's number of 8, 16 or 32 bits; `default` where the attribute is missing."""
    if payload is None:
        return default
    if len(payload) not in (1, 2, 4):
        raise ProtocolError(f"{len(payload)} bytes where a number should be")
    return int.from_bytes(payload, "little" if _NUMBER.pack(1)[0] else "big")


def text_of(payload: bytes | None) -> str:
    """An attribute's string; empty where the attribute is missing."""
    return (payload or b"").split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def index_of_device(index_of: Mapping[str, int], name: str) -> int:
    """The index of the device called `name`; the error is the one that the kernel gives for an unknown index."""
    try:
        return index_of[name]
    except KeyError:
        raise NetlinkError(errno.ENODEV, f"there is no device {name!r}") from None
