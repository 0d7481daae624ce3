# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets and chains in the table ``inet podnet``, changed by one transaction, compared by typed fields.

A rule's text is not what the kernel gives back, so each carries a digest of its text as its comment and is compared by
that, as Calico does.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    DELETE,
    REPLACE,
    Operation,
    Reference,
    Target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Objects = dict[tuple[str, str], Any]

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

TABLE = "inet podnet"
MARK = "podnet.fabric"
"""Our table's comment, for people, and the name of an empty chain in it: nft 1.0.6 leaves comments out of JSON."""
_TABLE_KEY = ("table", TABLE)


class NftTable(NamedTuple):
    """The table itself. It comes with the first object and goes with the last, whichever kinds they belong to; only one
    that stands empty, because somebody has emptied it, is an object of its own.
    """

    name: str


class NftSet(NamedTuple):
    """A set of prefixes in CIDR notation or, not ``interval``, of plain addresses. ``type`` is ipv4_addr or ipv6_addr.

    Plain addresses are looked up by hash: at any number of them a packet and a change cost the same.
    """

    name: str
    type: str
    elements: frozenset[str]
    interval: bool = True


class NftChain(NamedTuple):
    """A base chain. ``rules`` are the digests of the rules' texts; the texts travel in ``texts`` of what is wanted."""

    name: str
    type: str
    hook: str
    priority: int
    rules: tuple[str, ...]


def digest(rule: str) -> str:
    """What a rule carries as its comment: ``podnet:`` and twelve hexadecimal digits."""
    return "podnet:" + hashlib.sha256(rule.encode()).hexdigest()[:12]


def observe() -> tuple[Objects, list[str]]:
    """Our table, its sets and its chains by (sort, name), and a line when the table is somebody else's."""
    try:
        document = json.loads(run(["nft", "-j", "list", "table", *TABLE.split()]))
    except ToolError as error:
        # Without the tool nobody has made the table either; an apply says that it is missing.
        if error.returncode is None or "No such file or directory" in error.stderr:
            return {}, []
        raise PodnetError(f"nftables cannot be read: {error}") from error
    return parse(document.get("nftables", []))


def part(is_mine: Callable[[tuple[str, str]], bool], desired: Objects) -> Target:
    """One kind's part of our table, which several kinds share.

    :param is_mine: whether the kind has an object in its charge, by sort ("set", "chain") and name
    :param desired: its objects, without the table
    """
    current, conflicts = observe()
    if current.keys() == {_TABLE_KEY}:
        scope = current
        desired = {**desired, **current} if desired else {}
    else:
        scope = {key: obj for key, obj in current.items() if key != _TABLE_KEY and is_mine(key)}
    return Target({"nftables": scope}, {"nftables": desired}, conflicts)


def parse(entries: Sequence[dict[str, Any]]) -> tuple[Objects, list[str]]:
    """Typed objects out of libnftables' JSON."""
    found: Objects = {}
    rules: dict[str, list[str]] = {}
    if not any(entry["chain"]["name"] == MARK for entry in entries if "chain" in entry):
        return {}, [f"nftables: table {TABLE} exists and is not ours (it has no chain {MARK}); rename it"]
    found[_TABLE_KEY] = NftTable(TABLE)
    for entry in entries:
        if "set" in entry:
            found["set", entry["set"]["name"]] = _set(entry["set"])
        elif "rule" in entry:
            rules.setdefault(entry["rule"]["chain"], []).append(entry["rule"].get("comment", "(no comment)"))
    for entry in entries:
        if "chain" in entry and entry["chain"]["name"] != MARK:
            chain = entry["chain"]
            name, priority = chain["name"], int(chain.get("prio", 0))
            sort, hook = chain.get("type", ""), chain.get("hook", "")
            found["chain", name] = NftChain(name, sort, hook, priority, tuple(rules.get(name, ())))
    return found, []


def _set(entry: dict[str, Any]) -> NftSet:
    # An element with a comment is {"elem": {"val": ...}}. Plain addresses, of which there may be many, are as printed.
    elements = [element["elem"]["val"] if "elem" in element else element for element in entry.get("elem", ())]
    interval = "interval" in entry.get("flags", ())
    texts = map(_prefix, elements) if interval else map(str, elements)
    return NftSet(entry["name"], str(entry["type"]), frozenset(texts), interval)


def _prefix(element: Any) -> str:
    if isinstance(element, dict) and "prefix" in element:
        return f"{element['prefix']['addr']}/{element['prefix']['len']}"
    if isinstance(element, str):
        return str(ipaddress.ip_network(element))
    return json.dumps(element, sort_keys=True)


def leaves_nothing(operations: Sequence[Operation]) -> bool:
    """Whether the table is empty after these operations, whichever kinds had something in it."""
    if any(operation.verb != DELETE for operation in operations):
        return False
    gone = {operation.before for operation in operations}
    return all(obj in gone for key, obj in observe()[0].items() if key != _TABLE_KEY)


class NftFacility:
    """Sets and chains of our table. Rule texts are looked up by digest in what ``rule`` has registered."""

    name = "nftables"
    deletes_first = False

    def __init__(self) -> None:
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
        fields: dict[str, Any] = {"chain": f"chain {obj.name}", "type": obj.type, "hook": obj.hook}
        fields.update(priority=obj.priority, rules="; ".join(self._texts.get(rule, rule) for rule in obj.rules))
        return fields

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        try:
            run(["nft", "-f", "-"], stdin=self.script(operations, leaves_nothing(operations)))
        except ToolError as error:
            raise ApplyError(
                [f"{self.name}: the transaction was refused, nothing of it holds: {error.stderr}"]
            ) from error

    def script(self, operations: Sequence[Operation], last: bool = False) -> str:
        """One transaction, so no packet meets a half of it.

        :param last: whether nothing is in the table afterwards, and it goes, too
        """
        sets, chains = (
            [operation for operation in operations if isinstance(operation.after or operation.before, sort)]
            for sort in (NftSet, NftChain)
        )
        words = [f'add table {TABLE} {{ comment "{MARK}"; }}', f"add chain {TABLE} {MARK}"]
        # Rules that refer to a set go before the set and come after it. A chain that only has other rules stays hooked.
        words += [f"flush chain {TABLE} {operation.before.name}" for operation in chains if operation.before]
        words += [
            f"delete chain {TABLE} {operation.before.name}"
            for operation in chains
            if operation.before and (not operation.after or operation.before[:4] != operation.after[:4])
        ]
        for operation in sets:
            words += _set_changes(operation)
        for operation in chains:
            if operation.after:
                words += self._chain(operation.after)
        if last:
            words.append(f"delete table {TABLE}")
        return "\n".join(words) + "\n"

    def _chain(self, chain: NftChain) -> list[str]:
        head = f"type {chain.type} hook {chain.hook} priority {chain.priority}; policy accept;"
        rules = [f'add rule {TABLE} {chain.name} {self._texts[rule]} comment "{rule}"' for rule in chain.rules]
        return [f"add chain {TABLE} {chain.name} {{ {head} }}", *rules]


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
    for verb, elements in (("delete", had - wanted.elements), ("add", wanted.elements - had)):
        if elements:
            words.append(f"{verb} element {TABLE} {wanted.name} {{ {', '.join(sorted(elements))} }}")
    return words


NFTABLES = NftFacility()
