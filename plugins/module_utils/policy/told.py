# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of other nodes that a node has been told of since its policies were declared: come, or gone.

/etc/podnet/told/
    <digest of namespace and name>.json     a pod; after a restart of the machine it is known from here again

A run that declares the policies anew has them in its declaration, or knows better, and forgets them here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.podnet.fabric.plugins.module_utils import stored
from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import ETC, remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER = ETC / "told"
VERSION = 1
_TYPES: stored.Types = {"version": int, "namespace": str, "name": str, "endpoint": (dict, type(None))}

Name = tuple[str, str]
"""Namespace and name."""

Told = dict[Name, Optional[dict[str, Any]]]
"""Pods as policy/endpoints.py has them; None for one that has gone."""


def nobody() -> Told:
    """For who declares all pods anew."""
    return {}


def read_all() -> Told:
    """What is known by now.

    :raises DeclarationError: somebody has edited it, or a newer version has written it
    """
    try:
        return dict(each for path in sorted(FOLDER.iterdir()) if _is_record(path.name) for each in _read(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DeclarationError(f"{FOLDER}: cannot be read: {error.strerror}") from error


def write(told: Mapping[Name, dict[str, Any] | None]) -> None:
    """Note pods down; not all of them are when the machine crashes.

    :raises DeclarationError:
    """
    for (namespace, name), endpoint in told.items():
        document = {"version": VERSION, "namespace": namespace, "name": name, "endpoint": endpoint}
        try:
            record.put(str(_path(namespace, name)), json.dumps(document))
        except OSError as error:
            raise DeclarationError(f"{FOLDER}: cannot be written: {error.strerror}") from error


def forget(names: Iterable[Name]) -> None:
    """Know no more of these than the declaration does."""
    for each in names:
        _path(*each).unlink(missing_ok=True)
    remove_empty(FOLDER, FOLDER.parent)


def forget_all() -> None:
    """Know no more than the declaration does."""
    with suppress(FileNotFoundError):
        for path in FOLDER.iterdir():
            if _is_record(path.name.removesuffix(record.NEW)):
                path.unlink(missing_ok=True)
    remove_empty(FOLDER, FOLDER.parent)


def included(item: Mapping[str, Any]) -> dict[str, Any]:
    """A declaration's item with what has been told since."""
    return {**item, "endpoints": overlaid(item["endpoints"], read_all())}


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


def _is_record(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _path(namespace: str, name: str) -> Path:
    # Both together may be longer than the name of a file.
    return FOLDER / f"{sha256(f'{namespace}/{name}'.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> Sequence[tuple[Name, dict[str, Any] | None]]:
    try:
        text = path.read_text(encoding="utf-8")
        # It is empty where the machine has crashed before it was on the disk.
        return [_record(text)] if text else []
    except FileNotFoundError:
        return []
    except (ValueError, DeclarationError) as error:
        raise DeclarationError(
            f"{path}: tells of no pod ({error}); remove the file, and run the playbook again"
        ) from error


def _record(text: str) -> tuple[Name, dict[str, Any] | None]:
    """:raises ValueError, DeclarationError: says what is wrong with it"""
    document = stored.checked(stored.load(text), _TYPES)
    if document["version"] > VERSION:
        raise ValueError("written by a newer version")
    name, endpoint = (document["namespace"], document["name"]), document["endpoint"]
    if endpoint is not None:
        read = endpoints.read(endpoint)
        if (read.namespace, read.name) != name or not isinstance(endpoint.get("node"), str):
            raise ValueError("another pod than it says, or of no node")
    return name, endpoint
