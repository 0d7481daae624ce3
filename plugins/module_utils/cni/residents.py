# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods that are on a node, of whatever runtime: by the addresses that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.cni import leaks
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.address_stores import LONG_ID, SHOWN_DIGITS

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items


class Residents(NamedTuple):
    """Pods, each with network, name and addresses, and the addresses that pods left behind."""

    pods: list[dict[str, Any]]
    leaked: list[str]


def look(items: Items, grace: float = 60.0) -> Residents:
    """Find out who is there.

    An address of which it is not certain that its pod is gone counts as a pod's.

    :param items: the declared networks
    :param grace: seconds for which a new reservation counts as that of a pod on its way
    :raises PodnetError: a namespace or a record cannot be read
    """
    pods: dict[tuple[str, str], dict[str, Any]] = {}
    left: list[str] = []
    sight = leaks.look()
    for name, item in items.items():
        for block in leaks.survey(name, item, sight, grace)["blocks"]:
            for entry in block["addresses"]:
                if entry["verdict"] == leaks.LEAKED:
                    left.append(entry["address"])
                    continue
                key = (name, entry["container_id"])
                pods.setdefault(key, {"network": name, "name": _shown(entry), "addresses": []})
                pods[key]["addresses"].append(entry["address"])
    return Residents(list(pods.values()), left)


def _shown(entry: dict[str, Any]) -> str:
    """A pod of ours by its name, another one as its runtime shows it."""
    if entry["pod"]:
        return f"{entry['namespace']}/{entry['pod']}"
    holder = str(entry["container_id"]) or "unknown container"
    return holder[:SHOWN_DIGITS] if LONG_ID.match(holder) else holder
