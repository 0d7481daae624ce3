# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets, maps and chains in a table of ours, changed by one transaction, compared by typed fields."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_changing, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    BRIDGE_TABLE,
    MARK,
    TABLE,
    NftChain,
    NftMap,
    NftSet,
    NftTable,
    digest,
    is_packed,
    pairs,
    texts,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import VERDICT
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_reading import observe
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_script import (
    hooked,
    in_turn,
    is_filled_later,
    map_gains,
    map_losses,
    set_changes,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nft_remember import Remember, append
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    DELETE,
    REPLACE,
    Operation,
    Reference,
    Target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def part(
    is_mine: Callable[[tuple[str, str]], bool],
    desired: Objects,
    facility: NftFacility | None = None,
    seen: tuple[Objects, list[str]] | None = None,
) -> Target:
    """One kind's part of a table of ours, which several kinds share.

    :param is_mine: whether the kind has an object in its charge, by sort ("set", "chain") and name
    :param desired: its objects, without the table
    :param facility: which table; ``inet podnet`` when left out
    :param seen: what ``observe`` has told, where that was asked before
    """
    facility = facility or NFTABLES
    current, conflicts = seen or observe(facility.table)
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
    """Sets, maps and chains of a table. Rule texts are looked up by digest in what ``rule`` has registered."""

    deletes_first = False

    def __init__(self, name: str, table: str) -> None:
        self.name = name
        self.table = table
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
        return isinstance(after, NftSet) and before._replace(elements=after.elements) != after

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, NftTable):
            return {"table": f"table {obj.name}"}
        if isinstance(obj, NftSet):
            return {"set": f"set {obj.name}", "type": obj.type, "elements": _elements_of(obj)}
        if isinstance(obj, NftMap):
            sort = obj.type if obj.value == VERDICT else f"{obj.type} : {obj.value}"
            return {"map": f"map {obj.name}", "type": sort, "elements": _elements_of(obj)}
        fields: dict[str, Any] = {"chain": f"chain {obj.name}", "type": obj.type, "hook": obj.hook}
        fields.update(priority=obj.priority, rules="; ".join(self._texts.get(rule, rule) for rule in obj.rules))
        return fields

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        nft_reading.changed()
        turns = in_turn(operations)
        for part_of_them in turns:
            mere_elements = self.table == TABLE and all(map(_changes_elements, part_of_them))
            if mere_elements and self._change_elements(part_of_them):
                continue
            # What the next turn is going to lead to.
            ahead = self.table == TABLE and part_of_them is not turns[-1]
            script = self.script(part_of_them, leaves_nothing(part_of_them, self.table), empty=ahead)
            try:
                run(["nft", "-f", "-"], stdin=script)
            except ToolError as error:
                raise ApplyError(
                    [f"{self.name}: the transaction was refused, nothing of it holds: {error.stderr}"]
                ) from error
            self._learn([operation.after for operation in part_of_them if isinstance(operation.after, NftChain)])
            if ahead:
                self._fill([operation.after for operation in part_of_them if is_filled_later(operation)])

    def _learn(self, chains: Sequence[NftChain]) -> None:
        """What nft cannot write. Nothing else is in such a chain, and where it is new, nothing leads there yet."""
        rules = [
            (chain.name, self._learning[rule]) for chain in chains for rule in chain.rules if rule in self._learning
        ]
        if not rules:
            return
        with open_netfilter() as nl:
            failures = append(nl, self.table.split()[1], rules)
        if failures:
            raise ApplyError([f"{self.name}: rule that fills a map: {error}" for error in failures])

    def _fill(self, objects: Sequence[NftSet | NftMap]) -> None:
        try:
            nft_changing.fill(objects)
        except NetlinkError as error:
            names = ", ".join(obj.name for obj in objects)
            raise ApplyError([f"{self.name}: elements of {names}: {error}; nothing leads there yet"]) from error

    def _change_elements(self, operations: Sequence[Operation]) -> bool:
        before, after = ([getattr(operation, end) for operation in operations] for end in ("before", "after"))
        try:
            return nft_changing.change(before, after)
        except NetlinkError as error:
            names = ", ".join(f"{'map' if isinstance(obj, NftMap) else 'set'} {obj.name}" for obj in after)
            raise ApplyError([f"{self.name}: replace {names}: {error}; nothing of it holds"]) from error

    def script(self, operations: Sequence[Operation], last: bool = False, empty: bool = False) -> str:
        """One transaction, so no packet meets a half of it.

        What refers to something goes before it and comes after it: rules to sets and maps, maps to chains. A chain that
        only has other rules stays hooked.

        :param last: whether nothing is in the table afterwards, and it goes, too
        :param empty: whether what has many elements is made without them
        """
        sets, maps, chains = (
            [operation for operation in operations if isinstance(operation.after or operation.before, sort)]
            for sort in (NftSet, NftMap, NftChain)
        )
        table = self.table
        words = [f'add table {table} {{ comment "{MARK}"; }}', f"add chain {table} {MARK}"]
        words += [f"flush chain {table} {operation.before.name}" for operation in chains if operation.before]
        words += [line for operation in maps for line in map_losses(table, operation)]
        words += [
            f"delete chain {table} {operation.before.name}"
            for operation in chains
            if operation.before and (not operation.after or operation.before[:4] != operation.after[:4])
        ]
        for operation in sets:
            words += set_changes(table, operation, empty)
        wanted = [operation.after for operation in chains if operation.after]
        words += [f"add chain {table} {chain.name}{hooked(chain)}" for chain in wanted]
        words += [line for operation in maps for line in map_gains(table, operation, empty)]
        for chain in wanted:
            words += [
                f'add rule {table} {chain.name} {self._texts[rule]} comment "{rule}"'
                for rule in chain.rules
                if rule not in self._learning
            ]
        if last:
            words.append(f"delete table {table}")
        return "\n".join(words) + "\n"


@lru_cache(maxsize=64)
def _elements_of(obj: NftSet | NftMap) -> str:
    """Before a change and after it most are the same."""
    if isinstance(obj, NftSet):
        return ",".join(sorted(texts(obj)))
    return ",".join(sorted([f"{key} : {value}" for key, value in pairs(obj)]))


def _changes_elements(operation: Operation) -> bool:
    """Whether it changes elements, of a sort that is told to the kernel without nft."""
    after = operation.after
    if operation.verb != REPLACE or not isinstance(after, (NftSet, NftMap)):
        return False
    return is_packed(after) or (isinstance(after, NftSet) and not after.interval)


NFTABLES = NftFacility("nftables", TABLE)
NFTABLES_BRIDGE = NftFacility("nftables_bridge", BRIDGE_TABLE)
