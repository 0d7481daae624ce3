# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets and maps whose keys are joined of several, as those of services are, out of what the kernel tells.

Their elements stay as they are told (facilities/nft_packed.py), but for those of intervals, which are few, and of maps
that packets fill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftMap, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import (
    BYTES,
    JOINED,
    NUMBER,
    PORT,
    PROTOCOL,
    VERDICT,
    behind_text,
    head,
    key_texts,
    split,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables, nft_pairs
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nf_tables import UnknownForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

# nft's numbers of types (enum datatypes in its datatype.h).
TYPES = {4: NUMBER, 7: "ipv4_addr", 8: "ipv6_addr", 12: PROTOCOL, 13: PORT}
# Where types are joined, so are their numbers (TYPE_BITS).
_BITS = 6
_VERDICT = 0xFFFFFF00  # NFT_DATA_VERDICT
_DYNAMIC = nf_tables.TIMEOUT | nf_tables.EVAL


def read(nl: Netlink, table: str, told: nf_tables.Set) -> tuple[str, NftSet | NftMap]:
    """A set or a map, with its sort.

    :raises UnknownForm: it is none that we would make
    """
    sorts = _types(told.type, told.size)
    sort, name, flags = JOINED.join(sorts), told.name, told.flags & ~nf_tables.CONCAT
    if len(sorts) < 2:
        raise UnknownForm(name)
    try:
        if flags == nf_tables.MAP:
            value = _value_type(told)
            elements = _elements(nl, table, told)
            # Of verdicts there are few, and all values have the same form.
            at = 12 + told.size
            for behind in {each[at:] for each in elements} if value == VERDICT else _forms(elements, at):
                behind_text(value, behind)
            return "map", NftMap(name, sort, frozenset(elements), value)
        if flags == nf_tables.MAP | _DYNAMIC:
            return "map", _dynamic(nl, table, told, sort)
        if flags == 0:
            elements = _elements(nl, table, told)
            if set(map(len, elements)) - {12 + told.size}:
                raise UnknownForm(name)
            return "set", NftSet(name, sort, frozenset(elements), interval=False)
        if flags == nf_tables.INTERVAL:
            texts = (_range(key, rest, sorts, name) for key, rest in nft_pairs.dump(nl, table, name, told.size))
            return "set", NftSet(name, sort, frozenset(texts))
    except ValueError as error:
        raise UnknownForm(name) from error
    raise UnknownForm(name)


def _elements(nl: Netlink, table: str, told: nf_tables.Set) -> list[bytes]:
    """The elements as they are told, which all begin with a key of the size.

    :raises ValueError: one does not
    """
    found: list[bytes] = []
    for data in nf_tables.element_lists(nl, table, told.name):
        found += split(data)
    if found and (min(map(len, found)) < 12 + told.size or {each[4:12] for each in found} != {head(told.size)[4:]}):
        raise UnknownForm(told.name)
    return found


def _forms(elements: Sequence[bytes], at: int) -> list[bytes]:
    """Of what is behind the keys one of each form: length, and what is before the value."""
    return list({(len(each), each[at : at + 8]): each[at:] for each in elements}.values())


def _value_type(told: nf_tables.Set) -> str:
    return VERDICT if told.data_type == _VERDICT else JOINED.join(_types(told.data_type, told.data_size))


def _dynamic(nl: Netlink, table: str, told: nf_tables.Set, sort: str) -> NftMap:
    value = _value_type(told)
    pairs = []
    for key, rest in nft_pairs.dump(nl, table, told.name, told.size):
        known = {nft_pairs.DATA, nft_pairs.TIMEOUT, nft_pairs.EXPIRATION}
        data = nft_pairs.fields_of(rest, told.name, known).get(nft_pairs.DATA, b"")
        pairs.append((key_texts(sort, [head(len(key)) + key])[0], behind_text(value, nft_pairs.attribute_of(data))))
    return NftMap(told.name, sort, frozenset(pairs), value, dynamic=True)


def _types(number: int, size: int) -> list[str]:
    found: list[str] = []
    while number:
        found.insert(0, TYPES.get(number & (1 << _BITS) - 1, ""))
        number >>= _BITS
    if "" in found or sum(BYTES[each] for each in found) != size:
        raise UnknownForm("a type that we do not use")
    return found


def _range(key: bytes, rest: bytes, sort: Sequence[str], name: str) -> str:
    """The prefix that an element ends with; all before it is one value."""
    last = nft_pairs.fields_of(rest, name, {nft_pairs.KEY_END}).get(nft_pairs.KEY_END)
    end = key if last is None else nft_pairs.data_of(last)
    size = BYTES[sort[-1]]
    if end[:-size] != key[:-size]:
        raise UnknownForm(name)
    begin = int.from_bytes(key[-size:], "big")
    span = int.from_bytes(end[-size:], "big") - begin + 1
    if span < 1 or span & (span - 1) or begin & (span - 1):
        raise UnknownForm(name)
    bits = span.bit_length() - 1
    return key_texts(JOINED.join(sort), [head(len(key)) + key])[0] + (f"/{8 * size - bits}" if bits else "")
