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
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nft_table

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    It may be ``ifname`` too, or ``ifname . ipv4_addr`` and the like: then an element is an interface's name, or that
    and an address with `` . `` between.

    Plain addresses are looked up by hash: at any number of them a packet and a change cost the same.
    """

    name: str
    type: str
    elements: frozenset[str]
    interval: bool = True


class NftMap(NamedTuple):
    """A verdict map: plain addresses to the chains that a packet then passes through.

    ``type`` is that of a set, or ifname, with names of interfaces in the place of addresses.
    """

    name: str
    type: str
    elements: frozenset[tuple[str, str]]


class NftChain(NamedTuple):
    """A chain, without a hook one that others jump to. ``rules`` are digests of texts that the facility knows."""

    name: str
    type: str
    hook: str
    priority: int
    rules: tuple[str, ...]


def digest(rule: str) -> str:
    """What a rule carries as its comment: ``podnet:`` and twelve hexadecimal digits."""
    return "podnet:" + hashlib.sha256(rule.encode()).hexdigest()[:12]


def observe(table: str = TABLE) -> tuple[Objects, list[str]]:
    """A table of ours, its sets and its chains by (sort, name), and a line when it is somebody else's."""
    # Most nodes have no table for bridges, and each run asks.
    if table == BRIDGE_TABLE and not nft_table.exists(table):
        return {}, []
    try:
        printed = run(["nft", "-j", "list", "table", *table.split()])
    except ToolError as error:
        # Without the tool nobody has made the table either; an apply says that it is missing.
        if error.missing or "No such file or directory" in error.stderr:
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
            found["set", entry["set"]["name"]] = _set(entry["set"])
        elif "map" in entry:
            found["map", entry["map"]["name"]] = _map(entry["map"])
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
    elements = [_value(element) for element in entry.get("elem", ())]
    interval = "interval" in entry.get("flags", ())
    texts = map(_prefix if interval else _text, elements)
    return NftSet(entry["name"], _type(entry["type"]), frozenset(texts), interval)


def _type(told: Any) -> str:
    """The type of a set's keys. Since nft 1.1.2 one that was made with typeof tells the expressions."""
    if isinstance(told, dict) and isinstance(told.get("typeof"), dict):
        told = [_TYPEOF.get(json.dumps(each, sort_keys=True), each) for each in told["typeof"].get("concat", ())]
    return told if isinstance(told, str) else " . ".join(map(str, told))


_TYPEOF = {
    '{"meta": {"key": "iifname"}}': "ifname",
    '{"payload": {"base": "th", "len": 128, "offset": 64}}': "integer",
}


def _text(element: Any) -> str:
    if not isinstance(element, dict) or not isinstance(element.get("concat"), list):
        return str(element)
    words = map(str, element["concat"])
    return " . ".join(f"0x{int(word, 16):032x}" if word.startswith("0x") else word for word in words)


def _map(entry: dict[str, Any]) -> NftMap:
    elements = ((_plain(key), _target(value)) for key, value in entry.get("elem", ()))
    return NftMap(entry["name"], str(entry["type"]), frozenset(elements))


def _target(value: Any) -> str:
    """The chain that a packet is led to. Any other verdict or value is of somebody else's making."""
    target = value["jump"].get("target") if isinstance(value, dict) and isinstance(value.get("jump"), dict) else None
    return target if isinstance(target, str) else json.dumps(value, sort_keys=True)


def _value(element: Any) -> Any:
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _plain(element: Any) -> str:
    return str(_value(element))


def _prefix(element: Any) -> str:
    if isinstance(element, dict) and "prefix" in element:
        return f"{element['prefix']['addr']}/{element['prefix']['len']}"
    if isinstance(element, str):
        return f"{element}/{128 if ':' in element else 32}"
    return json.dumps(element, sort_keys=True)
