# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several packet filters come to that are on a node at a time, as when one takes over from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ipsets, iptables_objects
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Iterable


def left_iptables(flavour: str, sets: str, chains: str) -> bool:
    """Whether there may be something of the backend that a flavour is; how its sets and chains begin.

    No rule of ours is there without a set of ours: sets are made before the rules, and go after them.

    Sets alone are left, too. A flavour that the node cannot read holds nothing.
    """
    if not ipsets.any_left(sets):
        return False
    try:
        iptables_objects.observe(flavour, chains)
    except PodnetError:
        return False
    return True


def merged(targets: Iterable[Target]) -> Target:
    """The targets of several backends as one: the flavours of iptables share their sets."""
    current: dict[str, dict[Any, Any]] = {}
    desired: dict[str, dict[Any, Any]] = {}
    conflicts: list[str] = []
    notes: list[str] = []
    for each in targets:
        for into, state in ((current, each.current), (desired, each.desired)):
            for name, objects in state.items():
                into.setdefault(name, {}).update(objects)
        conflicts += each.conflicts
        notes += each.notes
    return Target(current, desired, conflicts, notes)
