# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listens to a group of nfnetlink_log (linux/netfilter/nfnetlink_log.h)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETFILTER = 12  # NETLINK_NETFILTER
_CONFIG = 4 << 8 | 1  # NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG
_PACKET = 4 << 8
_BIND, _COPY = (1, struct.pack("=B", 1)), (2, struct.pack("!IBx", 128, 2))
_PAYLOAD, _PREFIX = 9, 10
_ALIGN = 4


def listen(group: int) -> socket.socket:
    """A socket in the network namespace of the thread."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    opened.bind((0, 0))
    for kind, value in (_BIND, _COPY):
        attribute = struct.pack("=HH", 4 + len(value), kind) + value.ljust(-len(value) % _ALIGN + len(value), b"\0")
        body = struct.pack("!BBH", 0, 0, group) + attribute
        opened.send(struct.pack("=IHHII", 16 + len(body), _CONFIG, 1 | 4, 1, 0) + body)
        (error,) = struct.unpack_from("=i", opened.recv(4096), 16)
        if error:
            opened.close()
            raise OSError(-error, f"group {group} of nfnetlink_log")
    # The kernel hands packets over in parcels, after a second at the latest.
    opened.settimeout(1.2)
    return opened


def read(opened: socket.socket) -> Iterator[tuple[str, bytes]]:
    """The prefix and the beginning of each packet that was logged, until the socket has waited in vain."""
    while True:
        try:
            data = opened.recv(1 << 16)
        except TimeoutError:
            return
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == _PACKET:
                found = dict(_attributes(data[20:length]))
                yield found[_PREFIX].rstrip(b"\0").decode(), found[_PAYLOAD]
            data = data[(length + _ALIGN - 1) & -_ALIGN :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ALIGN:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x7FFF, data[4:length]
        data = data[(length + _ALIGN - 1) & -_ALIGN :]
