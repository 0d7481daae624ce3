# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories in which host-local keeps the addresses that are taken. It makes them; we clear them away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

# What host-local leaves when every address is free again (plugins/ipam/host-local/backend/disk).
BOOKKEEPING = ("lock", "last_reserved_ip.")


# Docker, podman and CRI-O show the first 12 of the 64 hexadecimal digits of a container's id.
LONG_ID = re.compile(r"[0-9a-f]{64}\Z")
SHOWN_DIGITS = 12


def taken(path: Path) -> dict[str, str]:
    """The addresses that a store holds, of whatever runtime, each with its container's id as the runtime shows it."""
    return {entry.name: _holder(entry) for entry in sorted(path.iterdir()) if not entry.name.startswith(BOOKKEEPING)}


def _holder(entry: Path) -> str:
    """host-local writes the container's id and, in a second line, its interface into a file of the address's name."""
    try:
        lines = entry.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        lines = []
    holder = lines[0] if lines else "unknown container"
    return holder[:SHOWN_DIGITS] if LONG_ID.match(holder) else holder


def standing(paths: Iterable[str]) -> dict[str, str]:
    """Those of the stores that exist."""
    return {path: path for path in paths if Path(path).is_dir()}


class AddressStoreFacility:
    """Removes stores in which no address is taken any more, and the directories above them that it leaves empty."""

    name = "address_stores"
    deletes_first = False

    def parents(self, obj: str) -> Sequence[Reference]:
        return ()

    def immutable(self, before: str, after: str) -> bool:
        return False

    def describe(self, obj: str) -> dict[str, Any]:
        return {"path": obj}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failures = []
        for operation in operations:
            if operation.verb != DELETE:
                continue
            path = Path(operation.before)
            try:
                for entry in path.iterdir():
                    entry.unlink()
                path.rmdir()
            except OSError as error:
                failures.append(f"{self.name}: delete {path}: {error.strerror}")
            remove_empty(*(parent for parent in path.parents if RUN in (parent, *parent.parents)))
        if failures:
            raise ApplyError(failures)


ADDRESS_STORES = AddressStoreFacility()
