# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playbook asks of single nodes, held against inventory and ledger before anything is changed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_nodes
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger

GROUP = "group podnet_removed"


class Request(NamedTuple):
    """Nodes that have to be in the inventory, and those that get another name, former name to new one."""

    expected: tuple[str, ...] = ()
    renamed: Mapping[str, str] = {}
    removed: tuple[str, ...] = ()  # hosts that the inventory says are no nodes any more


NOTHING = Request()


def problems(request: Request, nodes: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the names, looking at the inventory alone."""
    found = [_unknown("node", name, request, nodes) for name in request.expected if name not in nodes]
    found += [_nameless("node") for former in request.renamed if not former]
    found += [_unknown("to", name, request, nodes) for name in request.renamed.values() if name not in nodes]
    return found


def ledger_problems(request: Request, ledger: Ledger, nodes: Sequence[str], where: str) -> list[Problem]:
    """Return what is wrong with the names, looking at the ledger.

    :param where: what errors call the ledger
    """
    return [
        problem
        for former, name in request.renamed.items()
        if former and name
        for problem in ledger_nodes.rename_problems(ledger, former, name, nodes, where)
    ]


def renamed(request: Request, ledger: Ledger) -> Ledger:
    """Return the ledger with the new names."""
    for former, name in request.renamed.items():
        ledger = ledger_nodes.renamed(ledger, former, name)
    return ledger


def _nameless(argument: str) -> Problem:
    return Problem(argument, "nothing", "the name of a node", f"say -e {argument}=NAME")


def _unknown(argument: str, name: str, request: Request, nodes: Sequence[str]) -> Problem:
    if not name:
        return _nameless(argument)
    if name in request.removed:
        return Problem(argument, f"{show(name)}, a host of the {GROUP}", "a node", f"take it out of the {GROUP}")
    close = difflib.get_close_matches(name, nodes, n=1)
    cure = f"did you mean {close[0]}?" if close else "add it to the inventory, or give one that is there"
    return Problem(argument, show(name), f"a node of the inventory ({names(list(nodes))})", cure)
