# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How full the blocks of a node are, for the plan: a node whose blocks are full may get one more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.cni import leaks
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items

GRACE = 60.0
"""Seconds for which a new reservation counts as that of a pod on its way."""


def blocks() -> list[dict[str, Any]]:
    """The blocks of this node, each with the addresses that pods hold and all that there are.

    None where nobody can tell, and of a drained node, which gives no address to anybody.
    """
    try:
        return of(Declarations().read("cni_network"))
    except (PodnetError, OSError):
        # A node that cannot be read does not grow; what it is that is damaged is said where it matters.
        return []


def of(items: Items) -> list[dict[str, Any]]:
    """The blocks of declared networks."""
    found = []
    for name, item in items.items():
        if item.get("drained"):
            continue
        counted = _counted(name, item)
        # To tell a leaked address takes a look into every namespace, so only where it may matter.
        if any(2 * one["used"] >= one["capacity"] for one in counted):
            counted = _held(name, item)
        found += counted
    return found


def _counted(name: str, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By host-local's files alone."""
    taken = [entry.address for entry in leaks.reservations(leaks.store(name, item))]
    return [
        {
            "block": block["cidr"],
            "used": sum(leaks.holds(block["cidr"], address) for address in taken),
            "capacity": leaks.capacity(block["cidr"], block["gateway"]),
        }
        for block in item["blocks"]
    ]


def _held(name: str, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Without those whose pods are certainly gone: they are to be freed, and are no reason to grow."""
    return [
        {
            "block": block["block"],
            "used": sum(entry["verdict"] != leaks.LEAKED for entry in block["addresses"]),
            "capacity": block["capacity"],
        }
        for block in leaks.survey(name, item, leaks.look(), GRACE)["blocks"]
    ]
