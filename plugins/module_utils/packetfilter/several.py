# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several packet filters come to that are on a node at a time, as when one takes over from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ipsets, iptables_objects, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import DEFAULT
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


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


def left_nftables(*prefixes: tuple[str, str]) -> bool:
    """Whether there may be something in tables of ours, each with how the names in it begin."""
    try:
        return any(
            name.startswith(prefix) for table, prefix in prefixes for _sort, name in nft_reading.observe(table)[0]
        )
    except PodnetError:
        return False


def taking_part(left: Mapping[str, Callable[[], bool]], declared: Collection[str]) -> list[str]:
    """The backends that are looked at: the declared ones, and those that may have left something.

    :param left: whether one may have, by name
    :raises DeclarationError: there is no such backend
    """
    unknown = set(declared) - left.keys()
    if unknown:
        names = ", ".join(sorted(unknown))
        raise DeclarationError(f"the declaration names the backend {names}, which is none; run the playbook again")
    return [name for name, asked in left.items() if name in declared or asked()] or [DEFAULT]


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
