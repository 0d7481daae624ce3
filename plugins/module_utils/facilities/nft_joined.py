# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets and maps whose keys are joined of several, as those of services are, out of what the kernel tells.

As in nft's own registers each part begins at four bytes, addresses and ports in network byte order, a number in that of
the host.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    JOINED,
    NUMBER,
    PROTOCOL,
    PROTOCOLS,
    VERDICT,
    NftMap,
    NftSet,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables, nft_pairs
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nf_tables import UnknownForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

# nft's numbers of types (enum datatypes in its datatype.h), and the bytes of each in a register.
TYPES = {4: NUMBER, 7: "ipv4_addr", 8: "ipv6_addr", 12: PROTOCOL, 13: "inet_service"}
BYTES = {NUMBER: 4, "ipv4_addr": 4, "ipv6_addr": 16, PROTOCOL: 4, "inet_service": 4}
# Where types are joined, so are their numbers (TYPE_BITS).
_BITS = 6
_VERDICT = 0xFFFFFF00  # NFT_DATA_VERDICT
_WORDS = {nf_tables.JUMP: "jump", nf_tables.GOTO: "goto", nf_tables.DROP: "drop"}
_DYNAMIC = nf_tables.TIMEOUT | nf_tables.EVAL


def read(nl: Netlink, table: str, told: nf_tables.Set) -> tuple[str, NftSet | NftMap]:
    """A set or a map, with its sort.

    :raises UnknownForm: it is none that we would make
    """
    sort = _types(told.type, told.size)
    name, flags = told.name, told.flags & ~nf_tables.CONCAT
    if len(sort) < 2:
        raise UnknownForm(name)
    elements = nft_pairs.dump(nl, table, name, told.size)
    if flags & nf_tables.MAP:
        if flags & ~nf_tables.MAP not in (0, _DYNAMIC):
            raise UnknownForm(name)
        value = [VERDICT] if told.data_type == _VERDICT else _types(told.data_type, told.data_size)
        # There are few verdicts, and few backends, that many keys lead to.
        known: dict[bytes, str] = {}
        pairs = []
        for key, rest in elements:
            if rest not in known:
                known[rest] = _value(rest, value, name)
            pairs.append((_text(key, sort), known[rest]))
        dynamic = bool(flags & _DYNAMIC)
        return "map", NftMap(name, JOINED.join(sort), frozenset(pairs), JOINED.join(value), dynamic)
    if flags not in (0, nf_tables.INTERVAL):
        raise UnknownForm(name)
    texts = (_range(key, rest, sort, name) if rest else _text(key, sort) for key, rest in elements)
    return "set", NftSet(name, JOINED.join(sort), frozenset(texts), bool(flags))


def _types(number: int, size: int) -> list[str]:
    found: list[str] = []
    while number:
        found.insert(0, TYPES.get(number & (1 << _BITS) - 1, ""))
        number >>= _BITS
    if "" in found or sum(BYTES[each] for each in found) != size:
        raise UnknownForm("a type that we do not use")
    return found


def _text(key: bytes, sort: Sequence[str]) -> str:
    if len(key) != sum(map(BYTES.__getitem__, sort)):
        raise UnknownForm("a value of another length than its type's")
    found = []
    at = 0
    for each in sort:
        part = key[at : at + BYTES[each]]
        at += BYTES[each]
        if each == "inet_service":
            found.append(str(part[0] << 8 | part[1]))
        elif each == PROTOCOL:
            if part[0] not in PROTOCOLS:
                raise UnknownForm("a protocol that we do not use")
            found.append(PROTOCOLS[part[0]])
        elif each == NUMBER:
            found.append(str(struct.unpack("=I", part)[0]))
        else:
            found.append(IP_TEXTS[part])
    return JOINED.join(found)


def _value(rest: bytes, value: Sequence[str], name: str) -> str:
    fields = nft_pairs.fields_of(rest, name, {nft_pairs.DATA, nft_pairs.TIMEOUT, nft_pairs.EXPIRATION})
    data = nft_pairs.data_of(fields.get(nft_pairs.DATA, b""))
    if value == [VERDICT]:
        code, chain = data if isinstance(data, tuple) else (0, "")
        if code not in _WORDS:
            raise UnknownForm(name)
        return f"{_WORDS[code]} {chain}" if chain else _WORDS[code]
    if not isinstance(data, bytes):
        raise UnknownForm(name)
    return _text(data, value)


def _range(key: bytes, rest: bytes, sort: Sequence[str], name: str) -> str:
    """The prefix that an element ends with; all before it is one value."""
    last = nft_pairs.fields_of(rest, name, {nft_pairs.KEY_END}).get(nft_pairs.KEY_END)
    end = key if last is None else nft_pairs.data_of(last)
    size = BYTES[sort[-1]]
    if not isinstance(end, bytes) or end[:-size] != key[:-size]:
        raise UnknownForm(name)
    begin = int.from_bytes(key[-size:], "big")
    span = int.from_bytes(end[-size:], "big") - begin + 1
    if span < 1 or span & (span - 1) or begin & (span - 1):
        raise UnknownForm(name)
    bits = span.bit_length() - 1
    return _text(key, sort) + (f"/{8 * size - bits}" if bits else "")
