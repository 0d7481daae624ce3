# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of our table changed without nft, which takes them for texts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Union

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_objects, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftMap, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import bundles, head, without_value
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_reading import NAME, key_of, read_set
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nf_tables import UnknownForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

Step = tuple[Union[NftSet, NftMap], bool, list[Any]]
"""A set or a map, whether elements come to it or go, and the elements."""

MANY = 1000
"""Elements of a change from which on to look all up anew is as good as to look each up."""
SETTLING = 10.0
"""Seconds at most until what has grown reads as it is; milliseconds where the machine has nothing else to do."""
MOST_MESSAGES = 500
"""Of a transaction, which are some 30 million bytes."""


def change(before: Sequence[NftSet | NftMap], after: Sequence[NftSet | NftMap]) -> bool:
    """Change the elements of sets of plain addresses and of what is packed, all in one transaction.

    What was changed is looked up afterwards. Then, when nobody else had a transaction since the table was read, the
    rest is known to be as it was, and is not read again.

    :returns: False when that is left to nft
    :raises NetlinkError: refused; nothing of it holds
    """
    steps = [step for had, obj in zip(before, after) for step in _steps(had, obj)]
    messages = _messages(steps)
    if messages is None:
        return False
    with open_netfilter() as nl:
        generation = nf_tables.generation(nl)
        if _carried_out(nl, steps, messages, after):
            nft_reading.learn(nl, generation, after)
    return True


def change_some(before: Sequence[NftSet | NftMap], after: Sequence[NftSet | NftMap]) -> bool:
    """The same of sets and maps that have other elements beside these, which stay and are not known.

    :returns: whether that is what is there now
    :raises NetlinkError: refused; nothing of it holds
    """
    steps = [step for had, obj in zip(before, after) for step in _steps(had, obj)]
    if not steps:
        return True
    messages = _messages(steps)
    # So many elements at once are for who reads all of them.
    if messages is None or _count(steps) > MANY:
        return False
    with open_netfilter() as nl:
        return _carried_out(nl, steps, messages, after)


def _messages(steps: Sequence[Step]) -> list[bytes] | None:
    """The transaction that steps come to; None where that is left to nft."""
    if not steps or not all(isinstance(each, bytes) for _obj, _add, elements in steps for each in elements):
        return None
    messages = [
        each
        for obj, add, elements in steps
        for each in nf_tables.encode_elements(NAME, obj.name, bundles(elements), add=add)
    ]
    return messages if len(messages) <= MOST_MESSAGES else None


def _carried_out(
    nl: Netlink, steps: Sequence[Step], messages: Sequence[bytes], after: Sequence[NftSet | NftMap]
) -> bool:
    """Whether a transaction has come to what it should."""
    for error in nf_tables.transact(nl, messages):
        raise error
    if _count(steps) > MANY:
        return _settle(nl, after)
    return all(nf_tables.held(nl, NAME, name, key) == wanted for (name, key), wanted in _outcome(steps).items())


def _count(steps: Sequence[Step]) -> int:
    return sum(len(elements) for _obj, _add, elements in steps)


def fill(objects: Sequence[NftSet | NftMap]) -> None:
    """Put their elements into new sets and maps of what is packed, which nothing leads to yet.

    :raises NetlinkError: refused
    """
    with open_netfilter() as nl:
        for obj in objects:
            messages = nf_tables.encode_elements(NAME, obj.name, bundles(list(obj.elements)), add=True)
            for first in range(0, len(messages), MOST_MESSAGES):
                for error in nf_tables.transact(nl, messages[first : first + MOST_MESSAGES]):
                    raise error
        _settle(nl, [obj for obj in objects if len(obj.elements) > MANY])


def _settle(nl: Netlink, objects: Sequence[NftSet | NftMap]) -> bool:
    """Whether sets and maps read as they are to be.

    Where many elements have come, the kernel moves them to a larger hash table by and by, and until that has been done
    a dump may leave some out or tell them twice (nft_rhash_walk() in net/netfilter/nft_set_hash.c).
    """
    left = {key_of(obj): obj for obj in objects}
    deadline = time.monotonic() + SETTLING
    while left:
        told = {each.name: each for each in nf_tables.dump_sets(nl, NAME)}
        try:
            left = {
                key: obj
                for key, obj in left.items()
                if obj.name not in told or read_set(nl, told[obj.name]) != (key, obj)
            }
        except UnknownForm:  # somebody else has put something there meanwhile, which the next look tells
            return False
        if left and time.monotonic() > deadline:
            return False
        if left:
            time.sleep(0.01)
    return True


def _steps(had: NftSet | NftMap, obj: NftSet | NftMap) -> Iterator[Step]:
    """What goes from a set or a map and what comes: which, whether it comes, and the elements by which that is told."""
    lost, new = had.elements - obj.elements, obj.elements - had.elements
    if not nft_objects.is_packed(obj):
        lost, new = (frozenset(_element(text) for text in texts) for texts in (lost, new))
    elif isinstance(obj, NftMap):
        lost = frozenset(without_value(obj.type, each) if isinstance(each, bytes) else each for each in lost)
    for add, elements in ((False, lost), (True, new)):
        if elements:
            yield obj, add, list(elements)


def _element(text: str) -> bytes:
    packed = packed_ip(text) or b""
    return head(len(packed)) + packed


def _outcome(steps: Iterable[Step]) -> dict[tuple[str, bytes], bytes]:
    """What is there afterwards under each key, by the name of its set: an element, or nothing."""
    found: dict[tuple[str, bytes], bytes] = {}
    for obj, add, elements in steps:
        for element in elements:
            found[obj.name, without_value(obj.type, element)] = element if add else b""
    return found
