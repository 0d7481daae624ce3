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
KEY, VALUE = 1, 1  # NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE


def add(elements: Sequence[tuple[int, str, bytes]]) -> None:
    """Add elements, each the family of a table, a set's name and a key, all of them or none.

    :raises OSError: the kernel has refused, and nothing has changed: there is no such set, or one of them is there
    """
    flags = wire.REQUEST | wire.ACK | wire.CREATE | wire.EXCLUSIVE
    ends = pack(">BBH", 0, 0, SUBSYSTEM)
    messages = [wire.message(BATCH_BEGIN, wire.REQUEST, 0, ends)]
    for number, (family, name, key) in enumerate(elements, 1):
        messages.append(wire.message(SUBSYSTEM << 8 | NEW, flags, number, _body(family, name, key)))
    messages.append(wire.message(BATCH_END, wire.REQUEST, 0, ends))
    for _told in wire.exchange(NETLINK_NETFILTER, messages, set(range(1, len(elements) + 1))):
        continue


def _body(family: int, name: str, key: bytes) -> bytes:
    element = wire.nested(KEY, wire.attribute(VALUE, key))
    return (
        pack(">BBH", family, 0, 0)
        + wire.attribute(LIST_TABLE, TABLE + b"\0")
        + wire.attribute(LIST_SET, name.encode() + b"\0")
        + wire.nested(LIST_ELEMENTS, wire.nested(ITEM, element))
    )
