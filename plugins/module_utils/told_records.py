# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node has been told of beside its declarations, a file for each thing that has a namespace and a name.

After a restart of the machine it is known from there again. A run that declares all anew has it in its declaration, or
knows better, and forgets it here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from ansible_collections.podnet.fabric.plugins.module_utils import stored
from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

VERSION = 1

Name = tuple[str, str]
"""Namespace and name."""

Told = dict[Name, Optional[dict[str, Any]]]
"""What is known of each; None for what has gone."""


class Outcome(NamedTuple):
    """What came of telling: ``before`` and ``after`` are what differs, ``reconciled`` whether it took a reconcile."""

    changed: bool
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    reconciled: bool


UNCHANGED = Outcome(False, [], [], False)


def nothing() -> Told:
    """For who declares all anew."""
    return {}


class Records:
    """Those of one sort.

    :param folder: where they are
    :param field: under which the thing itself stands
    :param name_of: says whose record it is by the thing itself, or raises as of `errors.MALFORMED` or DeclarationError
    """

    def __init__(self, folder: Path, field: str, name_of: Callable[[dict[str, Any]], Name]) -> None:
        self.folder = folder
        self._field = field
        self._name_of = name_of
        self._types: stored.Types = {"version": int, "namespace": str, "name": str, field: (dict, type(None))}

    def read_all(self) -> Told:
        """What is known by now.

        :raises DeclarationError: somebody has edited it, or a newer version has written it
        """
        try:
            paths = sorted(path for path in self.folder.iterdir() if _is_record(path.name))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DeclarationError(f"{self.folder}: cannot be read: {error.strerror}") from error
        return dict(each for path in paths for each in self._read(path))

    def read(self, whose: Name) -> Told:
        """What is known of one; nothing where nobody has told.

        :raises DeclarationError: as of `read_all`
        """
        return dict(self._read(self._path(*whose)))

    def write(self, told: Mapping[Name, dict[str, Any] | None]) -> None:
        """Note it down; not all of it is when the machine crashes.

        :raises DeclarationError:
        """
        for (namespace, name), thing in told.items():
            document = {"version": VERSION, "namespace": namespace, "name": name, self._field: thing}
            try:
                record.put(str(self._path(namespace, name)), json.dumps(document))
            except OSError as error:
                raise DeclarationError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def forget(self, names: Iterable[Name]) -> None:
        """Know no more of these than the declaration does."""
        for each in names:
            self._path(*each).unlink(missing_ok=True)
        remove_empty(self.folder, self.folder.parent)

    def forget_all(self) -> None:
        """Know no more than the declaration does."""
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if _is_record(path.name.removesuffix(record.NEW)):
                    path.unlink(missing_ok=True)
        remove_empty(self.folder, self.folder.parent)

    def _path(self, namespace: str, name: str) -> Path:
        # Both together may be longer than the name of a file.
        return self.folder / f"{sha256(f'{namespace}/{name}'.encode()).hexdigest()[:32]}.json"

    def _read(self, path: Path) -> list[tuple[Name, dict[str, Any] | None]]:
        try:
            text = path.read_text(encoding="utf-8")
            # It is empty where the machine has crashed before it was on the disk.
            return [self._record(text)] if text else []
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DeclarationError(f"{path}: cannot be read: {error.strerror}") from error
        except (*MALFORMED, DeclarationError) as error:
            raise DeclarationError(
                f"{path}: tells of no {self._field} ({error}); remove the file, and run the playbook again"
            ) from error

    def _record(self, text: str) -> tuple[Name, dict[str, Any] | None]:
        """:raises ValueError, DeclarationError: says what is wrong with it"""
        document = stored.checked(stored.load(text), self._types)
        if document["version"] > VERSION:
            raise ValueError("written by a newer version")
        name, thing = (document["namespace"], document["name"]), document[self._field]
        if thing is not None and self._name_of(thing) != name:
            raise ValueError(f"another {self._field} than it says")
        return name, thing


def _is_record(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
