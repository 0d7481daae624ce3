# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings below ``/proc/sys/net``, read and written in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Reference

ROOT = Path("/proc/sys")


class Sysctl(NamedTuple):
    """One setting; a dot in an interface's name is written as a slash, as ``sysctl`` does."""

    key: str
    value: str


def path(key: str) -> Path:
    """Where a setting stands."""
    return ROOT / "/".join(part.replace("/", ".") for part in key.split("."))


def read(key: str) -> str | None:
    """A setting's value, white space folded; None when the kernel does not have it.

    :raises OSError: it is there and cannot be read
    """
    try:
        return " ".join(path(key).read_text(encoding="ascii").split())
    except (FileNotFoundError, NotADirectoryError):
        return None


def expand(pattern: str) -> list[str]:
    """The settings that a key with ``*`` for the interface stands for."""
    head, star, tail = pattern.partition("*")
    if not star:
        return [pattern]
    folder = path(head.rstrip("."))
    return [head + entry.name.replace(".", "/") + tail for entry in sorted(folder.iterdir())]


class SysctlFacility:
    """Writes settings in the order of the operations: one that changes others comes before those."""

    name = "sysctls"
    deletes_first = False

    def parents(self, obj: Sysctl) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Sysctl, after: Sysctl) -> bool:
        return False

    def describe(self, obj: Sysctl) -> dict[str, Any]:
        return {"key": obj.key, "=": obj.value}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failures: list[str] = []
        for operation in operations:
            if operation.after is None or read(operation.after.key) == operation.after.value:
                continue
            try:
                path(operation.after.key).write_text(operation.after.value + "\n", encoding="ascii")
            except OSError as error:
                failures.append(f"{self.name}: set {operation.after.key} to {operation.after.value}: {error.strerror}")
        if failures:
            raise ApplyError(failures)


SYSCTLS = SysctlFacility()
