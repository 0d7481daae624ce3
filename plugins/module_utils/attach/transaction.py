# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of sets of our tables, ``inet podnet`` and ``bridge podnet``, added in one transaction.

The tool nft would read the table first. Numbers are those of linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

from _struct import pack

from ansible_collections.podnet.fabric.plugins.module_utils.attach import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = b"podnet"
NETLINK_NETFILTER = 12
INET, BRIDGE = 1, 7  # NFPROTO_*
BATCH_BEGIN, BATCH_END, SUBSYSTEM = 0x10, 0x11, 10  # NFNL_MSG_BATCH_*, NFNL_SUBSYS_NFTABLES
NEW = 12  # NFT_MSG_NEWSETELEM
LIST_TABLE, LIST_SET, LIST_ELEMENTS, ITEM = 1, 2, 3, 1  # NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM
KEY, DATA = 1, 2  # NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA
VALUE, VERDICT = 1, 2  # NFTA_DATA_VALUE, NFTA_DATA_VERDICT
CODE, CHAIN = 1, 2  # NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN
JUMP = -3  # NFT_JUMP


def add(elements: Sequence[tuple[int, str, bytes, str]]) -> None:
    """Add elements, all of them or none.

    :param elements: each the family of a table, a set's name, a key and, where it is a map, the chain to jump to

    :raises OSError: the kernel has refused, and nothing has changed: there is no such set, or one of them is there
    """
    flags = wire.REQUEST | wire.ACK | wire.CREATE | wire.EXCLUSIVE
    ends = pack(">BBH", 0, 0, SUBSYSTEM)
    messages = [wire.message(BATCH_BEGIN, wire.REQUEST, 0, ends)]
    for number, element in enumerate(elements, 1):
        messages.append(wire.message(SUBSYSTEM << 8 | NEW, flags, number, _body(*element)))
    messages.append(wire.message(BATCH_END, wire.REQUEST, 0, ends))
    for _told in wire.exchange(NETLINK_NETFILTER, messages, set(range(1, len(elements) + 1))):
        continue


def _body(family: int, name: str, key: bytes, chain: str) -> bytes:
    element = wire.nested(KEY, wire.attribute(VALUE, key))
    if chain:
        verdict = wire.attribute(CODE, pack(">i", JUMP)) + wire.attribute(CHAIN, chain.encode() + b"\0")
        element += wire.nested(DATA, wire.nested(VERDICT, verdict))
    return (
        pack(">BBH", family, 0, 0)
        + wire.attribute(LIST_TABLE, TABLE + b"\0")
        + wire.attribute(LIST_SET, name.encode() + b"\0")
        + wire.nested(LIST_ELEMENTS, wire.nested(ITEM, element))
    )
