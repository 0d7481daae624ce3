# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets, maps and chains in a table of ours, changed by one transaction, compared by typed fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    ADVERTISED,
    BRIDGE_TABLE,
    MARK,
    TABLE,
    NftChain,
    NftMap,
    NftSet,
    NftTable,
    digest,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_reading import observe
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    CREATE,
    DELETE,
    REPLACE,
    Operation,
    Reference,
    Target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def part(is_mine: Callable[[tuple[str, str]], bool], desired: Objects, facility: NftFacility | None = None) -> Target:
    """One kind's part of a table of ours, which several kinds share.

    :param is_mine: whether the kind has an object in its charge, by sort ("set", "chain") and name
    :param desired: its objects, without the table
    :param facility: which table; ``inet podnet`` when left out
    """
    facility = facility or NFTABLES
    current, conflicts = observe(facility.table)
    table_key = ("table", facility.table)
    if current.keys() == {table_key}:
        scope = current
        desired = {**desired, **current} if desired else {}
    else:
        scope = {key: obj for key, obj in current.items() if key != table_key and is_mine(key)}
    return Target({facility.name: scope}, {facility.name: desired}, conflicts)


def leaves_nothing(operations: Sequence[Operation], table: str = TABLE) -> bool:
    """Whether the table is empty after these operations, whichever kinds had something in it."""
    if any(operation.verb != DELETE for operation in operations):
        return False
    gone = {operation.before for operation in operations}
    return all(obj in gone for key, obj in observe(table)[0].items() if key != ("table", table))


class NftFacility:
    """Sets and chains of a table. Rule texts are looked up by digest in what ``rule`` has registered."""

    deletes_first = False

    def __init__(self, name: str, table: str) -> None:
        self.name = name
        self.table = table
        self._texts: dict[str, str] = {}

    def rule(self, text: str) -> str:
        """Register a rule's text and give its digest."""
        self._texts[digest(text)] = text
        return digest(text)

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Any, after: Any) -> bool:
        return isinstance(after, NftSet) and (before.type, before.interval) != (after.type, after.interval)

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, NftTable):
            return {"table": f"table {obj.name}"}
        if isinstance(obj, NftSet):
            return {"set": f"set {obj.name}", "type": obj.type, "elements": ",".join(sorted(obj.elements))}
        if isinstance(obj, NftMap):
            texts = sorted(f"{address} : {chain}" for address, chain in obj.elements)
            return {"map": f"map {obj.name}", "type": obj.type, "elements": ",".join(texts)}
        fields: dict[str, Any] = {"chain": f"chain {obj.name}", "type": obj.type, "hook": obj.hook}
        fields.update(priority=obj.priority, rules="; ".join(self._texts.get(rule, rule) for rule in obj.rules))
        return fields

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        if self.table == TABLE and all(map(_changes_addresses, operations)) and self._change_addresses(operations):
            return
        for part_of_them in _in_turn(operations):
            try:
                run(["nft", "-f", "-"], stdin=self.script(part_of_them, leaves_nothing(part_of_them, self.table)))
            except ToolError as error:
                raise ApplyError(
                    [f"{self.name}: the transaction was refused, nothing of it holds: {error.stderr}"]
                ) from error

    def _change_addresses(self, operations: Sequence[Operation]) -> bool:
        before, after = ([getattr(operation, end) for operation in operations] for end in ("before", "after"))
        try:
            return nft_reading.change(before, after)
        except NetlinkError as error:
            names = ", ".join(obj.name for obj in after)
            raise ApplyError([f"{self.name}: replace set {names}: {error}; nothing of it holds"]) from error

    def script(self, operations: Sequence[Operation], last: bool = False) -> str:
        """One transaction, so no packet meets a half of it.

        What refers to something goes before it and comes after it: rules to sets and maps, maps to chains. A chain that
        only has other rules stays hooked.

        :param last: whether nothing is in the table afterwards, and it goes, too
        """
        sets, maps, chains = (
            [operation for operation in operations if isinstance(operation.after or operation.before, sort)]
            for sort in (NftSet, NftMap, NftChain)
        )
        table = self.table
        words = [f'add table {table} {{ comment "{MARK}"; }}', f"add chain {table} {MARK}"]
        words += [f"flush chain {table} {operation.before.name}" for operation in chains if operation.before]
        words += [line for operation in maps for line in _map_losses(table, operation)]
        words += [
            f"delete chain {table} {operation.before.name}"
            for operation in chains
            if operation.before and (not operation.after or operation.before[:4] != operation.after[:4])
        ]
        for operation in sets:
            words += _set_changes(table, operation)
        wanted = [operation.after for operation in chains if operation.after]
        words += [f"add chain {table} {chain.name}{_hooked(chain)}" for chain in wanted]
        words += [line for operation in maps for line in _map_gains(table, operation)]
        for chain in wanted:
            words += [f'add rule {table} {chain.name} {self._texts[rule]} comment "{rule}"' for rule in chain.rules]
        if last:
            words.append(f"delete table {table}")
        return "\n".join(words) + "\n"


def _changes_addresses(operation: Operation) -> bool:
    return operation.verb == REPLACE and isinstance(operation.after, NftSet) and not operation.after.interval


def _in_turn(operations: Sequence[Operation]) -> list[Sequence[Operation]]:
    """What maps are going to lead to is made in a transaction before.

    A packet that is on its way through a chain when a transaction takes effect goes on by the rules of before it, but
    finds the elements of after it. A chain that is as new as the element that leads there would be an empty one to it
    (nft_do_chain() and nft_set_do_lookup() in net/netfilter).
    """
    if not any(isinstance(operation.after, NftMap) for operation in operations):
        return [operations]
    first = [operation for operation in operations if operation.verb == CREATE and _is_led_to(operation.after)]
    return [first, [operation for operation in operations if operation not in first]] if first else [operations]


def _is_led_to(obj: Any) -> bool:
    """A map is when it is new: no rule of before finds its elements."""
    return isinstance(obj, (NftSet, NftMap)) or (isinstance(obj, NftChain) and not obj.hook)


def _hooked(chain: NftChain) -> str:
    if not chain.hook:
        return ""
    return f" {{ type {chain.type} hook {chain.hook} priority {chain.priority}; policy accept; }}"


def _map_losses(table: str, operation: Operation) -> list[str]:
    """What a map no longer says. One that goes loses all of it first: its chains may be gone at once."""
    had: NftMap | None = operation.before
    if had is None:
        return []
    kept = operation.after.elements if operation.verb == REPLACE else frozenset()
    words = _elements(table, "delete", had.name, [_key(had.type, key) for key, _chain in had.elements - kept])
    return words if operation.verb == REPLACE else [*words, f"delete map {table} {had.name}"]


def _map_gains(table: str, operation: Operation) -> list[str]:
    wanted: NftMap | None = operation.after
    if wanted is None:
        return []
    had = operation.before.elements if operation.verb == REPLACE else frozenset()
    words = [] if operation.verb == REPLACE else [f"add map {table} {wanted.name} {{ type {wanted.type} : verdict; }}"]
    new = [f"{_key(wanted.type, key)} : jump {chain}" for key, chain in wanted.elements - had]
    return words + _elements(table, "add", wanted.name, new)


def _key(sort: str, key: str) -> str:
    """An interface may be called as a word of nft's language is."""
    if not sort.startswith("ifname"):
        return key
    name, *more = key.split(" ", 1)
    return " ".join((f'"{name}"', *more))


def _set_changes(table: str, operation: Operation) -> list[str]:
    wanted: NftSet | None = operation.after
    had: frozenset[str] = frozenset()
    words: list[str] = []
    if operation.verb == REPLACE:
        had = operation.before.elements
    elif operation.before:
        words.append(f"delete set {table} {operation.before.name}")
    if wanted is None:
        return words
    if operation.verb != REPLACE:
        flags = " flags interval;" if wanted.interval else ""
        sort = "typeof iifname . @th,64,128" if wanted.type == ADVERTISED else f"type {wanted.type}"
        words.append(f"add set {table} {wanted.name} {{ {sort};{flags} }}")
    for verb, texts in (("delete", had - wanted.elements), ("add", wanted.elements - had)):
        words += _elements(table, verb, wanted.name, [_key(wanted.type, text) for text in texts])
    return words


def _elements(table: str, verb: str, name: str, elements: Iterable[str]) -> list[str]:
    text = ", ".join(sorted(elements))
    return [f"{verb} element {table} {name} {{ {text} }}"] if text else []


NFTABLES = NftFacility("nftables", TABLE)
NFTABLES_BRIDGE = NftFacility("nftables_bridge", BRIDGE_TABLE)
