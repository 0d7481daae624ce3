# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netlink by the parts of Python that are there at once: what netlink/ needs takes longer to import than ADD may.

Numbers are those of linux/netlink.h.
"""

from __future__ import annotations

import _socket
from _struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REQUEST, ACK, EXCLUSIVE, CREATE = 0x1, 0x4, 0x200, 0x400  # NLM_F_*
ERROR = 2  # NLMSG_ERROR
NESTED = 0x8000
PATIENCE = 10.0
"""Seconds to wait for the kernel."""


def message(sort: int, flags: int, number: int, body: bytes) -> bytes:
    """A message; ``number`` is how its answer is told from others."""
    return pack("=IHHII", 16 + len(body), sort, flags, number, 0) + body


def attribute(sort: int, content: bytes) -> bytes:
    """An attribute, padded."""
    return pack("=HH", 4 + len(content), sort) + content + bytes(-len(content) % 4)


def nested(sort: int, content: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(sort | NESTED, content)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes, by sort and content."""
    position = 0
    while position + 4 <= len(data):
        length, sort = unpack_from("=HH", data, position)
        if length < 4:
            return
        yield sort & 0x3FFF, data[position + 4 : position + length]
        position += length + 3 & ~3


def exchange(protocol: int, messages: Sequence[bytes], numbers: set[int]) -> Iterator[bytes]:
    """Send all messages at once, and give what the kernel tells until those of these numbers are answered.

    :raises OSError: it has refused one, or says nothing
    """
    waiting = set(numbers)
    if not messages:
        return
    opened = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
    try:
        opened.settimeout(PATIENCE)
        opened.send(b"".join(messages))
        while waiting:
            received = opened.recv(1 << 16)
            position = 0
            while position + 16 <= len(received):
                length, sort, _flags, number = unpack_from("=IHHI", received, position)
                if length < 16:
                    raise OSError(f"a message of {length} bytes")
                body = received[position + 16 : position + length]
                if sort != ERROR:
                    yield body
                else:
                    (code,) = unpack_from("=i", body)
                    if code:
                        raise OSError(-code, f"the kernel has refused message {number}")
                waiting.discard(number)
                position += length + 3 & ~3
    finally:
        opened.close()
