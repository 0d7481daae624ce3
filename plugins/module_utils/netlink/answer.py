# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sorts the datagrams that answer a dump request into blocks of equal-looking messages."""

from __future__ import annotations

import struct

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    MESSAGE,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_DUMP_INTR,
    attributes,
    text_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block

NLMSG_ERROR = 2
NLMSG_DONE = 3
# Types below this one are netlink's own (NLMSG_MIN_TYPE).
NLMSG_MIN_TYPE = 16
_ERRNO = struct.Struct("=i")
_NLMSGERR_ATTR_MSG = 1
_MAX_ERRNO = 4095  # linux/err.h
# Length, type, flags and sequence: equal in messages that look alike. The port id behind them is our own.
_COMPARED_HEADER = 12


def header_at(datagram: bytes, offset: int) -> tuple[int, int, int, int]:
    """Length, type, flags and sequence number of the message at `offset`, which is checked to lie in the datagram."""
    left = len(datagram) - offset
    if left < MESSAGE.size:
        raise ProtocolError(f"{left} bytes are left where a message should start")
    length, kind, flags, sequence, _port = MESSAGE.unpack_from(datagram, offset)
    if length < MESSAGE.size or length > left:
        raise ProtocolError(f"message {kind} claims {length} bytes of the {left} that there are")
    return length, kind, flags, sequence


def error_in(datagram: bytes, offset: int, length: int, kind: int, flags: int) -> NetlinkError | None:
    """What an NLMSG_ERROR or NLMSG_DONE message reports; None when it reports success."""
    start = offset + MESSAGE.size
    end = offset + length
    if end - start < _ERRNO.size:
        if kind == NLMSG_DONE:
            return None
        raise ProtocolError(f"an error message of {length} bytes holds no error number")
    (negative,) = _ERRNO.unpack_from(datagram, start)
    if negative >= 0:
        return None
    if negative < -_MAX_ERRNO:
        raise ProtocolError(f"an error message holds {negative}, which is no error number")
    extack = ""
    if flags & NLM_F_ACK_TLVS:
        start += _ERRNO.size
        if kind == NLMSG_ERROR:
            # The message at fault follows: its header only, or all of it when the kernel does not cap.
            at_fault = MESSAGE.size if flags & NLM_F_CAPPED else header_at(datagram, start)[0]
            start += (at_fault + 3) & ~3
        extack = text_of(attributes(datagram, start, end).get(_NLMSGERR_ATTR_MSG))
    return NetlinkError(-negative, extack)


def only(datagram: bytes, sequence: int) -> Block | None:
    """The message that answers the request of that number for one object; None when the datagram is another's."""
    length, kind, flags, answered = header_at(datagram, 0)
    if answered != sequence:
        return None
    error = error_in(datagram, 0, length, kind, flags) if kind == NLMSG_ERROR else None
    if error is not None:
        raise error
    if kind < NLMSG_MIN_TYPE:
        raise ProtocolError(f"message {kind} is no answer to a request for one object")
    return Block(kind, length, _stride(length), datagram[:length].ljust(_stride(length), b"\0"))


class Answer:
    """The answer to one dump request, datagram by datagram."""

    def __init__(self, sequence: int) -> None:
        self._sequence = sequence
        self._parts: dict[tuple[int, int], list[bytes]] = {}
        self.interrupted = False

    def add(self, datagram: bytes) -> bool:
        """Sort in the messages of one datagram; True when the dump ended with it."""
        offset = self._add_run(datagram)
        while offset < len(datagram):
            length, kind, flags, sequence = header_at(datagram, offset)
            if sequence == self._sequence:
                self.interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if kind >= NLMSG_MIN_TYPE:
                    self._keep(length, kind, datagram[offset : offset + _stride(length)])
                elif kind in (NLMSG_DONE, NLMSG_ERROR):
                    error = error_in(datagram, offset, length, kind, flags)
                    if error is not None:
                        raise error
                    return True
            offset += _stride(length)
        return False

    def blocks(self) -> list[Block]:
        """All the messages, grouped by type and length."""
        return [Block(kind, length, _stride(length), b"".join(parts)) for (length, kind), parts in self._parts.items()]

    def _add_run(self, datagram: bytes) -> int:
        """Keep the messages that look like the first one, up to the first that does not; the offset of that one."""
        length, kind, flags, sequence = header_at(datagram, 0)
        if kind < NLMSG_MIN_TYPE or sequence != self._sequence or flags & NLM_F_DUMP_INTR:
            return 0
        stride = _stride(length)
        run = len(datagram) // stride
        for header_byte in range(_COMPARED_HEADER):
            column = datagram[header_byte : run * stride : stride]
            run -= len(column.lstrip(column[:1]))
        self._keep(length, kind, datagram[: run * stride])
        return run * stride

    def _keep(self, length: int, kind: int, part: bytes) -> None:
        # The last message of a datagram need not be padded.
        missing = -len(part) % _stride(length)
        self._parts.setdefault((length, kind), []).append(part + bytes(missing) if missing else part)


def _stride(length: int) -> int:
    return (length + 3) & ~3
