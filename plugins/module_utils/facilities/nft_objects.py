# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in our tables, ``inet podnet`` and ``bridge podnet``, as typed values read out of libnftables' JSON.

A rule's text is not what the kernel gives back, so each carries a digest of its text as its comment and is compared by
that, as Calico does.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError, taking_apart
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import (
    BYTES,
    JOINED,
    NUMBER,
    PROTOCOL,
    PROTOCOLS,
    VERDICT,
    key_texts,
    pack,
    value_texts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Objects = dict[tuple[str, str], Any]

TABLE = "inet podnet"
BRIDGE_TABLE = "bridge podnet"
MARK = "podnet.fabric"
"""Our table's comment, for people, and the name of an empty chain in it: nft 1.0.6 leaves comments out of JSON."""

ADVERTISED = "ifname . integer"
"""The type of a set of interfaces with targets of advertisements, of 128 bits, which nft 1.0.6 has no name for."""


class NftTable(NamedTuple):
    """The table itself. It comes with the first object and goes with the last, whichever kinds they belong to; only one
    that stands empty, because somebody has emptied it, is an object of its own.
    """

    name: str


class NftSet(NamedTuple):
    """A set of prefixes in CIDR notation or, not ``interval``, of plain addresses. ``type`` is ipv4_addr or ipv6_addr.

    Plain addresses are looked up by hash: at any number of them a packet and a change cost the same. Where ``type``
    joins several by " . ", elements are packed (nft_packed.py) or, with ``interval``, texts that join as many, and a
    prefix of full length stands as its address. `texts` has them all as texts.

    It may be ``ifname`` too, or ``ifname . ipv4_addr`` and the like: then an element is an interface's name, or that
    and an address, as a text.

    Of one that is ``counted`` the kernel counts for each element what a rule has found it with.
    """

    name: str
    type: str
    elements: frozenset[Any]
    interval: bool = True
    counted: bool = False


class NftMap(NamedTuple):
    """Keys to values. ``type`` as of a set that is not ``interval``, or ifname for interfaces.

    The ``value`` is of a type too, or "verdict": "jump" or "goto" and a chain, "drop". What stands in a ``dynamic`` map
    packets have put there, and it goes by itself after a while. Elements are pairs of texts or, where ``type`` joins
    several and the map is not ``dynamic``, packed (nft_packed.py). `pairs` has them all as texts.
    """

    name: str
    type: str
    elements: frozenset[Any]
    value: str = VERDICT
    dynamic: bool = False


class NftChain(NamedTuple):
    """A chain, without a hook one that others jump to. ``rules`` are digests of texts that the facility knows."""

    name: str
    type: str
    hook: str
    priority: int
    rules: tuple[str, ...]


def is_packed(obj: Any) -> bool:
    """Whether the elements of a set or a map are packed: those that there may be very many of."""
    if JOINED not in obj.type or (obj.interval if isinstance(obj, NftSet) else obj.dynamic):
        return False
    return all(each in BYTES for each in obj.type.split(JOINED))


def texts(obj: NftSet, elements: Iterable[Any] | None = None) -> list[str]:
    """The elements of a set, or those of them that are given, as nft writes them."""
    of_bytes, others = _apart(obj.elements if elements is None else elements)
    return key_texts(obj.type, of_bytes) + others if of_bytes else others


def pairs(obj: NftMap, elements: Iterable[Any] | None = None) -> list[tuple[str, str]]:
    """The same of a map: keys and what they lead to."""
    of_bytes, others = _apart(obj.elements if elements is None else elements)
    if not of_bytes:
        return others
    return [*zip(key_texts(obj.type, of_bytes), value_texts(obj.type, obj.value, of_bytes)), *others]


def _apart(elements: Iterable[Any]) -> tuple[list[bytes], list[Any]]:
    """What is packed, and what is not."""
    some = list(elements)
    of_bytes = [each for each in some if isinstance(each, bytes)]
    return of_bytes, [] if len(of_bytes) == len(some) else [each for each in some if not isinstance(each, bytes)]


def packed(obj: Any) -> Any:
    """A set or a map of texts as it is compared."""
    if not is_packed(obj):
        return obj
    found = []
    for each in obj.elements:
        try:
            found.append(pack(obj.type, *((each,) if isinstance(obj, NftSet) else (each[0], obj.value, each[1]))))
        except ValueError:
            # Somebody else's: it is told as it is, and is not what we want in any case.
            found.append(each)
    return obj._replace(elements=frozenset(found))


def digest(rule: str) -> str:
    """What a rule carries as its comment: ``podnet:`` and twelve hexadecimal digits."""
    return "podnet:" + hashlib.sha256(rule.encode()).hexdigest()[:12]


def observe(table: str = TABLE, *, there: bool = False) -> tuple[Objects, list[str]]:
    """A table of ours, its sets and its chains by (sort, name), and a line when it is somebody else's.

    :param there: the kernel has told that there is such a table, so that nft is needed
    """
    try:
        printed = run(["nft", "-j", "list", "table", *table.split()])
    except ToolError as error:
        # Without the tool nobody has made the table either; an apply says that it is missing.
        if (error.missing and not there) or "No such file or directory" in error.stderr:
            return {}, []
        raise PodnetError(f"nftables cannot be read: {error}") from error
    return read(printed, table)


def read(printed: str, table: str = TABLE) -> tuple[Objects, list[str]]:
    """Typed objects out of what `nft -j` prints."""
    with taking_apart(f"nft -j list table {table}"):
        return parse(json.loads(printed)["nftables"], table)


def parse(entries: Sequence[dict[str, Any]], table: str = TABLE) -> tuple[Objects, list[str]]:
    """Typed objects out of libnftables' JSON."""
    found: Objects = {}
    rules: dict[str, list[str]] = {}
    if not any(entry["chain"]["name"] == MARK for entry in entries if "chain" in entry):
        return {}, [f"nftables: table {table} exists and is not ours (it has no chain {MARK}); rename it"]
    found["table", table] = NftTable(table)
    for entry in entries:
        if "set" in entry:
            found["set", entry["set"]["name"]] = packed(_set(entry["set"]))
        elif "map" in entry:
            found["map", entry["map"]["name"]] = packed(_map(entry["map"]))
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
    sort = _type(entry["type"])
    elements, interval = entry.get("elem", ()), "interval" in entry.get("flags", ())
    if JOINED in sort:
        found = {_joined(element, sort.split(JOINED)) for element in elements}
    else:
        # One with a comment is {"elem": {"val": ...}}. Plain addresses, of which there may be many, are as printed.
        found = set(map(_prefix if interval else str, map(_value, elements)))
    counted = any("counter" in each for each in entry.get("stmt", ()))
    return NftSet(entry["name"], sort, frozenset(found), interval, counted)


def _map(entry: dict[str, Any]) -> NftMap:
    sort, value = _type(entry["type"]), _type(entry["map"])
    keys, values = sort.split(JOINED), value.split(JOINED)
    elements = frozenset(
        (_joined(key, keys), _verdict(what) if value == VERDICT else _joined(what, values))
        for key, what in entry.get("elem", ())
    )
    return NftMap(entry["name"], sort, elements, value, dynamic="timeout" in entry.get("flags", ()))


def _type(printed: Any) -> str:
    if isinstance(printed, dict):
        # From nft 1.1 on a type that has been declared by expressions is told by them (set_key_dtype_json() of json.c).
        expression = printed["typeof"]
        return JOINED.join(map(_type_of, expression.get("concat", [expression])))
    return JOINED.join(printed) if isinstance(printed, list) else str(printed)


def _type_of(expression: dict[str, Any]) -> str:
    (word, what), *_more = expression.items()
    if word == "payload":
        if "field" not in what:
            return NUMBER
        address = what["field"] in ("saddr", "daddr")
        return {"ip": "ipv4_addr", "ip6": "ipv6_addr"}.get(what["protocol"], "") if address else "inet_service"
    if word == "meta":
        return "ifname" if what["key"] == "iifname" else PROTOCOL
    return {"numgen": NUMBER}.get(word, word)


def _verdict(verdict: Any) -> str:
    """What is done with a packet; more than we ask for is of somebody else's making."""
    if not isinstance(verdict, dict) or len(verdict) != 1:
        return json.dumps(verdict, sort_keys=True)
    ((word, what),) = verdict.items()
    target = what.get("target") if isinstance(what, dict) else None
    return f"{word} {target}" if isinstance(target, str) else word if what is None else json.dumps(verdict)


def _joined(element: Any, types: Sequence[str]) -> str:
    """An element as it is written: its parts in the order of their types."""
    element = _value(element)
    parts = element["concat"] if isinstance(element, dict) and "concat" in element else [element]
    return JOINED.join(map(_part, parts, types))


def _part(part: Any, sort: str) -> str:
    if sort == PROTOCOL:
        return PROTOCOLS.get(part, str(part))
    if isinstance(part, dict):
        return _prefix(part)
    # An address that has no type of its own is of 128 bits; nft leaves the zeros out that it begins with.
    return f"0x{int(part, 16):032x}" if sort == NUMBER and str(part).startswith("0x") else str(part)


def _value(element: Any) -> Any:
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _prefix(element: Any) -> str:
    if isinstance(element, dict) and "prefix" in element:
        return f"{element['prefix']['addr']}/{element['prefix']['len']}"
    if isinstance(element, str):
        return f"{element}/{128 if ':' in element else 32}"
    return json.dumps(element, sort_keys=True)
