# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our chains in tables of iptables and the jumps to them, as typed values, and how they are read.

A rule's text is not what `iptables-save` prints, so each carries a digest of its text as its comment and is compared by
that, as in nft_objects.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import (
    AHEAD,
    OURS,
    PROGRAMS,
    save,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE, NAT = "filter", "nat"
CHAIN_BYTES = 28
"""The longest name of a chain: XT_EXTENSION_MAXNAMELEN of linux/netfilter/x_tables.h is 29 with the zero at its end."""
BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
NO_COMMENT = "(no comment)"

_RULE = re.compile(r"-A (\S+) ")
_COMMENT = re.compile(r' --comment "?(podnet:[0-9a-f]{12})"?(?: |$)')
_TARGET = re.compile(r" -j (\S+)$")


class IptablesChain(NamedTuple):
    """A chain of ours in a flavour and family (4 or 6). ``rules`` are digests of texts that the facility knows."""

    flavour: str
    family: int
    name: str
    rules: tuple[str, ...]
    table: str = TABLE


class IptablesJump(NamedTuple):
    """The rule of a built-in chain that leads to one of ours: once, and before all that is not ours.

    It is ``first`` if it comes before that, and not after one of ours that shall follow.
    """

    flavour: str
    family: int
    chain: str
    target: str
    copies: int = 1
    first: bool = True
    table: str = TABLE


Object = Union[IptablesChain, IptablesJump]
Objects = dict[tuple[str, int, str], Object]


def key(obj: Object) -> tuple[str, int, str]:
    """What an object is known by. No two tables have a chain of ours of the same name."""
    name = obj.name if isinstance(obj, IptablesChain) else f"{obj.chain} {obj.target}"
    return obj.flavour, obj.family, name


def jump_digest(target: str) -> str:
    """What a jump to one of our chains carries as its comment."""
    return digest(f"-j {target}")


def observe(flavour: str, prefix: str, tables: Sequence[str] = (TABLE,)) -> Objects:
    """The chains of both families whose names begin so, and the jumps to them."""
    found: Objects = {}
    for family in PROGRAMS:
        for table in tables:
            found.update(parse(flavour, family, prefix, save(flavour, family, table), table))
    return found


def parse(flavour: str, family: int, prefix: str, saved: str, table: str = TABLE) -> Objects:
    """Typed objects out of what `iptables-save` prints of the table."""
    rules: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith(":"):
            rules.setdefault(line[1:].split(" ", 1)[0], [])
        match = _RULE.match(line)
        if match and (match[1].startswith(prefix) or match[1] in BUILT_IN):
            rules.setdefault(match[1], []).append(line)
    found: list[Object] = []
    for name, lines in rules.items():
        if name.startswith(prefix):
            comments = (_COMMENT.search(line) for line in lines)
            digests = tuple(comment[1] if comment else NO_COMMENT for comment in comments)
            found.append(IptablesChain(flavour, family, name, digests, table))
        elif name in BUILT_IN:
            found += [
                IptablesJump(flavour, family, name, target, copies, first, table)
                for target, (copies, first) in _jumps(lines).items()
                if target.startswith(prefix)
            ]
    return {key(obj): obj for obj in found}


def ahead(flavour: str, family: int) -> dict[str, int]:
    """How many jumps each built-in chain of the table ``filter`` begins with that come before others of ours."""
    found: dict[str, int] = {}
    foreign: set[str] = set()
    for line in save(flavour, family, TABLE).splitlines():
        match = _RULE.match(line)
        if match and match[1] in BUILT_IN and match[1] not in foreign:
            target = _leads_to(line)
            if not target:
                foreign.add(match[1])
            elif target.startswith(AHEAD):
                found[match[1]] = found.get(match[1], 0) + 1
    return found


def _jumps(lines: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """How many jumps a built-in chain has to each chain of ours, and whether the first is where it should be."""
    found: dict[str, tuple[int, bool]] = {}
    foreign = behind = False
    for line in lines:
        target = _leads_to(line)
        if not target:
            foreign = True
            continue
        ahead_of_others = target.startswith(AHEAD)
        copies, first = found.get(target, (0, not foreign and not (ahead_of_others and behind)))
        found[target] = (copies + 1, first)
        behind = behind or not ahead_of_others
    return found


def _leads_to(line: str) -> str:
    """The chain of ours to which a rule of a built-in chain is a jump of ours."""
    target, comment = _TARGET.search(line), _COMMENT.search(line)
    ours = target and target[1].startswith(OURS) and comment and comment[1] == jump_digest(target[1])
    return target[1] if target and ours else ""
