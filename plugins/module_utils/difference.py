# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One difference between what a node declares and what is there, and how a person is told of it.

Apart from drift.py, which imports every kind: Ansible imports all filters for each task of each host that uses one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

WHOLE = ""
"""The field of a difference that is about the whole object: it is missing, or nobody declared it."""


class Difference(NamedTuple):
    """One field of one object. ``declared`` is None where the object should not be, ``found`` where it is not."""

    kind: str
    facility: str
    object: str
    field: str
    declared: Any
    found: Any


def sentence(difference: Difference) -> str:
    """A difference on one line, for a person."""
    where = f"{difference.kind}: {difference.facility} {difference.object}"
    if difference.field:
        return f"{where}: {difference.field}: declared {_shown(difference.declared)}, found {_shown(difference.found)}"
    return f"{where}: missing" if difference.found is None else f"{where}: not declared"


def _shown(value: Any) -> str:
    return "nothing" if value in (None, "", []) else str(value)
