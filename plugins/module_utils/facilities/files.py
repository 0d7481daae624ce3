# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole files of our own, known by their first line or, being JSON, by a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import (
    remove_empty,
    temporary,
    write_atomically,
)
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


class File(NamedTuple):
    """A text file. ``mode`` is its permission bits; ``made`` the directories made for it, the deepest first.

    Without a text it is what is left of one: nothing but those directories.
    """

    path: str
    text: str
    mode: int = 0o644
    made: tuple[str, ...] = ()


def is_our_text(text: str) -> bool:
    """Whether a file's text carries our mark."""
    if text.startswith(FILE_HEADER):
        return True
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "podnet" in document


def observe(paths: Mapping[str, Sequence[str]]) -> dict[Hashable, File]:
    """Those of the files that exist and are ours, by path.

    :param paths: where to look, each with the directories that were made for it
    """
    found: dict[Hashable, File] = {}
    for name, made in paths.items():
        path = Path(name)
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if is_our_text(text):
                found[name] = File(name, text, path.stat().st_mode & 0o7777, tuple(made))
        elif made and not path.is_symlink() and _is_left(Path(made[0]), path):
            found[name] = File(name, "", 0, tuple(made))
    return found


def _is_left(directory: Path, path: Path) -> bool:
    """Whether a directory that was made for a file is there without it: a run was cut off between the two."""
    return directory.is_dir() and {entry.name for entry in directory.iterdir()} <= {temporary(path).name}


def conflicts(wanted: Sequence[str]) -> list[str]:
    """A line for each wanted path where something stands that is not ours."""
    ours = observe(dict.fromkeys(wanted, ()))
    return [
        f"{name}: exists and was not written by podnet.fabric (it lacks the mark); move it away or choose another path"
        for name in wanted
        if name not in ours and (Path(name).exists() or Path(name).is_symlink())
    ]


def missing_directories(path: str) -> list[str]:
    """The directories above a path that writing it makes (and undoing removes), the deepest first."""
    return [str(parent) for parent in Path(path).parents if not parent.exists()]


class FileFacility:
    """Writes and removes files, and with the last file in them the directories that were made for it."""

    name = "files"
    deletes_first = False

    def parents(self, obj: File) -> Sequence[Reference]:
        return ()

    def immutable(self, before: File, after: File) -> bool:
        return False

    def describe(self, obj: File) -> dict[str, Any]:
        return {"path": obj.path, "mode": f"{obj.mode:04o}", "text": obj.text}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failures: list[str] = []
        for operation in operations:
            file = operation.after or operation.before
            try:
                if operation.verb == DELETE:
                    Path(file.path).unlink(missing_ok=True)
                    temporary(Path(file.path)).unlink(missing_ok=True)
                    remove_empty(*map(Path, file.made))
                else:
                    write_atomically(Path(file.path), file.text, file.mode)
            except OSError as error:
                failures.append(f"{self.name}: {operation.verb} {file.path}: {error.strerror}")
        if failures:
            raise ApplyError(failures)


FILES = FileFacility()
