# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in a table of nf_tables, as the kernel tells it (linux/netfilter/nf_tables.h), and elements changed.

``nft -j`` tells more, and takes ten times as long where a set has thousands of elements.
"""

from __future__ import annotations

import errno
import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ATTRIBUTE,
    MESSAGE,
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
    text,
    text_of,
    walk,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block

INET, IPV4, IPV6 = 1, 2, 10  # enum nfproto
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
# enum nf_tables_msg_types
GET_TABLE, GET_CHAIN, GET_RULE, GET_SET, NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT, GET_GENERATION, GET_OBJECT = (
    SUBSYSTEM | number for number in (1, 4, 7, 10, 12, 13, 14, 16, 19)
)
DELETE_TABLE, DELETE_CHAIN = (SUBSYSTEM | number for number in (2, 5))
_ACCEPT = (1).to_bytes(4, "big")  # NF_ACCEPT
NONREC = 0x100  # NLM_F_NONREC: not what has something in it
# NFNL_MSG_BATCH_BEGIN and _END: a transaction, whose resource id is the subsystem.
_BEGIN, _END = 16, 17
# struct nfgenmsg: family, version, resource id in network byte order.
_BODY = struct.Struct(">BBH")
_START = MESSAGE.size + _BODY.size

# enum nft_set_flags
ANONYMOUS, CONSTANT, INTERVAL, MAP, TIMEOUT, EVAL, CONCAT = 1, 2, 4, 8, 0x10, 0x20, 0x80
INTERVAL_END = 1  # enum nft_set_elem_flags
KEY, DATA, _FLAGS, EXPRESSION = 1, 2, 3, 7  # enum nft_set_elem_attributes
VERDICT, CODE, CHAIN = 2, 1, 2
DROP, JUMP, GOTO = 0, -3, -4  # NF_DROP, NFT_JUMP, NFT_GOTO
_COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT


class Chain(NamedTuple):
    """A chain; without a hook ``hook`` is -1."""

    name: str
    type: str
    hook: int
    priority: int


class Rule(NamedTuple):
    """A rule by its chain, its handle and that of the one before it; ``comment`` as nft keeps it."""

    chain: str
    handle: int
    after: int
    comment: str | None


class Set(NamedTuple):
    """A set or map; ``type`` is nft's number for that of the keys, ``data_type`` for that of a map's values."""

    name: str
    flags: int
    type: int
    size: int
    data_type: int = 0
    data_size: int = 0
    expressions: tuple[str, ...] = ()  # the names of those that each element gets


class Element(NamedTuple):
    """An element: its key, its flags, and of a verdict map the code and the chain."""

    key: bytes
    flags: int
    code: int
    chain: str


class UnknownForm(Exception):
    """Something that is not read here; nft can tell what it is."""


def generation(nl: Netlink) -> int:
    """A number that is another one after each transaction of anybody, in this network namespace."""
    told = nl.get(GET_GENERATION, _BODY.pack(0, 0, 0))
    return int.from_bytes(attributes(told.data, _START, told.length)[1], "big")


def has_table(nl: Netlink, family: int, name: str) -> bool:
    """Whether there is a table of that name in a family."""
    try:
        nl.get(GET_TABLE, _BODY.pack(family, 0, 0) + text(1, name))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def has_objects(nl: Netlink, table: str) -> bool:
    """Whether named counters, quotas and the like are in a table."""
    return any(True for _fields in _dump(nl, GET_OBJECT, table))


def dump_chains(nl: Netlink, table: str) -> list[Chain]:
    """The chains of a table."""
    found = []
    for fields in _dump(nl, GET_CHAIN, table):
        hook = attributes(fields[4]) if 4 in fields else {}
        number = int.from_bytes(hook[1], "big") if hook else -1
        priority = int.from_bytes(hook[2], "big", signed=True) if hook else 0
        found.append(Chain(text_of(fields[3]), text_of(fields.get(7)), number, priority))
    return found


def dump_rules(nl: Netlink, table: str) -> list[Rule]:
    """The rules of a table, in no order."""
    return [
        Rule(text_of(fields[2]), _long(fields[3]), _long(fields.get(6, b"")), _comment(fields.get(7, b"")))
        for fields in _dump(nl, GET_RULE, table)
    ]


def dump_sets(nl: Netlink, table: str) -> list[Set]:
    """The sets and maps of a table."""
    found = []
    for fields in _dump(nl, GET_SET, table):
        flags, sort, size, data_type, data_size = (int.from_bytes(fields.get(each, b""), "big") for each in range(3, 8))
        found.append(Set(text_of(fields[2]), flags, sort, size, data_type, data_size, tuple(_expressions(fields))))
    return found


def _expressions(fields: dict[int, bytes]) -> Iterator[str]:
    """The names of what each element of a set gets: by NFTA_SET_EXPR, or several by NFTA_SET_EXPRESSIONS."""
    if 17 in fields:
        yield text_of(attributes(fields[17])[1])
    several = fields.get(18, b"")
    for _kind, offset, size in walk(several, 0, len(several)):
        yield text_of(attributes(several, offset, offset + size)[1])


def dump_keys(nl: Netlink, table: str, name: str, size: int) -> list[bytes]:
    """The keys, of so many bytes, of a set whose elements are nothing else.

    :raises UnknownForm: they are more
    """
    stride = 12 + size
    layout = f"12x{size}s"
    head = b"".join(ATTRIBUTE.pack(stride - 4 * depth, 1) for depth in range(3))
    found: list[bytes] = []
    for data in element_lists(nl, table, name):
        if len(data) % stride or any(data[at::stride].strip(head[at : at + 1]) for at in range(12)):
            raise UnknownForm(name)
        found += struct.unpack(layout * (len(data) // stride), data)
    return found


def dump_bounds(nl: Netlink, table: str, name: str, size: int) -> tuple[list[bytes], list[bytes]]:
    """The keys, of so many bytes, at which the intervals of a set begin, and those at which they have ended.

    :raises UnknownForm: an element has more than a key
    """
    forms = [(_bound(size, more), more) for more in (b"", _OPEN, _ENDED)]
    form = re.compile(
        b"|".join(b"%b(.{%d})%b" % (re.escape(head), size, re.escape(more)) for head, more in forms), re.DOTALL
    )
    lengths = [len(head) + size + len(more) for head, more in forms]
    begins: list[bytes] = []
    ends: list[bytes] = []
    for data in element_lists(nl, table, name):
        found = [[key for key in column if key] for column in zip(*form.findall(data))] or [[], [], []]
        # What has matched has no gap when it is as long as all.
        if sum(length * len(column) for length, column in zip(lengths, found)) != len(data):
            raise UnknownForm(name)
        begins += found[0] + found[1]
        ends += found[2]
    return begins, ends


_ENDED = attribute(_FLAGS, INTERVAL_END.to_bytes(4, "big"))
# What nft notes down of an interval up to the last address: NFTNL_UDATA_SET_ELEM_FLAGS, SET_ELEM_F_INTERVAL_OPEN.
_OPEN = attribute(6, struct.pack("=BBI", 1, 4, 1))


def _bound(size: int, more: bytes) -> bytes:
    """What is before a key: the headers of the element, of the attribute of its key, and of that one's value."""
    return b"".join(ATTRIBUTE.pack(length, 1) for length in (12 + size + len(more), 8 + size, 4 + size))


def dump_elements(nl: Netlink, table: str, name: str) -> Iterator[Element]:
    """The elements of a set or map, one by one.

    :raises UnknownForm: one has what is not read here
    """
    for data in element_lists(nl, table, name):
        for _kind, offset, size in walk(data, 0, len(data)):
            fields = attributes(data, offset, offset + size)
            if not fields.keys() <= {KEY, DATA, _FLAGS} or KEY not in fields:
                raise UnknownForm(name)
            verdict = attributes(attributes(fields[DATA]).get(VERDICT, b"")) if DATA in fields else {}
            code = int.from_bytes(verdict.get(CODE, b""), "big", signed=True)
            yield Element(
                attributes(fields[KEY])[1],
                int.from_bytes(fields.get(_FLAGS, b""), "big"),
                code,
                text_of(verdict.get(CHAIN)),
            )


def encode_elements(table: str, name: str, bundles: Sequence[bytes], *, add: bool) -> list[bytes]:
    """Messages that put elements into a set or a map, or take them out: parts of one transaction.

    :param bundles: elements behind one another, each with its attribute's header, at most 65,000 bytes
    """
    kind, flags = (NEW_ELEMENT, NLM_F_REQUEST | NLM_F_CREATE) if add else (DELETE_ELEMENT, NLM_F_REQUEST)
    named = _named(table, name)
    return [message(kind, flags, named + attribute(3 | NLA_F_NESTED, bundle)) for bundle in bundles]


def transact(nl: Netlink, messages: Sequence[bytes]) -> list[NetlinkError]:
    """Have messages hold all together or not at all; what was wrong with any of them.

    :raises NetlinkError: they are more than go by one send
    """
    body = _BODY.pack(0, 0, SUBSYSTEM >> 8)
    begin, end = (message(kind, NLM_F_REQUEST, body) for kind in (_BEGIN, _END))
    # Not every kernel acknowledges the end, so it goes along with the last one, which is.
    return [error for _position, error in nl.at_once([begin, *messages[:-1], messages[-1] + end])]


def held(nl: Netlink, table: str, name: str, element: bytes) -> bytes:
    """The element of a set or a map that has the key of another one, as the kernel tells it; nothing when none has."""
    try:
        told = nl.get(GET_ELEMENT, _named(table, name) + attribute(3 | NLA_F_NESTED, element))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return b""
        raise
    return attributes(told.data, _START, told.length).get(3, b"")


def chain_uses(nl: Netlink, family: int, table: str) -> dict[str, int]:
    """The chains of a table of any family: how many rules each has, and others that lead to it.

    Another policy than to accept counts as one.
    """
    return {
        text_of(fields[3]): int.from_bytes(fields.get(6, b""), "big") + (fields.get(5, _ACCEPT) != _ACCEPT)
        for fields in _dump(nl, GET_CHAIN, table, family)
    }


def base_chains(nl: Netlink, family: int, table: str) -> set[str]:
    """The chains of a table of any family that hang on a hook."""
    return {text_of(fields[3]) for fields in _dump(nl, GET_CHAIN, table, family) if 4 in fields}


def delete_chain(family: int, table: str, name: str) -> bytes:
    """The message that removes a chain, if it is empty: EBUSY."""
    return message(DELETE_CHAIN, NLM_F_REQUEST | NONREC, _BODY.pack(family, 0, 0) + text(1, table) + text(3, name))


def delete_table(family: int, name: str) -> bytes:
    """The message that removes a table, if it is empty: EBUSY."""
    return message(DELETE_TABLE, NLM_F_REQUEST | NONREC, _BODY.pack(family, 0, 0) + text(1, name))


def _dump(nl: Netlink, kind: int, table: str, family: int = INET) -> Iterator[dict[int, bytes]]:
    """The attributes of each object of a table: older kernels tell those of all."""
    for block in nl.dump(kind, _BODY.pack(family, 0, 0) + text(1, table)):
        for data in _messages(block):
            fields = attributes(data, _START, block.length)
            if data[MESSAGE.size] == family and text_of(fields.get(1)) == table:
                yield fields


def element_lists(nl: Netlink, table: str, name: str) -> Iterator[bytes]:
    """The attribute of each message that holds elements."""
    for block in nl.dump(GET_ELEMENT, _named(table, name)):
        for data in _messages(block):
            yield attributes(data, _START, block.length).get(3, b"")


def _named(table: str, name: str) -> bytes:
    return _BODY.pack(INET, 0, 0) + text(1, table) + text(2, name)


def _messages(block: Block) -> Iterator[bytes]:
    for start in range(0, len(block.data), block.stride):
        yield block.data[start : start + block.stride]


def _long(payload: bytes) -> int:
    return int.from_bytes(payload, "big")


def _comment(payload: bytes) -> str | None:
    """The comment out of what nft keeps with a rule: type, length and value, one behind the other."""
    place = 0
    while place + 2 <= len(payload):
        kind, size = payload[place], payload[place + 1]
        value = payload[place + 2 : place + 2 + size]
        if len(value) != size:
            raise ProtocolError(f"{size} bytes are announced behind a rule, {len(value)} are there")
        if kind == _COMMENT:
            return text_of(value)
        place += 2 + size
    return None
