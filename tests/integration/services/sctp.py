# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""First packets of SCTP over raw sockets: not every kernel has SCTP's own."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.services.ground import netns

if TYPE_CHECKING:
    from collections.abc import Collection

IPPROTO_SCTP = 132
PORT = {"port": scene.PORT, "targetPort": scene.TARGET, "protocol": "SCTP"}
"""Of a service."""


def reached(client: str, address: str, backends: Collection[str], tries: int = 30) -> set[str]:
    """Which of these pods get what a client sends to a service, until all of them have or that often."""
    sort = socket.AF_INET6 if ":" in address else socket.AF_INET
    found: set[str] = set()
    with ExitStack() as opened:
        raw = {}
        for pod in (client, *backends):
            with namespace.inside(netns(pod)):
                raw[pod] = opened.enter_context(socket.socket(sort, socket.SOCK_RAW, IPPROTO_SCTP))
            raw[pod].settimeout(2)
        for port in range(5000, 5000 + tries):
            raw[client].sendto(_init(port, scene.PORT), (address, 0))
            ready, _writable, _failed = select.select([raw[pod] for pod in backends], [], [], 1)
            for each in ready:
                packet = each.recv(2048)
                # An IPv4 raw socket gives the header, too.
                head = packet if ":" in address else packet[(packet[0] & 15) * 4 :]
                if struct.unpack_from("!HH", head) == (port, scene.TARGET):
                    found.update(pod for pod, held in raw.items() if held is each)
            if found == set(backends):
                break
    return found


def _init(source: int, destination: int) -> bytes:
    """A packet with an INIT chunk (RFC 9260), whose checksum is right: what is wrong is not tracked."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
    crc = 0xFFFFFFFF
    for octet in struct.pack("!HHII", source, destination, 0, 0) + chunk:
        crc ^= octet
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)  # CRC-32C, reflected
    return struct.pack("!HHI", source, destination, 0) + struct.pack("<I", crc ^ 0xFFFFFFFF) + chunk
