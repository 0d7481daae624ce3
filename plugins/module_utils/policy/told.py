# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of other nodes that a node has been told of since its policies were declared: come, or gone.

/etc/podnet/told/
    <digest of namespace and name>.json     a pod (told_records.py)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import ETC
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Name, Records, Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _name_of(endpoint: dict[str, Any]) -> Name:
    """:raises ValueError, DeclarationError: it is no pod"""
    read = endpoints.read(endpoint)
    if not isinstance(endpoint.get("node"), str):
        raise ValueError("a pod of no node")  # noqa: TRY004  # a file is damaged, one way or the other
    return read.namespace, read.name


RECORDS = Records(ETC / "told", "endpoint", _name_of)
"""Pods as policy/endpoints.py has them."""


def included(item: Mapping[str, Any]) -> dict[str, Any]:
    """A declaration's item with what has been told since."""
    return {**item, "endpoints": overlaid(item["endpoints"], RECORDS.read_all())}


def overlaid(declared: Sequence[Mapping[str, Any]], told: Told) -> list[Mapping[str, Any]]:
    """The pods of a declaration as they are by what has been told since, which counts more."""
    if not told:
        return list(declared)
    come = [endpoint for endpoint in told.values() if endpoint is not None]
    taken = {address for endpoint in come for address in endpoint["addresses"]}
    staying = (entry for entry in declared if (entry["namespace"], entry["name"]) not in told)
    left = (endpoints.without(entry, taken) for entry in staying)
    found = [*(entry for entry in left if entry is not None), *come]
    return sorted(found, key=lambda each: (each["namespace"], each["name"]))
