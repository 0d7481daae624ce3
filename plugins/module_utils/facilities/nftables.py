# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets, maps and chains in the table ``inet podnet``, changed by one transaction, compared by typed fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    JOINED,
    MARK,
    NUMBER,
    TABLE,
    TABLE_KEY,
    VERDICT,
    NftChain,
    NftMap,
    NftSet,
    NftTable,
    digest,
    observe,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nftables import Remember, append, open_nftables
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


def part(
    is_mine: Callable[[tuple[str, str]], bool], desired: Objects, seen: tuple[Objects, list[str]] | None = None
) -> Target:
    """One kind's part of our table, which several kinds share.

    :param is_mine: whether the kind has an object in its charge, by sort ("set", "chain") and name
    :param desired: its objects, without the table
    :param seen: what ``observe`` has told, where that was asked before
    """
    current, conflicts = seen or observe()
    if current.keys() == {TABLE_KEY}:
        scope = current
        desired = {**desired, **current} if desired else {}
    else:
        scope = {key: obj for key, obj in current.items() if key != TABLE_KEY and is_mine(key)}
    return Target({"nftables": scope}, {"nftables": desired}, conflicts)


def leaves_nothing(operations: Sequence[Operation]) -> bool:
    """Whether the table is empty after these operations, whichever kinds had something in it."""
    if any(operation.verb != DELETE for operation in operations):
        return False
    gone = {operation.before for operation in operations}
    return all(obj in gone for key, obj in observe()[0].items() if key != TABLE_KEY)


class NftFacility:
    """Sets, maps and chains of our table. Rule texts are looked up by digest in what ``rule`` has registered."""

    name = "nftables"
    deletes_first = False

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._learning: dict[str, Remember] = {}

    def rule(self, text: str) -> str:
        """Register a rule's text and give its digest."""
        self._texts[digest(text)] = text
        return digest(text)

    def remember(self, family: int, protocol: str, name: str, seconds: int) -> str:
        """Register a rule that fills a map of clients, as `Remember` has it, and give its digest."""
        ip = "ip" if family == 4 else "ip6"
        key = f"{ip} saddr . ct original {ip} daddr . meta l4proto . ct original proto-dst"
        text = f"meta l4proto {protocol} update @{name} {{ {key} timeout {seconds}s : {ip} daddr . th dport }}"
        self._learning[self.rule(text)] = Remember(family, protocol, name, seconds, digest(text))
        return digest(text)

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Any, after: Any) -> bool:
        if isinstance(after, NftMap):
            return (before.type, before.value, before.dynamic) != (after.type, after.value, after.dynamic)
        return isinstance(after, NftSet) and (before.type, before.interval) != (after.type, after.interval)

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, NftTable):
            return {"table": f"table {obj.name}"}
        if isinstance(obj, NftSet):
            return {"set": f"set {obj.name}", "type": obj.type, "elements": ",".join(sorted(obj.elements))}
        if isinstance(obj, NftMap):
            texts = sorted(f"{key} : {value}" for key, value in obj.elements)
            sort = obj.type if obj.value == VERDICT else f"{obj.type} : {obj.value}"
            return {"map": f"map {obj.name}", "type": sort, "elements": ",".join(texts)}
        fields: dict[str, Any] = {"chain": f"chain {obj.name}", "type": obj.type, "hook": obj.hook}
        fields.update(priority=obj.priority, rules="; ".join(self._texts.get(rule, rule) for rule in obj.rules))
        return fields

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for part_of_them in in_turn(operations):
            try:
                run(["nft", "-f", "-"], stdin=self.script(part_of_them, leaves_nothing(part_of_them)))
            except ToolError as error:
                raise ApplyError(
                    [f"{self.name}: the transaction was refused, nothing of it holds: {error.stderr}"]
                ) from error
            self._learn([operation.after for operation in part_of_them if isinstance(operation.after, NftChain)])

    def _learn(self, chains: Sequence[NftChain]) -> None:
        """What nft cannot write. Nothing else is in such a chain, and where it is new, nothing leads there yet."""
        rules = [
            (chain.name, self._learning[rule]) for chain in chains for rule in chain.rules if rule in self._learning
        ]
        if not rules:
            return
        with open_nftables() as nl:
            failures = append(nl, TABLE.split()[1], rules)
        if failures:
            raise ApplyError([f"{self.name}: rule for {rules[place][1].name}: {error}" for place, error in failures])

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
        words = [f'add table {TABLE} {{ comment "{MARK}"; }}', f"add chain {TABLE} {MARK}"]
        words += [f"flush chain {TABLE} {operation.before.name}" for operation in chains if operation.before]
        words += [line for operation in maps for line in _map_losses(operation)]
        words += [
            f"delete chain {TABLE} {operation.before.name}"
            for operation in chains
            if operation.before and (not operation.after or operation.before[:4] != operation.after[:4])
        ]
        for operation in sets:
            words += _set_changes(operation)
        wanted = [operation.after for operation in chains if operation.after]
        words += [f"add chain {TABLE} {chain.name}{_hooked(chain)}" for chain in wanted]
        words += [line for operation in maps for line in _map_gains(operation)]
        for chain in wanted:
            words += [
                f'add rule {TABLE} {chain.name} {self._texts[rule]} comment "{rule}"'
                for rule in chain.rules
                if rule not in self._learning
            ]
        if last:
            words.append(f"delete table {TABLE}")
        return "\n".join(words) + "\n"


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
    if isinstance(obj, NftMap):
        return obj.value != VERDICT
    return isinstance(obj, NftSet) or (isinstance(obj, NftChain) and not obj.hook)


def _hooked(chain: NftChain) -> str:
    if not chain.hook:
        return ""
    return f" {{ type {chain.type} hook {chain.hook} priority {chain.priority}; policy accept; }}"


def _map_losses(operation: Operation) -> list[str]:
    """What a map no longer says. One that goes loses all verdicts first: their chains may be gone at once."""
    had: NftMap | None = operation.before
    if had is None:
        return []
    kept = operation.after.elements if operation.verb == REPLACE else frozenset()
    lost = had.elements - kept if operation.verb == REPLACE or had.value == VERDICT else frozenset()
    words = _elements("delete", had.name, [key for key, _value in lost])
    if had.dynamic:
        # What has gone by itself meanwhile cannot be deleted; what is there is not made again.
        words = _elements("add", had.name, [f"{key} : {value}" for key, value in lost]) + words
    return words if operation.verb == REPLACE else [*words, f"delete map {TABLE} {had.name}"]


def _map_gains(operation: Operation) -> list[str]:
    wanted: NftMap | None = operation.after
    if wanted is None:
        return []
    had = operation.before.elements if operation.verb == REPLACE else frozenset()
    words = [] if operation.verb == REPLACE else [f"add map {TABLE} {wanted.name} {{ {_declared(wanted)} }}"]
    return words + _elements("add", wanted.name, [f"{key} : {value}" for key, value in wanted.elements - had])


def _declared(wanted: NftMap) -> str:
    """What a map is declared as. A number that the packets' own fields do not hold has a type without a name."""
    sort, value = wanted.type, wanted.value
    word = "type"
    if NUMBER in sort.split(JOINED):
        word = "typeof"
        sort, value = (JOINED.join(EXPRESSIONS[each] for each in text.split(JOINED)) for text in (sort, value))
    flags = f" flags dynamic,timeout; size {MOST_DYNAMIC};" if wanted.dynamic else ""
    return f"{word} {sort} : {value};{flags}"


def _set_changes(operation: Operation) -> list[str]:
    wanted: NftSet | None = operation.after
    had: frozenset[str] = frozenset()
    words: list[str] = []
    if operation.verb == REPLACE:
        had = operation.before.elements
    elif operation.before:
        words.append(f"delete set {TABLE} {operation.before.name}")
    if wanted is None:
        return words
    if operation.verb != REPLACE:
        flags = " flags interval;" if wanted.interval else ""
        words.append(f"add set {TABLE} {wanted.name} {{ type {wanted.type};{flags} }}")
    words += _elements("delete", wanted.name, had - wanted.elements)
    return words + _elements("add", wanted.name, wanted.elements - had)


def _elements(verb: str, name: str, elements: Iterable[str]) -> list[str]:
    text = ", ".join(sorted(elements))
    return [f"{verb} element {TABLE} {name} {{ {text} }}"] if text else []


NFTABLES = NftFacility()
