# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a node to a whole set of declarations: to the former ones when a change is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.purge import purge
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import line, reconcile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result

ROUNDS = 2
"""A kind that fails is tried once more after the others: what it was waiting for may be there by then."""

WORKLOADS = "pod"
"""The kind that is not ours to take back: pods come and go with the runtimes that run them."""


class Restored(NamedTuple):
    """What was changed, a line for each object, and what could not be brought back."""

    changes: list[str]
    problems: list[str]


def restore(host: Host, declarations: Declarations, wanted: Declarations) -> Restored:
    """Make the wanted declarations the node's own and reconcile every kind to them.

    What is wanted is made first, in the order of a set-up, so that routes which another dataplane has meanwhile are
    replaced in place; then what nobody wants goes, in reverse. Where nothing is wanted everything goes, pods too.

    A kind that fails does not keep the others from being restored. The caller holds the node's lock.
    """
    if not wanted.kinds():
        return _nothing(host)
    done = Restored([], [])
    unreadable: list[str] = []
    left = list(_in_order(wanted, unreadable))
    for _attempt in range(ROUNDS):
        failed: list[tuple[Kind, Items]] = []
        done.problems.clear()
        for kind, items in left:
            try:
                host.forget()
                done.changes.extend(_changes(kind, reconcile(kind, items, host, declarations)))
            except PodnetError as error:
                failed.append((kind, items))
                done.problems.extend(f"{kind.name}: {text}" for text in str(error).splitlines())
        left = failed
        if not failed:
            break
    done.problems.extend(unreadable)
    return done


def _in_order(wanted: Declarations, unreadable: list[str]) -> Iterator[tuple[Kind, Items]]:
    items: dict[str, Items] = {}
    for kind in KINDS:
        if kind.name != WORKLOADS:
            try:
                items[kind.name] = wanted.read(kind.name)
            except PodnetError as error:  # what is declared there is not known, so it stays as it is
                unreadable.extend(f"{kind.name}: {text}" for text in str(error).splitlines())
    yield from ((kind, items[kind.name]) for kind in reversed(KINDS) if items.get(kind.name))
    yield from ((kind, {}) for kind in KINDS if items.get(kind.name) == {})


def _nothing(host: Host) -> Restored:
    try:
        gone = purge(host, check=False)
    except PodnetError as error:
        return Restored([], str(error).splitlines())
    return Restored([text for kind, result in gone for text in _changes(kind, result)], [])


def _changes(kind: Kind, result: Result) -> list[str]:
    facilities = {facility.name: facility for facility in kind.facilities}
    return [
        f"{operation.verb} {operation.facility}: "
        + line(facilities[operation.facility], operation.before if operation.after is None else operation.after)
        for operation in result.operations
    ]
