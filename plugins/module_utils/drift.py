# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between a node's declarations and the node itself, by object and field, without changing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.difference import WHOLE, Difference
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import line, reconcile

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility, Kind, Operation


class Drift(NamedTuple):
    """The differences, and what keeps a kind from being compared at all (a damaged declaration, a foreign object)."""

    differences: list[Difference]
    problems: list[str]


def drift(host: Host, declarations: Declarations) -> Drift:
    """Compare every kind's declaration with the node; objects of ours that nobody declared count too."""
    found = Drift([], [])
    for kind in reversed(KINDS):
        try:
            result = reconcile(kind, declarations.read(kind.name), host, declarations, check=True)
        except PodnetError as error:
            found.problems.extend(f"{kind.name}: {text}" for text in str(error).splitlines())
            continue
        facilities = {facility.name: facility for facility in kind.facilities}
        for operation in result.operations:
            found.differences.extend(_differences(kind, facilities[operation.facility], operation))
    return found


def _differences(kind: Kind, facility: Facility, operation: Operation) -> list[Difference]:
    before = facility.describe(operation.before) if operation.before is not None else None
    after = facility.describe(operation.after) if operation.after is not None else None
    if before is None:
        return [Difference(kind.name, facility.name, _name(after), WHOLE, line(facility, operation.after), None)]
    if after is None:
        return [Difference(kind.name, facility.name, _name(before), WHOLE, None, line(facility, operation.before))]
    return [
        Difference(kind.name, facility.name, _name(after), field, after.get(field), before.get(field))
        for field in {**after, **before}
        if after.get(field) != before.get(field)
    ]


def _name(described: dict[str, Any] | None) -> str:
    """The identifying field of an object, and its device where it has one."""
    fields = described or {}
    words = [str(value) for value in list(fields.values())[:1]]
    if "dev" in fields and str(fields["dev"]) not in words:
        words += ["dev", str(fields["dev"])]
    return " ".join(words)
