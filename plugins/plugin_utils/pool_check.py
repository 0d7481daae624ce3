# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pool keeps back, and which nodes it serves."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger
    from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host


def chosen(patterns: Sequence[Any], hosts: Sequence[Host]) -> frozenset[str] | None:
    """Return the hosts that patterns choose by their names and groups; None, for all, where there is no pattern."""
    if not patterns:
        return None
    return frozenset(host.name for host in hosts if any(_matches(str(pattern), host) for pattern in patterns))


def selector_problems(stated: Any, pools: Sequence[Pool], hosts: Sequence[Host]) -> list[Problem]:
    """Check that each pattern chooses a node, and that each node has a pool of every family that there is."""
    problems = []
    known = sorted({host.name for host in hosts} | {group for host in hosts for group in host.groups})
    for pool in pools:
        for index, pattern in enumerate(stated[pool.position].get("nodes", ())):
            if isinstance(pattern, str) and not any(_matches(pattern, host) for host in hosts):
                close = difflib.get_close_matches(pattern, known, n=1)
                cure = f"did you mean {close[0]}?" if close else "correct the name, or remove it"
                wanted = "the name of a node or of a group with nodes"
                problems.append(Problem(f"{pool.path}.nodes[{index}]", f"'{pattern}'", wanted, cure))
    if problems:
        return problems
    for family in sorted({pool.family for pool in pools}):
        mine = [pool for pool in pools if pool.family == family]
        without = [host.name for host in hosts if not any(pool.serves(host.name) for pool in mine)]
        if without:
            found = f"no IPv{family} pool for {names(without)}"
            cure = f"add a pool without nodes, or add them to nodes in {names([pool.path for pool in mine])}"
            problems.append(Problem("podnet_pools", found, "one or more for each node", cure))
    return problems


def reservation_problems(pools: Sequence[Pool]) -> list[Problem]:
    """Check that what a pool keeps back is a part of it."""
    return [
        Problem(f"{pool.path}.reserved[{index}]", str(part), f"a part of {pool.network}", "correct it, or remove it")
        for pool in pools
        for index, part in enumerate(pool.reserved)
        if part.version != pool.family or not part.subnet_of(pool.network)  # type: ignore[arg-type]  # of one family
    ]


def owned_reservations(ledger: Ledger, pools: Sequence[Pool]) -> list[str]:
    """Return a warning for each node that has a block which has been reserved since."""
    withheld: Mapping[str, Pool] = {pool.name: pool for pool in pools if pool.reserved}
    return [
        f"{withheld[entry.pool].path}.reserved: {entry.network} is {entry.node}'s already, and stays so as long as the "
        "node is in the inventory"
        for entry in ledger.entries
        if entry.released is None
        and entry.pool in withheld
        and any(entry.network.overlaps(part) for part in withheld[entry.pool].withheld)
    ]


def _matches(pattern: str, host: Host) -> bool:
    return any(fnmatchcase(name, pattern) for name in (host.name, *host.groups))
