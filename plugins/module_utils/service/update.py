# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspects what the module service_update is given, and says all that is wrong with its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints as pods
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_items,
    inspect_mapping,
    inspect_metadata,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents, told
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import (
    inspect_services,
    require_addresses,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices

if TYPE_CHECKING:
    from collections.abc import Collection

    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Told


def inspected(
    services: Any, slices: Any, endpoints: Any, asked: Collection[str] | None = None, *, is_there: bool
) -> Told:
    """The services by namespace and name.

    :param asked: the nodes of which all pods are told, where they are not all nodes
    :raises InvalidInput: with every finding
    """
    inspection = Inspection()
    if not is_there:
        gone: Told = {}
        for path, document in inspect_items(inspection, "services", services):
            if inspect_mapping(inspection, path, document, ("apiVersion", "kind", "metadata", "spec", "status")):
                inspect_metadata(inspection, f"{path}.metadata", document.get("metadata"))
        if asked:
            inspection.refuse("asked", str(asked), "leave it out with state: absent")
        inspection.conclude()
        gone.update((documents.key_of(document), None) for document in services)
        return gone
    inspect_services(inspection, "services", services)
    inspect_slices(inspection, "slices", slices)
    known = pods.inspect_endpoints(inspection, "endpoints", endpoints)
    inspection.conclude()
    require_addresses(inspection, services)
    return {documents.key_of(each): told.alone(each, slices, known) for each in services}
