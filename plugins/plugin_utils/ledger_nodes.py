# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node under another name: pure transitions of the ledger.

A node's hardware addresses come from its name (hardware_address), and its peers keep them in permanent entries. One
that is renamed keeps the addresses of its first name: its *identity*, which the ledger tells where it was given one.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Entry, Ledger


def identities(ledger: Ledger) -> dict[str, str]:
    """Return the identities of the nodes that own blocks, where it is told; for all others it is their name."""
    return {
        entry.node: entry.identity for entry in ledger.entries if entry.released is None and entry.identity is not None
    }


def renamed(ledger: Ledger, former: str, name: str) -> Ledger:
    """Hand the blocks that a node owns to its new name; nothing happens when that has been done before."""
    identity = identities(ledger).get(former, former)
    return replace(
        ledger,
        entries=tuple(
            entry._replace(node=name, identity=identity) if entry.node == former and entry.released is None else entry
            for entry in ledger.entries
        ),
    )


def distinct(ledger: Ledger) -> Ledger:
    """Give a node whose name is the identity of another one an identity of its own.

    That is a new node under a name that a renamed one once had.
    """
    told: dict[str, set[str]] = {}
    for entry in ledger.entries:
        if entry.identity is not None:
            told.setdefault(entry.identity, set()).add(entry.node)
    taken = {*told, *(entry.node for entry in ledger.entries)}
    known = identities(ledger)
    fresh: dict[str, str] = {}
    for entry in ledger.entries:
        named = entry.node not in known and entry.node not in fresh
        if entry.released is None and named and told.get(entry.node, set()) - {entry.node}:
            fresh[entry.node] = next(text for number in count(2) if (text := f"{entry.node}+{number}") not in taken)
            taken.add(fresh[entry.node])
    return replace(
        ledger,
        entries=tuple(
            entry._replace(identity=fresh[entry.node]) if entry.released is None and entry.node in fresh else entry
            for entry in ledger.entries
        ),
    )


def rename_problems(ledger: Ledger, former: str, name: str, nodes: Collection[str], where: str) -> list[Problem]:
    """Return why a node cannot be renamed.

    :param nodes: those of the inventory
    :param where: what errors call the ledger
    """
    problems = []
    wanted = "the former name to be gone from the inventory, and the new one in its place"
    if former in nodes:
        problems.append(Problem(former, "a node of the inventory", wanted, f"write {name} in its place"))
    if former == name:
        problems.append(Problem(name, "the same name twice", "a former name and a new one", "give another name"))
        return problems
    former_blocks, blocks = _owned(ledger, former), _owned(ledger, name)
    done = not former_blocks and name in identities(ledger)
    if blocks and not done:
        cure = "give another name; where site.yml was run before the renaming, restore the ledger of before that run"
        found = f"{_list(blocks)}, owned by {name} in {where}"
        problems.append(Problem(name, found, "a name without blocks", cure))
    if not former_blocks and not done:
        resting = [entry for entry in ledger.entries if entry.node == former]
        found = f"blocks that rest, {_list(resting)}" if resting else "no block of it"
        owners = sorted({entry.node for entry in ledger.entries if entry.released is None})
        cure = f"give one of the names that own blocks: {names(owners)}" if owners else "run site.yml first"
        problems.append(Problem(former, f"{found} in {where}", "a node that owns blocks", cure))
    return problems


def _owned(ledger: Ledger, node: str) -> list[Entry]:
    return [entry for entry in ledger.entries if entry.node == node and entry.released is None]


def _list(entries: Sequence[Entry]) -> str:
    return names([str(entry.network) for entry in entries])
