# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware addresses that follow from a node's identity.

Peers keep a node's address in permanent neighbours, so a node that is made anew must come back with the one it had
(flannel#1036, k3s#9957).
"""

from __future__ import annotations

import hashlib


def vtep_mac(cluster: str, node: str) -> str:
    """Return the address of a node's end of the tunnels."""
    return _derive(f"{cluster}/{node}/vtep")


def bridge_mac(cluster: str, node: str) -> str:
    """Return the address of a node's bridge."""
    return _derive(f"{cluster}/{node}/bridge")


def _derive(identity: str) -> str:
    octets = bytearray(hashlib.sha256(identity.encode()).digest()[:6])
    # IEEE 802: the lowest bit of the first octet says group, the next one locally administered.
    octets[0] = octets[0] & 0xFE | 0x02
    return octets.hex(":")
