# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the declared policies of a node have counted, as the module policy_info tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import counting
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import EBPF_NAME
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import enforced

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def read(items: Items, host: Host) -> dict[str, Any]:
    """Backends by the names of the declarations, and what they have counted."""
    found: dict[str, Any] = {"backends": {}, "allowed": [], "denied": [], "last_denied": []}
    for name, item in sorted(items.items()):
        wanted = enforced(item, host)
        told = counting.counted(item["backend"], wanted.compiled, wanted.guarded)
        found["backends"][name] = item["backend"]
        found["allowed"] += [
            {"policies": list(policies), "direction": direction, **count._asdict()}
            for (policies, direction), count in sorted(told.allowed.items())
        ]
        found["denied"] += [
            {"endpoint": endpoint, "direction": direction, **count._asdict()}
            for (endpoint, direction), count in sorted(told.denied.items())
        ]
        if item["backend"] == EBPF_NAME:
            found["last_denied"] = [denial._asdict() for denial in counting.last_denied()]
    return found
