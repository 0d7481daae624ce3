# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the backends of a node's services and takes those out that fail, as long as they do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, node_lock
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND, ServiceKind, read_item
from ansible_collections.podnet.fabric.plugins.module_utils.service import health, known

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import World
    from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import Service
    from ansible_collections.podnet.fabric.plugins.module_utils.service.health import Asked, Health

LONGEST = 120.0
"""Seconds after which no further check is made for a verdict."""

Checks = dict[str, dict[health.Place, str]]


class Checked(NamedTuple):
    """How many backends were checked, what is said of those that fail before and after, and what was changed for it."""

    checks: int
    before: list[str]
    after: list[str]
    result: Result | None


def check_backends(declarations: Declarations, everything: bool, settle: bool, check: bool) -> Checked:
    """Check the backends of the services that ask for it, and program what follows.

    :param everything: also services whose period has not passed
    :param settle: check again, a period later, until thresholds are reached
    :param check: check the backends, too, but only say what would change
    """
    wanted = _asked(declarations)
    if not wanted:
        if not check:
            health.write({})
        return Checked(0, [], [], None)
    rounds = _rounds(wanted, everything, settle)
    with node_lock(check), Host() as host:
        # Somebody may have declared others meanwhile.
        items = declarations.read(KIND.name)
        wanted = _asked(declarations)
        before = after = health.read()
        for outcomes in rounds:
            after = health.advance(after, wanted, outcomes, time.monotonic())
        result = None
        if health.out(before) != health.out(after):
            if not check:
                known.put_aside()
            # Noted down last: the next check finds out again what was not programmed.
            result = reconcile(ServiceKind(after), items, host, declarations, check)
        if not check:
            health.write(after)
    count = len({place for outcomes in rounds for each in outcomes.values() for place in each})
    return Checked(count, told(declarations, before), told(declarations, after), result)


def told(declarations: Declarations, noted: Health | None = None) -> list[str]:
    """A line for each backend that is out, or would be if another were left.

    :param noted: by default what is noted down
    """
    noted = health.read() if noted is None else noted
    if not health.out(noted):
        return []
    return [line for services, world in _declared(declarations) for line in health.sentences(services, world, noted)]


def _rounds(wanted: dict[str, Asked], everything: bool, settle: bool) -> list[Checks]:
    # asyncio takes longer to import than all the rest, and most runs of podnet-node check nothing.
    from ansible_collections.podnet.fabric.plugins.module_utils.service.checks import perform

    noted, begun = health.read(), time.monotonic()
    names = {name for name, each in wanted.items() if everything or health.due(noted, name, each.probe.period, begun)}
    rounds = []
    while names:
        rounds.append(perform({name: wanted[name] for name in names}))
        noted = health.advance(noted, wanted, rounds[-1], time.monotonic())
        names = health.undecided(noted) if settle else set()
        pause = max((wanted[name].probe.period for name in names), default=0)
        if time.monotonic() + pause > begun + LONGEST:
            break
        time.sleep(pause)
    return rounds


def _asked(declarations: Declarations) -> dict[str, Asked]:
    found: dict[str, Asked] = {}
    for services, world in _declared(declarations):
        found.update(health.asked(services, world))
    return found


def _declared(declarations: Declarations) -> list[tuple[list[Service], World]]:
    return [read_item(item) for item in KIND.by_now(declarations.read(KIND.name)).values()]
