# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire format of a stream: numbered datagrams with a greeting before them and a farewell behind them.

Datagram: MAGIC, version, kind, 8 bytes of token, 8 bytes of number, then what the kind says.
TCP:      a greeting of GREETING bytes, answered with MAGIC; any bytes; at their end the receiver's count, 8 bytes.

A token is one flow: one start of one sender to one address by one protocol. It pairs what both ends counted.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, NamedTuple

MAGIC = b"PNST"
VERSION = 1

HELLO = 1  # is the receiver there? JSON behind the header tells the run and the names of both ends
READY = 2  # the answer
DATA = 3  # number: its own, from 0
END = 4  # number: how many there were
DONE = 5  # the answer. number: how many of them have arrived by now

HEADER = struct.Struct("!4sBB8sQ")
COUNT = struct.Struct("!Q")
# Of a TCP greeting, padded with spaces: read as a whole, without looking for its end.
GREETING = 512
LARGEST = 65535


class Datagram(NamedTuple):
    """What arrived, of whatever kind."""

    kind: int
    token: bytes
    number: int
    rest: bytes


class Hello(NamedTuple):
    """Who begins to send what."""

    run: str  # digest
    token: str  # hexadecimal
    sender: str
    target: str


def digest_of(run: str) -> str:
    """The name of a run as it travels."""
    return hashlib.sha256(run.encode()).hexdigest()[:32]


def encode(kind: int, token: bytes, number: int = 0, rest: bytes = b"") -> bytes:
    """A datagram."""
    return HEADER.pack(MAGIC, VERSION, kind, token, number) + rest


def decode(data: bytes) -> Datagram | None:
    """The datagram in `data`, None when it is anything else."""
    if len(data) < HEADER.size:
        return None
    magic, version, kind, token, number = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        return None
    return Datagram(kind, token, number, data[HEADER.size :])


def encode_hello(hello: Hello) -> bytes:
    """The JSON of a greeting."""
    return json.dumps(hello._asdict(), separators=(",", ":")).encode()


def decode_hello(data: bytes) -> Hello | None:
    """The greeting in `data`, None when it is anything else: what arrives from a network is not to be trusted."""
    try:
        said: Any = json.loads(data)
        hello = Hello(str(said["run"]), str(said["token"]), str(said["sender"]), str(said["target"]))
        bytes.fromhex(hello.token)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return hello
