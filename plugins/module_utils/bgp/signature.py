# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the kernel signs TCP segments (RFC 2385), without which a session with a password never comes up."""

from __future__ import annotations

import socket
import struct

_TCP_MD5SIG = 14  # linux/tcp.h
# struct tcp_md5sig: address as sockaddr_storage, flags, prefix length, key length, interface index, key.
_KEY = struct.Struct("=128sBBHI80s")
_ADDRESS = struct.Struct("=HH4s")


def signs() -> bool:
    """Try it on a socket that is never connected (CONFIG_TCP_MD5SIG)."""
    address = _ADDRESS.pack(socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, _KEY.pack(address, 0, 0, 4, 0, b"none"))
        except OSError:
            return False
    return True
