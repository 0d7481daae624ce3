# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether and where packets that policies deny are logged, and how many."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("rate", "burst", "group")
DEFAULTS = {"rate": "10/second", "burst": 5}
MAX_GROUP = 65535
"""The number of a group is a 16 bit field (linux/netfilter/nfnetlink_log.h)."""
# What both nft and iptables know.
RATE = re.compile(r"[1-9][0-9]{0,3}/(second|minute|hour|day)\Z")


class Log(NamedTuple):
    """So many packets per guard, after a burst; without a ``group`` of nfnetlink_log the kernel's log has them."""

    rate: str
    burst: int
    group: int | None

    def prefix(self, direction: str) -> str:
        """What each line begins with; the kernel's log has room for 29 characters (linux/netfilter/xt_LOG.h)."""
        return f"podnet-denied-{direction.lower()}:"


def inspect_log(inspection: Inspection, path: str, given: Any) -> dict[str, Any] | None:
    """The setting as it is declared; None where nothing is logged."""
    if not given:
        return None
    if not isinstance(given, dict):
        inspection.refuse(path, repr(given), f"give a mapping with {', '.join(KEYS)}")
        return None
    inspection.unknown(path, map(str, given), KEYS)
    found = {**DEFAULTS, **given}
    if not isinstance(found["rate"], str) or not RATE.match(found["rate"]):
        inspection.refuse(f"{path}.rate", repr(found["rate"]), "give a number and a unit, as in 10/second or 600/hour")
    inspection.integer(f"{path}.burst", found["burst"], 1, 10000)
    if found.get("group") is not None:
        inspection.integer(f"{path}.group", found["group"], 0, MAX_GROUP)
    return found


def read(item: Mapping[str, Any]) -> Log | None:
    """The setting of a declaration of the policy's.

    :raises DeclarationError: somebody has edited it since
    """
    told = item.get("log")
    inspection = Inspection()
    inspect_log(inspection, "log", told)
    if inspection.findings:
        raise DeclarationError(f"the declaration holds no log ({inspection.findings[0]}); run the playbook again")
    return Log(told["rate"], told["burst"], told.get("group")) if told else None
