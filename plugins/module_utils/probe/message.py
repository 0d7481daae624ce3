# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire format of a probe: what is asked, and what the responder says it saw.

Request: MAGIC, version, kind, 8 bytes of nonce, 16 bytes of the digest of the run, zeros up to the size asked for.
Reply:   MAGIC, a JSON object, spaces up to the size of the request when it is an echo.

The magic comes first in both directions, so that a capture finds probes at a handful of fixed offsets.
A responder answers only requests of its own run: a passing scanner gets nothing, let alone an amplifier.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, NamedTuple

MAGIC = b"PNPB"
VERSION = 1
# A request is never shorter than this. The capture filter reads up to byte 130 of a packet (see capture.py), and
# classic BPF drops a packet on the first read behind its end: 28 bytes of headers plus 128 are enough.
SMALLEST = 128
LARGEST = 65535

SMALL = 1  # is anybody there?
FULL = 2  # did this size arrive? Asks for an echo of the same size beside the short reply.
OVER = 3  # did one byte more arrive?

_HEADER = struct.Struct("!4sBB8s16s")


class Request(NamedTuple):
    """A request as the responder received it."""

    kind: int
    nonce: bytes
    digest: bytes


class Reply(NamedTuple):
    """What the receiver of a request says about it."""

    nonce: bytes
    name: str  # the responder's own name
    source: str  # the address that it saw as the source
    port: int
    length: int  # bytes of payload received
    echo: bool  # padded to the request's size
    held: int  # microseconds from the request's arrival to this reply


def digest_of(run: str) -> bytes:
    """The name of a run as it travels."""
    return hashlib.sha256(run.encode()).digest()[:16]


def encode_request(kind: int, nonce: bytes, digest: bytes, size: int = SMALLEST) -> bytes:
    """A request of exactly `size` bytes of payload."""
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"a probe has {SMALLEST} to {LARGEST} bytes, not {size}")
    return _HEADER.pack(MAGIC, VERSION, kind, nonce, digest).ljust(size, b"\0")


def decode_request(data: bytes) -> Request | None:
    """The request in `data`, None when it is anything else."""
    if len(data) < SMALLEST:
        return None
    magic, version, kind, nonce, digest = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        return None
    return Request(kind, nonce, digest)


def encode_reply(reply: Reply) -> bytes:
    """The reply's bytes; an echo is padded to the length that it reports."""
    body = MAGIC + json.dumps({**reply._asdict(), "nonce": reply.nonce.hex()}, separators=(",", ":")).encode()
    return body.ljust(reply.length, b" ") if reply.echo else body


def decode_reply(data: bytes) -> Reply | None:
    """The reply in `data`, None when it is anything else: what arrives from a network is not to be trusted."""
    if data[:4] != MAGIC:
        return None
    try:
        said: Any = json.loads(data[4:])
        return Reply(
            nonce=bytes.fromhex(said["nonce"]),
            name=str(said["name"]),
            source=str(said["source"]),
            port=int(said["port"]),
            length=int(said["length"]),
            echo=bool(said["echo"]),
            held=int(said["held"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
