# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of sets and verdict maps of the table ``inet podnet``, added in one transaction by netlink itself.

The tool nft would read the table first. Numbers are those of linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import _socket
from _struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Element = tuple[str, str, "str | None"]

TABLE = b"podnet"
NETLINK_NETFILTER, NFPROTO_INET = 12, 1
BATCH_BEGIN, BATCH_END, SUBSYSTEM = 0x10, 0x11, 10  # NFNL_MSG_BATCH_*, NFNL_SUBSYS_NFTABLES
NEW, DELETE, ERROR = 12, 14, 2  # NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM, NLMSG_ERROR
REQUEST, ACK, CREATE = 0x1, 0x4, 0x400
NESTED = 0x8000
LIST_TABLE, LIST_SET, LIST_ELEMENTS, ITEM = 1, 2, 3, 1  # NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM
KEY, DATA = 1, 2  # NFTA_SET_ELEM_*
VALUE, VERDICT, VERDICT_CODE, VERDICT_CHAIN = 1, 2, 1, 2  # NFTA_DATA_*, NFTA_VERDICT_*
JUMP = 0xFFFFFFFD  # NFT_JUMP
PATIENCE = 10.0
"""Seconds to wait for the kernel."""


def add(elements: Sequence[Element]) -> None:
    """Add elements, each of a set, with an address and, in a map, the chain that it leads to. All of them or none.

    :raises OSError: the kernel has refused, and nothing has changed
    """
    _transact(NEW, REQUEST | ACK | CREATE, elements)


def remove(elements: Sequence[Element]) -> None:
    """Remove elements. All of them or none.

    :raises OSError: the kernel has refused, and nothing has changed
    """
    _transact(DELETE, REQUEST | ACK, elements)


def _transact(verb: int, flags: int, elements: Sequence[Element]) -> None:
    messages = [_message(BATCH_BEGIN, REQUEST, 0, pack(">BBH", 0, 0, SUBSYSTEM))]
    for number, (name, address, chain) in enumerate(elements, 1):
        messages.append(_message(SUBSYSTEM << 8 | verb, flags, number, _body(name, address, chain)))
    messages.append(_message(BATCH_END, REQUEST, 0, pack(">BBH", 0, 0, SUBSYSTEM)))
    made = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        made.settimeout(PATIENCE)
        made.send(b"".join(messages))
        waiting = set(range(1, len(elements) + 1))
        while waiting:
            for number, code in _answers(made.recv(1 << 16)):
                if code:
                    name, address, _chain = elements[number - 1] if number else ("the transaction", "", None)
                    raise OSError(-code, f"nftables: element {address} of {name} was refused")
                waiting.discard(number)
    finally:
        made.close()


def _body(name: str, address: str, chain: str | None) -> bytes:
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    element = _nested(KEY, _attribute(VALUE, _socket.inet_pton(family, address)))
    if chain is not None:
        verdict = _attribute(VERDICT_CODE, pack(">I", JUMP)) + _attribute(VERDICT_CHAIN, chain.encode() + b"\0")
        element += _nested(DATA, _nested(VERDICT, verdict))
    listed = _nested(LIST_ELEMENTS, _nested(ITEM, element))
    return (
        pack(">BBH", NFPROTO_INET, 0, 0)
        + _attribute(LIST_TABLE, TABLE + b"\0")
        + _attribute(LIST_SET, name.encode() + b"\0")
        + listed
    )


def _message(sort: int, flags: int, number: int, body: bytes) -> bytes:
    return pack("=IHHII", 16 + len(body), sort, flags, number, 0) + body


def _nested(sort: int, content: bytes) -> bytes:
    return _attribute(sort | NESTED, content)


def _attribute(sort: int, content: bytes) -> bytes:
    return pack("=HH", 4 + len(content), sort) + content + bytes(-len(content) % 4)


def _answers(received: bytes) -> Iterator[tuple[int, int]]:
    """The sequence numbers and error codes of what came back."""
    position = 0
    while position + 20 <= len(received):
        length, sort, _flags, number, _port, code = unpack_from("=IHHIIi", received, position)
        if sort == ERROR:
            yield number, code
        position += max(length + 3 & ~3, 16)
