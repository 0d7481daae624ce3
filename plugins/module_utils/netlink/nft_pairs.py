# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The elements of sets and maps of any sort, by their keys (linux/netfilter/nf_tables.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ATTRIBUTE,
    attribute,
    attributes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

# enum nft_set_elem_attributes
DATA, TIMEOUT, EXPIRATION, KEY_END = 2, 4, 5, 10


def dump(nl: Netlink, table: str, name: str, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The elements of a set or map: the key, of so many bytes, and the attributes behind it.

    :raises UnknownForm: one begins with something else
    """
    head = ATTRIBUTE.pack(8 + size, nf_tables.KEY) + ATTRIBUTE.pack(4 + size, 1)
    for data in nf_tables.element_lists(nl, table, name):
        at = 0
        while at < len(data):
            length = ATTRIBUTE.unpack_from(data, at)[0] if len(data) - at >= 12 + size else 0
            if length < 12 + size or at + length > len(data) or data[at + 4 : at + 12] != head:
                raise nf_tables.UnknownForm(name)
            yield data[at + 12 : at + 12 + size], data[at + 12 + size : at + length]
            at += (length + 3) & ~3


def fields_of(rest: bytes, name: str, known: set[int]) -> dict[int, bytes]:
    """The attributes behind the key of an element.

    :raises UnknownForm: there are others than those known
    """
    fields = attributes(rest)
    if not fields.keys() <= known:
        raise nf_tables.UnknownForm(name)
    return fields


def attribute_of(data: bytes) -> bytes:
    """The attribute that a value came in."""
    return attribute(DATA, data)


def data_of(payload: bytes) -> bytes:
    """A value; nothing where there is none."""
    return attributes(payload).get(1, b"")
