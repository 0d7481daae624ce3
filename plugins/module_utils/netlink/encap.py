# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outer header that a lightweight tunnel puts before a packet (linux/lwtunnel.h)."""

from __future__ import annotations

from typing import NamedTuple


class Encap(NamedTuple):
    """``type`` is "ip" or "ip6"; ``id`` the tunnel's key (a VNI); addresses are packed."""

    type: str
    id: int = 0
    dst: bytes = b""
    src: bytes = b""
