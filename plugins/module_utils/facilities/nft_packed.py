# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of sets and maps whose keys are joined of several, as the kernel has them: there may be tens of thousands.

Such an element is kept as the attribute that the kernel tells it by (linux/netfilter/nf_tables.h), which is also what
it is told by. So elements are read, compared and changed as they are, and only those that somebody looks at become
texts. As in nft's own registers each part of a key or a value begins at four bytes, addresses and ports in network byte
order, a number in that of the host.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ATTRIBUTE,
    attribute,
    attributes,
    text,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from typing_extensions import Self

VERDICT = "verdict"
JOINED = " . "
NUMBER = "integer"
PROTOCOL = "inet_proto"
PORT = "inet_service"
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
"""What nft says by number where the node has no /etc/protocols."""

BYTES = {NUMBER: 4, "ipv4_addr": 4, "ipv6_addr": 16, PROTOCOL: 4, PORT: 4}
"""Of each type in a register."""
WORDS = {nf_tables.JUMP: "jump", nf_tables.GOTO: "goto", nf_tables.DROP: "drop"}

_NUMBERS = {name: number for number, name in PROTOCOLS.items()}
_CODES = {word: code for code, word in WORDS.items()}
_LONGEST = 60_000
"""Bytes of elements in a message: the attribute that holds them has at most 65,535."""


class Elements(frozenset[Any]):
    """Elements that also have an order, the same from run to run, by which it is soon told that they are the same.

    ``told`` are they as bytes; ``digest`` is that of these, once it has been asked for (nft_seen.py).
    """

    told: Sequence[bytes]
    digest: str

    def __new__(cls, elements: Iterable[Any], told: Sequence[bytes]) -> Self:
        """:param told: the elements as bytes, of which one's end is told by what is in it, or all have one length"""
        made = super().__new__(cls, elements)
        made.told, made.digest = told, ""
        return made


def part(sort: str, of: str) -> bytes:
    """One part of a key or a value.

    :raises ValueError: it is none of its type
    """
    if sort == PORT:
        return int(of).to_bytes(2, "big") + b"\0\0"
    if sort == PROTOCOL:
        return protocol(of)
    if sort == NUMBER:
        return number(int(of))
    packed = packed_ip(of)
    if packed is None or len(packed) != BYTES.get(sort):
        raise ValueError(f"{of!r} is no {sort}")
    return packed


def protocol(name: str) -> bytes:
    """A protocol as a part of a key."""
    if name not in _NUMBERS:
        raise ValueError(f"{name!r} is no protocol that we use")
    return bytes((_NUMBERS[name], 0, 0, 0))


def number(of: int) -> bytes:
    """A number as a part of a key."""
    return struct.pack("=I", of)


@cache
def head(key: int, data: int = 0) -> bytes:
    """What is before a key of so many bytes that so many bytes come behind."""
    return b"".join(
        (
            ATTRIBUTE.pack(12 + key + data, 1),
            ATTRIBUTE.pack(8 + key, nf_tables.KEY),
            ATTRIBUTE.pack(4 + key, 1),
        )
    )


def value(packed: bytes) -> bytes:
    """What comes behind a key that leads to a value."""
    return attribute(nf_tables.DATA, attribute(1, packed))


def verdict(said: str) -> bytes:
    """What comes behind a key that leads to a verdict: "goto" or "jump" and a chain, "drop".

    :raises ValueError: it is none that we use
    """
    word, _space, chain = said.partition(" ")
    if word not in _CODES or bool(chain) != (word != "drop"):
        raise ValueError(f"{said!r} is no verdict that we use")
    code = attribute(nf_tables.CODE, struct.pack(">i", _CODES[word]))
    return attribute(
        nf_tables.DATA, attribute(nf_tables.VERDICT, code + (text(nf_tables.CHAIN, chain) if chain else b""))
    )


def pack(sort: str, of: str, value_sort: str = "", what: str = "") -> bytes:
    """An element out of texts: a key, and of a map what it leads to.

    :raises ValueError: they are none of their types
    """
    key = _packed(sort, of)
    behind = b""
    if value_sort:
        behind = verdict(what) if value_sort == VERDICT else value(_packed(value_sort, what))
    return head(len(key), len(behind)) + key + behind


def key_texts(sort: str, elements: Sequence[bytes]) -> list[str]:
    """The keys of elements as nft writes them."""
    size = size_of(sort)
    return _texts(sort, [element[12 : 12 + size] for element in elements])


def value_texts(sort: str, value_sort: str, elements: Sequence[bytes]) -> list[str]:
    """What elements of a map lead to, as nft writes it.

    :raises ValueError: it is nothing that we would put there
    """
    at = 12 + size_of(sort)
    if value_sort == VERDICT:
        # There are few, that many keys lead to.
        known = {behind: behind_text(VERDICT, behind) for behind in {element[at:] for element in elements}}
        return [known[element[at:]] for element in elements]
    before = value(bytes(size_of(value_sort)))[:8]
    if {element[at : at + 8] for element in elements} - {before}:
        raise ValueError("elements with more than a key and a value")
    return _texts(value_sort, [element[at + 8 :] for element in elements])


def behind_text(value_sort: str, behind: bytes) -> str:
    """What an element leads to, out of what comes behind its key.

    :raises ValueError: it is nothing that we would put there
    """
    data = attributes(attributes(behind).get(nf_tables.DATA, b""))
    if value_sort != VERDICT:
        found = _texts(value_sort, [data.get(1, b"")])[0]
        packed = value(data.get(1, b""))
    else:
        fields = attributes(data.get(nf_tables.VERDICT, b""))
        word = WORDS.get(int.from_bytes(fields.get(nf_tables.CODE, b""), "big", signed=True), "")
        found = f"{word} {text_of(fields.get(nf_tables.CHAIN))}".rstrip()
        packed = verdict(found)
    if packed != behind:
        raise ValueError("an element with more than a key and a value")
    return found


def size_of(sort: str) -> int:
    """The bytes of a key or a value of a type."""
    return sum(BYTES[each] for each in sort.split(JOINED))


def without_value(sort: str, element: bytes) -> bytes:
    """An element as it is taken out: by its key."""
    size = size_of(sort)
    return head(size) + element[12 : 12 + size]


def split(data: bytes) -> Sequence[bytes]:
    """The elements of a message.

    :raises ValueError: they are cut off
    """
    length = int(ATTRIBUTE.unpack_from(data)[0]) if len(data) >= ATTRIBUTE.size else 0
    # Nearly always all have one length; then each begins by the same two bytes, and no other place is looked at.
    whole = length >= ATTRIBUTE.size and not len(data) % length and not length & 3
    if whole and not data[::length].strip(data[:1]) and not data[1::length].strip(data[1:2]):
        return struct.unpack(f"{length}s" * (len(data) // length), data)
    found = []
    at = 0
    while at < len(data):
        length = ATTRIBUTE.unpack_from(data, at)[0] if len(data) - at >= ATTRIBUTE.size else 0
        if length < ATTRIBUTE.size or length & 3 or at + length > len(data):
            raise ValueError("elements that are cut off")
        found.append(data[at : at + length])
        at += length
    return found


def bundles(elements: Sequence[bytes]) -> list[bytes]:
    """Elements in as few lists as messages are needed for them."""
    found: list[bytes] = []
    first = size = 0
    for position, each in enumerate(elements):
        if size + len(each) > _LONGEST:
            found.append(b"".join(elements[first:position]))
            first, size = position, 0
        size += len(each)
    return [*found, b"".join(elements[first:])] if elements else []


def _packed(sort: str, of: str) -> bytes:
    parts, sorts = of.split(JOINED), sort.split(JOINED)
    if len(parts) != len(sorts):
        raise ValueError(f"{of!r} is no {sort}")
    try:
        return b"".join(map(part, sorts, parts))
    except (OverflowError, ValueError, struct.error) as error:
        raise ValueError(f"{of!r} is no {sort}") from error


class _Parts(dict[bytes, str]):
    """The texts of the parts of one type, each made once."""

    def __init__(self, text_of_part: Callable[[bytes], str]) -> None:
        super().__init__()
        self._text = text_of_part

    def __missing__(self, of: bytes) -> str:
        found = self[of] = self._text(of)
        return found


_PARTS: dict[str, dict[bytes, str]] = {
    NUMBER: _Parts(lambda of: str(struct.unpack("=I", of)[0])),
    PROTOCOL: _Parts(lambda of: PROTOCOLS.get(of[0], str(of[0]))),
    PORT: _Parts(lambda of: str(of[0] << 8 | of[1])),
    "ipv4_addr": IP_TEXTS,
    "ipv6_addr": IP_TEXTS,
}


def _texts(sort: str, packed: Sequence[bytes]) -> list[str]:
    """Keys or values of a type, column by column."""
    sorts = sort.split(JOINED)
    form = struct.Struct("".join(f"{BYTES[each]}s" for each in sorts))
    try:
        columns = zip(*form.iter_unpack(b"".join(packed)))
        if {len(each) for each in packed} - {form.size}:
            raise ValueError("a value of another length than its type's")
    except struct.error as error:
        raise ValueError("a value of another length than its type's") from error
    return list(map(JOINED.join, zip(*(map(_PARTS[each].__getitem__, column) for each, column in zip(sorts, columns)))))
