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

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import ETC, remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER = ETC / "told"
VERSION = 1

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


def write(told: Told) -> None:
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
    found: list[Mapping[str, Any]] = []
    for entry in declared:
        if (entry["namespace"], entry["name"]) in told:
            continue
        left = [address for address in entry["addresses"] if address not in taken]
        if left or not entry["addresses"]:
            found.append(entry if len(left) == len(entry["addresses"]) else {**entry, "addresses": left})
    return sorted([*found, *come], key=lambda each: (each["namespace"], each["name"]))


def _is_record(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _path(namespace: str, name: str) -> Path:
    # Both together may be longer than the name of a file.
    return FOLDER / f"{sha256(f'{namespace}/{name}'.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> Iterable[tuple[Name, dict[str, Any] | None]]:
    try:
        text = path.read_text(encoding="utf-8")
        if not text:
            # The machine has crashed before it was on the disk.
            return
        document = json.loads(text)
        if document["version"] > VERSION:
            raise ValueError("written by a newer version")  # noqa: TRY301
        endpoint = document["endpoint"]
        if endpoint is not None:
            if not isinstance(endpoint["labels"], dict) or not isinstance(endpoint["ports"], list):
                raise TypeError("no endpoint")  # noqa: TRY301
            if not all(isinstance(address, str) for address in endpoint["addresses"]):
                raise TypeError("addresses that are none")  # noqa: TRY301
            if (endpoint["namespace"], endpoint["name"]) != (document["namespace"], document["name"]):
                raise ValueError("another pod than it says")  # noqa: TRY301
        yield (str(document["namespace"]), str(document["name"])), endpoint
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeclarationError(
            f"{path}: tells of no pod ({type(error).__name__}: {error}); remove the file, and run the playbook again"
        ) from error
