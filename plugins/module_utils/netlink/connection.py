# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket: dumps that are consistent, and batches whose errors are told apart by sequence number."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.answer import (
    NLMSG_ERROR,
    Answer,
    error_in,
    header_at,
    only,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    message,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import (
    DumpInterrupted,
    NetlinkError,
    ProtocolError,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self


# linux/netlink.h and linux/socket.h
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_SO_NETNS_COOKIE = 71

_RECEIVE_BUFFER = 8 << 20
_SEND_BUFFER = 1 << 20
# A dump's datagrams have up to 64 KiB; the rest is for what later kernels may do.
_DATAGRAM = 1 << 20
_MESSAGES_PER_SEND = 512
_BYTES_PER_SEND = 128 << 10
# What one error message takes from the receive buffer: a small skb with its bookkeeping, extended ack included.
_BYTES_PER_ERROR = 2304
_ANSWER_SECONDS = 60
_DUMP_ATTEMPTS = 25

_FLAGS = struct.Struct("=H")
_SEQUENCE = struct.Struct("=I")


_TABLES = {18: "links", 22: "addresses", 26: "routes", 30: "neighbours", 34: "rules", 106: "nexthop objects"}
"""What a dump request of each type (linux/rtnetlink.h) asks for."""


_OF_THREAD = threading.local()


def _buffer() -> bytearray:
    """Where a thread receives: what is there is copied before it does so again.

    To find so much memory takes half a millisecond.
    """
    found: bytearray | None = getattr(_OF_THREAD, "buffer", None)
    if found is None:
        found = _OF_THREAD.buffer = bytearray(_DATAGRAM)
    return found


class Netlink:
    """A netlink socket in the network namespace of the thread that opens it.

    :param protocol: which of the kernel's subsystems answers; for what is not routing see generic.py
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._sequence = 0
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "while opening a netlink socket") from error
        self._enlarge(_SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._enlarge(_SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _ANSWER_SECONDS, 0))
        self._option(_NETLINK_CAP_ACK)
        self._option(_NETLINK_EXT_ACK)
        # Without it (Linux < 4.20) the kernel ignores a dump request's filters.
        self.strict = self._option(_NETLINK_GET_STRICT_CHK)
        self._socket.bind((0, 0))
        room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        # Every message of a send may fail, and all those errors must fit in the receive buffer.
        self._messages_per_send = max(1, min(_MESSAGES_PER_SEND, room // _BYTES_PER_ERROR))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def namespace(self) -> int:
        """What tells its network namespace from all others since the machine started; 0 before Linux 5.14."""
        try:
            return int.from_bytes(self._socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return 0

    def dump(self, kind: int, body: bytes) -> list[Block]:
        """All that the kernel answers to the dump request of type `kind`: a consistent copy of the table.

        Raises DumpInterrupted when the table changed during every attempt to read it.
        """
        try:
            return self._dump(kind, body)
        except NetlinkError as error:
            error.doing = f"reading the {_TABLES.get(kind, 'state')} of the kernel"
            raise

    def _dump(self, kind: int, body: bytes) -> list[Block]:
        for _attempt in range(_DUMP_ATTEMPTS):
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            request = bytearray(message(kind, NLM_F_REQUEST | NLM_F_DUMP, body))
            _SEQUENCE.pack_into(request, 8, self._sequence)
            self._send(request)
            answer = Answer(self._sequence)
            while not answer.add(self._receive()):
                pass
            if not answer.interrupted:
                return answer.blocks()
        raise DumpInterrupted(_DUMP_ATTEMPTS)

    def get(self, kind: int, body: bytes) -> Block:
        """The one message that the kernel answers to a request for one object; its refusal is raised."""
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        request = bytearray(message(kind, NLM_F_REQUEST, body))
        _SEQUENCE.pack_into(request, 8, self._sequence)
        self._send(request)
        while True:
            answer = only(self._receive(), self._sequence)
            if answer is not None:
                return answer

    def batch(self, messages: Sequence[bytes]) -> list[tuple[int, NetlinkError]]:
        """Send all the messages; the ones that failed, as (index in `messages`, error).

        A failure does not stop the others: netlink has no transactions.
        """
        failures: list[tuple[int, NetlinkError]] = []
        first = 0
        while first < len(messages):
            past = first
            size = 0
            while past < len(messages) and past - first < self._messages_per_send and size < _BYTES_PER_SEND:
                size += len(messages[past])
                past += 1
            failures += [(first + nth, error) for nth, error in self._exchange(messages[first:past])]
            first = past
        return failures

    def at_once(self, messages: Sequence[bytes]) -> list[tuple[int, NetlinkError]]:
        """As `batch`, but all in one send, as what is to hold together or not at all has to go.

        :raises NetlinkError: they are more than whose errors could be told apart
        """
        if len(messages) > self._messages_per_send:
            raise NetlinkError(errno.EMSGSIZE, f"{len(messages)} messages in one send")
        size = sum(map(len, messages))
        if size > _SEND_BUFFER // 2:
            # The kernel takes a send of at most what the buffer has.
            self._enlarge(_SO_SNDBUFFORCE, socket.SO_SNDBUF, size + _SEND_BUFFER)
        return list(self._exchange(messages))

    def _exchange(self, messages: Sequence[bytes]) -> list[tuple[int, NetlinkError]]:
        base = self._sequence + 1
        if base + len(messages) > 0xFFFFFFFF:
            base = 1
        request = bytearray().join(messages)
        offset = 0
        pack_sequence = _SEQUENCE.pack_into
        for sequence, each in enumerate(messages, base):
            pack_sequence(request, offset + 8, sequence)
            offset += len(each)
        # An error comes for every message that fails, asked or not; success is told of the last one only.
        last = offset - len(messages[-1]) + 6
        (flags,) = _FLAGS.unpack_from(request, last)
        _FLAGS.pack_into(request, last, flags | NLM_F_ACK)
        self._sequence = base + len(messages) - 1
        self._send(request)
        return self._acknowledgements(base, len(messages))

    def _acknowledgements(self, base: int, count: int) -> list[tuple[int, NetlinkError]]:
        failures: list[tuple[int, NetlinkError]] = []
        while True:
            datagram = self._receive()
            offset = 0
            while offset < len(datagram):
                length, kind, flags, sequence = header_at(datagram, offset)
                nth = sequence - base
                if kind == NLMSG_ERROR and 0 <= nth < count:
                    error = error_in(datagram, offset, length, kind, flags)
                    if error is not None:
                        failures.append((nth, error))
                    if nth == count - 1:
                        return failures
                offset += (length + 3) & ~3

    def _send(self, request: bytearray) -> None:
        try:
            self._socket.send(request)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "while sending to the kernel") from error

    def _receive(self) -> bytes:
        buffer = _buffer()
        try:
            # MSG_TRUNC makes the kernel tell the datagram's true size.
            size = self._socket.recv_into(buffer, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            raise NetlinkError(errno.ETIMEDOUT, f"no answer from the kernel in {_ANSWER_SECONDS} s") from None
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "while waiting for the kernel's answer") from error
        if size > len(buffer):
            raise ProtocolError(f"a datagram of {size} bytes does not fit in {len(buffer)}")
        if not size:
            raise ProtocolError("an empty datagram")
        return bytes(memoryview(buffer)[:size])

    def _enlarge(self, force: int, polite: int, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, force, size)
        except PermissionError:
            # Not root of the machine (a user namespace): as much as net.core.rmem_max allows.
            self._socket.setsockopt(socket.SOL_SOCKET, polite, size)

    def _option(self, option: int) -> bool:
        try:
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        except OSError:
            return False
        return True
