# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to nft of sets and maps that come, change and go, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    ADVERTISED,
    NftChain,
    NftMap,
    NftSet,
    is_packed,
    pairs,
    texts,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import JOINED, NUMBER, VERDICT
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import CREATE, REPLACE, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXPRESSIONS = {
    "ipv4_addr": "ip daddr",
    "ipv6_addr": "ip6 daddr",
    "inet_proto": "meta l4proto",
    "inet_service": "tcp dport",
    NUMBER: "numgen random mod 2",
}
"""Expressions of the types, for maps whose types cannot all be named. With "th dport" nft 1.0.6 cannot read its own."""
MOST_DYNAMIC = 65536
"""Elements of a dynamic map; the memory for them is taken as they come."""


def in_turn(operations: Sequence[Operation]) -> list[Sequence[Operation]]:
    """What maps are going to lead to is made in a transaction before.

    A packet that is on its way through a chain when a transaction takes effect goes on by the rules of before it, but
    finds the elements of after it. A chain that is as new as the element that leads there would be an empty one to it
    (nft_do_chain() and nft_set_do_lookup() in net/netfilter).
    """
    if not any(isinstance(operation.after, NftMap) for operation in operations):
        return [operations]
    first = [operation.verb == CREATE and _is_led_to(operation.after) for operation in operations]
    if not any(first):
        return [operations]
    return [
        [operation for operation, led in zip(operations, first) if led],
        [operation for operation, led in zip(operations, first) if not led],
    ]


def _is_led_to(obj: Any) -> bool:
    """A map is when it is new: no rule of before finds its elements."""
    return isinstance(obj, (NftSet, NftMap)) or (isinstance(obj, NftChain) and not obj.hook)


def hooked(chain: NftChain) -> str:
    """What a chain is declared with."""
    if not chain.hook:
        return ""
    return f" {{ type {chain.type} hook {chain.hook} priority {chain.priority}; policy accept; }}"


def map_losses(table: str, operation: Operation) -> list[str]:
    """What a map no longer says. One that goes loses all verdicts first: their chains may be gone at once."""
    had: NftMap | None = operation.before
    if had is None:
        return []
    kept = operation.after.elements if operation.verb == REPLACE else frozenset()
    lost = had.elements - kept if operation.verb == REPLACE or had.value == VERDICT else frozenset()
    words = _elements(table, "delete", had.name, [_key(had.type, key) for key, _value in pairs(had, lost)])
    if had.dynamic:
        # What has gone by itself meanwhile cannot be deleted; what is there is not made again.
        words = _elements(table, "add", had.name, [f"{key} : {value}" for key, value in pairs(had, lost)]) + words
    return words if operation.verb == REPLACE else [*words, f"delete map {table} {had.name}"]


def map_gains(table: str, operation: Operation, empty: bool = False) -> list[str]:
    """What a map says from now on; nothing yet where a new one is to be ``empty``."""
    wanted: NftMap | None = operation.after
    if wanted is None:
        return []
    had = operation.before.elements if operation.verb == REPLACE else frozenset()
    words = [] if operation.verb == REPLACE else [f"add map {table} {wanted.name} {{ {_declared(wanted)} }}"]
    if empty and is_filled_later(operation):
        return words
    new = [f"{_key(wanted.type, key)} : {value}" for key, value in pairs(wanted, wanted.elements - had)]
    return words + _elements(table, "add", wanted.name, new)


def _declared(wanted: NftMap) -> str:
    """What a map is declared as. A number that the packets' own fields do not hold has a type without a name."""
    sort, value = wanted.type, wanted.value
    word = "type"
    if NUMBER in sort.split(JOINED):
        word = "typeof"
        sort, value = (JOINED.join(EXPRESSIONS[each] for each in text.split(JOINED)) for text in (sort, value))
    flags = f" flags dynamic,timeout; size {MOST_DYNAMIC};" if wanted.dynamic else ""
    return f"{word} {sort} : {value};{flags}"


def _key(sort: str, key: str) -> str:
    """An interface may be called as a word of nft's language is."""
    if not sort.startswith("ifname"):
        return key
    name, *more = key.split(" ", 1)
    return " ".join((f'"{name}"', *more))


def is_filled_later(operation: Operation) -> bool:
    """Whether it makes a set or a map whose elements may be told to the kernel without nft."""
    return operation.verb != REPLACE and isinstance(operation.after, (NftSet, NftMap)) and is_packed(operation.after)


def set_changes(table: str, operation: Operation, empty: bool = False) -> list[str]:
    """Everything about a set; ``empty`` as of `map_gains`."""
    wanted: NftSet | None = operation.after
    had: frozenset[object] = frozenset()
    words: list[str] = []
    if operation.verb == REPLACE:
        had = operation.before.elements
    elif operation.before:
        words.append(f"delete set {table} {operation.before.name}")
    if wanted is None:
        return words
    if operation.verb != REPLACE:
        flags = (" flags interval;" if wanted.interval else "") + (" counter;" if wanted.counted else "")
        sort = "typeof iifname . @th,64,128" if wanted.type == ADVERTISED else f"type {wanted.type}"
        words.append(f"add set {table} {wanted.name} {{ {sort};{flags} }}")
    if empty and is_filled_later(operation):
        return words
    for verb, changed in (("delete", had - wanted.elements), ("add", wanted.elements - had)):
        words += _elements(table, verb, wanted.name, [_key(wanted.type, text) for text in texts(wanted, changed)])
    return words


def _elements(table: str, verb: str, name: str, elements: Iterable[str]) -> list[str]:
    text = ", ".join(sorted(elements))
    return [f"{verb} element {table} {name} {{ {text} }}"] if text else []
