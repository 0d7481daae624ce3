# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that put what a packet shows into a map (linux/netfilter/nf_tables.h), which nft 1.0.6 cannot write.

Up to that version nft takes a map's key for 16 bytes long when a rule fills it (netlink_gen_map_stmt()), and aborts
when it is longer, as any with an IPv6 address is. It reads such rules well.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    NLA_F_NESTED,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    attribute,
    message,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEW_RULE = _SUBSYSTEM << 8 | 6
_NFPROTO_INET = 1
# struct nfgenmsg: family, version, resource id, which is in network byte order.
_BODY = struct.Struct(">BBH")

_NFPROTO = {4: 2, 6: 10}
_L4PROTO = {"tcp": 6, "udp": 17, "sctp": 132}
# Of a family's header: size of an address, offsets of the source's and the destination's.
_HEADER = {4: (4, 12, 16), 6: (16, 8, 24)}
_DESTINATION_PORT = 2
_META_NFPROTO, _META_L4PROTO = 15, 16
# NFT_CT_DST_IP, NFT_CT_DST_IP6, NFT_CT_PROTO_DST; IP_CT_DIR_ORIGINAL
_CT_DESTINATION = {4: 20, 6: 22}
_CT_PORT = 12
_ORIGINAL = b"\0"
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_UPDATE = 1  # NFT_DYNSET_OP_UPDATE
_REGISTER = 8  # NFT_REG32_00, the first of sixteen of four bytes


class Remember(NamedTuple):
    """A rule that puts a connection's client, with what it connected to, and the backend into a map for a while.

    The key is the client's address, the address, the protocol and the port that it connected to; the value is where
    the packet goes by now, address and port. ``comment`` is the rule's.
    """

    family: int
    protocol: str
    name: str
    seconds: int
    comment: str


def append(nl: Netlink, table: str, rules: Sequence[tuple[str, Remember]]) -> list[NetlinkError]:
    """Append rules, each to the chain of a name, in one transaction; what was refused, and then nothing holds.

    :param table: the name of a table of the family inet
    """
    return nf_tables.transact(nl, [encode(table, chain, rule) for chain, rule in rules])


def encode(table: str, chain: str, rule: Remember) -> bytes:
    """The message that appends a rule."""
    size, source, destination = _HEADER[rule.family]
    words = size // 4
    key = _REGISTER
    asked, protocol, port, value = key + words, key + 2 * words, key + 2 * words + 1, key + 2 * words + 2
    expressions = [
        _meta(_META_NFPROTO, key),
        _equals(key, bytes([_NFPROTO[rule.family]])),
        _meta(_META_L4PROTO, key),
        _equals(key, bytes([_L4PROTO[rule.protocol]])),
        _payload(_NETWORK_HEADER, source, size, key),
        _conntrack(_CT_DESTINATION[rule.family], asked),
        _meta(_META_L4PROTO, protocol),
        _conntrack(_CT_PORT, port),
        _payload(_NETWORK_HEADER, destination, size, value),
        _payload(_TRANSPORT_HEADER, _DESTINATION_PORT, 2, value + words),
        _expression(
            "dynset",
            text(1, rule.name)
            + _number(3, _UPDATE)
            + _number(4, key)
            + _number(5, value)
            + attribute(6, struct.pack(">Q", rule.seconds * 1000)),
        ),
    ]
    comment = rule.comment.encode() + b"\0"
    body = (
        text(1, table)
        + text(2, chain)
        + attribute(4 | NLA_F_NESTED, b"".join(attribute(1 | NLA_F_NESTED, each) for each in expressions))
        # The first, and only, thing that userspace keeps with the rule: its type, its length, the comment.
        + attribute(7, bytes([0, len(comment)]) + comment)
    )
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND
    return message(_NEW_RULE, flags, _BODY.pack(_NFPROTO_INET, 0, 0) + body)


def _expression(name: str, data: bytes) -> bytes:
    return text(1, name) + attribute(2 | NLA_F_NESTED, data)


def _number(kind: int, value: int) -> bytes:
    """In network byte order, as netfilter has them."""
    return attribute(kind, struct.pack(">I", value))


def _meta(key: int, register: int) -> bytes:
    return _expression("meta", _number(1, register) + _number(2, key))


def _equals(register: int, value: bytes) -> bytes:
    data = attribute(3 | NLA_F_NESTED, attribute(1, value))
    return _expression("cmp", _number(1, register) + _number(2, 0) + data)


def _payload(base: int, offset: int, size: int, register: int) -> bytes:
    data = _number(1, register) + _number(2, base) + _number(3, offset) + _number(4, size)
    return _expression("payload", data)


def _conntrack(key: int, register: int) -> bytes:
    return _expression("ct", _number(1, register) + _number(2, key) + attribute(3, _ORIGINAL))
