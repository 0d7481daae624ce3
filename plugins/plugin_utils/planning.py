# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the planner against the ledger's store: where the pure part meets the ledger's store and the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils import (
    ledger_growth,
    ledger_nodes,
    ledger_store,
    ledger_text,
    node_request,
    planner,
    pool_check,
    reported,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.plugins.plugin_utils.node_request import NOTHING, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Draft
    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger, Store
    from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem
    from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host


class Outcome(NamedTuple):
    """What a run brought: a plan and the ledger's text before and after it, or the problems."""

    plan: dict[str, Any] | None
    problems: list[Problem]
    warnings: list[str]
    ledger: str = ""
    before: str = ""
    after: str = ""


def run(
    hosts: Sequence[Host], found: Sequence[Problem], folder: str | None, allocate: bool, request: Request = NOTHING
) -> Outcome:
    """Plan for the hosts; problems found on the way to here are reported with all the others.

    Raises MissingLibrary when the ledger's store needs one that is not installed.
    """
    hosts, odd = reported.usable(hosts)
    drafted = planner.draft(hosts)
    problems = [*found, *odd, *drafted.problems]
    store, store_problems = ledger_store.choose(drafted.cluster, folder)
    problems += store_problems
    names = [host.name for host in hosts]
    problems += node_request.problems(request, names)
    if store is not None and (problems or request.renamed):
        problems += _read_problems(store, request, names)
    if problems or store is None or drafted.draft is None:
        return Outcome(None, problems, drafted.warnings)
    drawn = drafted.draft
    now = int(time.time())
    name = store.name

    def settle(ledger: Ledger) -> Ledger:
        problems = node_request.ledger_problems(request, ledger, names, name)
        if not ledger.entries:
            problems += ledger_store.left_behind(drafted.cluster, folder)
        if problems:
            raise LedgerError(problems)
        return _settled(drawn, node_request.renamed(request, ledger), now, name)

    try:
        if allocate:
            before, after = store.update(settle)
        else:
            before = store.read()
            after = settle(before)
    except LedgerError as error:
        return Outcome(None, error.problems, drafted.warnings)
    plan = {**planner.finish(drawn, after, now).as_facts(), "ledger": name}
    warnings = [*drafted.warnings, *pool_check.owned_reservations(after, drawn.pools)]
    warnings += ledger_growth.warnings(after, drawn.reports)
    return Outcome(plan, [], warnings, name, _text(before), _text(after))


def _settled(drawn: Draft, ledger: Ledger, now: int, name: str) -> Ledger:
    settlement = planner.place(drawn, ledger, now)
    problems = planner.placement_problems(settlement, name, drawn.settings["block_rest"])
    settled, more = planner.place_services(drawn, settlement.ledger, now)
    if problems or more:
        raise LedgerError(problems + more)
    return ledger_nodes.distinct(settled)


def _read_problems(store: Store, request: Request, names: Sequence[str]) -> list[Problem]:
    try:
        return node_request.ledger_problems(request, store.read(), names, store.name)
    except LedgerError as error:
        return error.problems


def _text(ledger: Ledger) -> str:
    return ledger_text.render(ledger) if ledger.entries else ""
