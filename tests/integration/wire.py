# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A netlink socket on which one message or dump goes wrong: the kernel itself answers, and its answer is changed."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .faults import Faults

# linux/netlink.h
_HEADER = struct.Struct("=IHHII")
_NLMSG_ERROR = 2
_NLM_F_DUMP, _NLM_F_DUMP_INTR = 0x300, 0x10
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
NO_SUCH_TYPE = 0xFFF0
"""Neither rtnetlink nor generic netlink knows it, so the kernel answers with an error of its own."""

EXTACK = "the kernel's own words"

MESSAGE_FAULTS: Sequence[tuple[str, int, str]] = (
    ("refused", errno.ENOBUFS, EXTACK),
    ("refused", errno.EPERM, ""),
    ("socket dies", errno.EBADF, ""),
    ("refused", errno.EEXIST, EXTACK),
    ("answer lost", errno.ENOBUFS, ""),
    ("refused", errno.ENOENT, ""),
    ("refused", errno.ENOMEM, ""),
    ("answer lost", errno.EAGAIN, ""),
)
DUMP_FAULTS: Sequence[tuple[str, int, str]] = (
    ("refused", errno.ENOMEM, EXTACK),
    ("interrupted", 100, ""),
    ("truncated", 0, ""),
    ("interrupted", 3, ""),
    ("socket dies", errno.EBADF, ""),
)


class Wire:
    """A netlink socket."""

    def __init__(self, real: socket.socket, faults: Faults) -> None:
        self._real, self._faults = real, faults
        self._refused: dict[int, tuple[int, str]] = {}
        self._lost = self._interruptions = 0
        self._truncated = False
        self._interrupted = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def send(self, request: bytearray) -> int:
        offset = 0
        while offset < len(request):
            length, kind, flags, sequence, _port = _HEADER.unpack_from(request, offset)
            body = bytes(request[offset + 16 : offset + length])
            dump = flags & _NLM_F_DUMP == _NLM_F_DUMP
            if not (dump and self._interrupted == body):
                faults = DUMP_FAULTS if dump else MESSAGE_FAULTS
                turn = self._faults.step("dump" if dump else "message", f"of type {kind}", len(faults))
                if turn is not None:
                    self._go_wrong(faults[turn], request, offset, sequence, body)
            offset += (length + 3) & ~3
        return self._real.send(request)

    def _go_wrong(
        self, fault: tuple[str, int, str], request: bytearray, offset: int, sequence: int, body: bytes
    ) -> None:
        name, number, extack = fault
        self._faults.injected += f" {name} {number} {extack}"
        self._faults.reason = extack or (os.strerror(number) if name != "truncated" else os.strerror(errno.EBADMSG))
        if name == "refused":
            self._refused[sequence] = (number, extack)
            struct.pack_into("=H", request, offset + 4, NO_SUCH_TYPE)
        elif name == "socket dies":
            self._real.close()
        elif name == "answer lost":
            self._lost = number
            self._faults.reason = os.strerror(errno.ETIMEDOUT if number == errno.EAGAIN else number)
        elif name == "interrupted":
            self._interruptions, self._interrupted = number, body
            self._faults.reason = "the table changed during each of"
        else:
            self._truncated = True

    def recv_into(self, buffer: bytearray, size: int, flags: int) -> int:
        got = self._real.recv_into(buffer, size, flags)
        if self._lost:
            number, self._lost = self._lost, 0
            raise OSError(number, os.strerror(number))
        if self._truncated:
            self._truncated = False
            return got - 5
        _length, kind, message_flags, sequence, port = _HEADER.unpack_from(buffer, 0)
        if kind == _NLMSG_ERROR and sequence in self._refused:
            number, extack = self._refused.pop(sequence)
            told = _error(number, extack, bytes(buffer[20:36]), sequence, port)
            buffer[: len(told)] = told
            return len(told)
        if self._interruptions:
            self._interruptions -= 1
            struct.pack_into("=H", buffer, 6, message_flags | _NLM_F_DUMP_INTR)
        return got


class Sockets:
    """The socket module as the netlink code sees it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, *arguments: int) -> Wire:
        self._faults.fails("netlink socket", "")
        return Wire(socket.socket(*arguments), self._faults)


def _error(number: int, extack: str, at_fault: bytes, sequence: int, port: int) -> bytes:
    words = extack.encode() + b"\0" if extack else b""
    attribute = struct.pack("=HH", 4 + len(words), _NLMSGERR_ATTR_MSG) + words if words else b""
    attribute += bytes(-len(attribute) % 4)
    flags = _NLM_F_CAPPED | (_NLM_F_ACK_TLVS if words else 0)
    body = struct.pack("=i", -number) + at_fault + attribute
    return _HEADER.pack(16 + len(body), _NLMSG_ERROR, flags, sequence, port) + body
