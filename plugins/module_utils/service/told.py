# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services that a node has been told of, one by one, since all were declared: changed, new, or gone.

/etc/podnet/told-services/
    <digest of namespace and name>.json     a service (told_records.py)

Such a service has its document, the slices that list backends of it, and the pods that it selects. It knows no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import ETC
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED, DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.told import overlaid
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import World
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Name, Records, Told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


def _name_of(service: dict[str, Any]) -> Name:
    """:raises ValueError, DeclarationError: it is no service"""
    if service.keys() != {"document", "slices", "endpoints"}:
        raise ValueError("it lacks a document, slices or endpoints")
    world_of(service)
    documents.services([service["document"]])
    return documents.key_of(service["document"])


RECORDS = Records(ETC / "told-services", "service", _name_of)

INCLUDED = "told"
"""The field of a declaration's item that has what was told; only the way back to a checkpoint leads to one."""


def alone(
    document: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A service with what is its own of slices and pods that have been inspected."""
    whose = documents.key_of(document)
    listed = [each for each in slices if documents.owner_of(each) == whose]
    return {"document": document, "slices": listed, "endpoints": _in_order(_selected(document, pods))}


def with_others(
    service: dict[str, Any] | None, before: Mapping[str, Any] | None, asked: Collection[str] | None
) -> dict[str, Any] | None:
    """A service with the pods that it had at nodes that have not been asked, of those that it selects."""
    if service is None:
        return None
    more = endpoints.of_others(before, asked, service["endpoints"])
    return {**service, "endpoints": _in_order([*service["endpoints"], *_selected(service["document"], more)])}


def _selected(document: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    namespace, _name = documents.key_of(document)
    wanted = (document["spec"].get("selector") or {}).items()
    return [each for each in pods if each["namespace"] == namespace and wanted and wanted <= each["labels"].items()]


def _in_order(pods: Iterable[Any]) -> list[Any]:
    return sorted(pods, key=lambda each: (each["namespace"], each["name"]))


def world_of(service: Mapping[str, Any]) -> World:
    """The backends that a service knows.

    :raises DeclarationError: somebody has edited it
    """
    pods = [(entry["node"], endpoints.read(entry)) for entry in service["endpoints"]]
    return World(pods, documents.slices(service["slices"]))


def of(item: Mapping[str, Any]) -> Told:
    """What has been told, where that is included in an item.

    :raises DeclarationError: somebody has edited it
    """
    try:
        return {(each["namespace"], each["name"]): each["service"] for each in item.get(INCLUDED, ())}
    except MALFORMED as error:
        raise DeclarationError(f"the declaration tells of no services ({error}); run the playbook again") from error


def included(item: dict[str, Any], since: Told | None = None) -> dict[str, Any]:
    """A declaration's item with what has been told since; the same one where that is nothing.

    :param since: what that is; by default what is noted down
    """
    since = RECORDS.read_all() if since is None else since
    if not since:
        return item
    every = sorted({**of(item), **since}.items())
    lines = [{"namespace": namespace, "name": name, "service": service} for (namespace, name), service in every]
    return {**item, INCLUDED: lines}


def documents_by_now(item: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The services of an item, as they are by what has been told, where that is included."""
    told = of(item)
    if not told:
        declared: Sequence[Mapping[str, Any]] = item["services"]
        return declared
    staying = [document for document in item["services"] if documents.key_of(document) not in told]
    return staying + [each["document"] for each in told.values() if each is not None]


def pods_by_now(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The same of its pods."""
    told = [each for each in of(item).values() if each is not None]
    come = {(entry["namespace"], entry["name"]): entry for each in told for entry in each["endpoints"]}
    before = [entry for each in told for entry in _selected(each["document"], item["endpoints"])]
    return overlaid(item["endpoints"], {**{(each["namespace"], each["name"]): None for each in before}, **come})
