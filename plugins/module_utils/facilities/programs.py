# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with the node program or a plugin of ours, and links that have systemd start units.

Both are known by what they are, not by a text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils import node_archive
from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty, write_bytes_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import FileFacility
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

BOOTED = Path("/run/systemd/system")  # sd_booted(3)
SYSTEM = "/etc/systemd/system"


class Program(NamedTuple):
    """A program's file; ``made`` the directories made for it, the deepest first."""

    path: str
    digest: str
    mode: int = 0o755
    made: tuple[str, ...] = ()


class Wanted(NamedTuple):
    """A link in a target's ``.wants`` folder, which is what ``systemctl enable`` makes."""

    path: str
    unit: str
    made: tuple[str, ...] = ()


def observe_program(path: str, made: Sequence[str]) -> dict[str, Program]:
    """The program, when it is there and ours."""
    file = Path(path)
    content = file.read_bytes() if file.is_file() else b""
    if not node_archive.is_ours(content):
        return {}
    return {path: Program(path, node_archive.digest(content), file.stat().st_mode & 0o7777, tuple(made))}


def observe_wanted(links: dict[str, Wanted]) -> dict[str, Wanted]:
    """Those of the links that are there and lead to our units."""
    return {
        path: link
        for path, link in links.items()
        if Path(path).is_symlink() and str(Path(path).readlink()) == link.unit
    }


class ProgramFacility:
    """Writes and removes programs, whose contents are looked up by digest in what ``content`` has registered."""

    name = "programs"
    deletes_first = False

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def content(self, content: bytes) -> str:
        """Register a program's content and give its digest."""
        found = node_archive.digest(content)
        self._contents[found] = content
        return found

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def describe(self, obj: Program) -> dict[str, Any]:
        return {"path": obj.path, "mode": f"{obj.mode:04o}", "sha256": obj.digest}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for operation in operations:
            program = operation.after or operation.before
            try:
                if operation.verb == DELETE:
                    Path(program.path).unlink(missing_ok=True)
                    remove_empty(*map(Path, program.made))
                else:
                    write_bytes_atomically(Path(program.path), (self._contents[program.digest],), program.mode)
            except OSError as error:
                raise ApplyError([f"{self.name}: {operation.verb} {program.path}: {error.strerror}"]) from error


class WantedFacility:
    """Makes and removes the links; a systemd that runs is told, and starts and stops timers."""

    name = "enablements"
    deletes_first = True

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def describe(self, obj: Wanted) -> dict[str, Any]:
        return {"path": obj.path, "unit": obj.unit}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for operation in operations:
            link = operation.after or operation.before
            name = Path(link.unit).name
            try:
                if operation.verb == DELETE:
                    _stop(name)
                    Path(link.path).unlink(missing_ok=True)
                    remove_empty(*map(Path, link.made))
                else:
                    Path(link.path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                    Path(link.path).unlink(missing_ok=True)
                    Path(link.path).symlink_to(link.unit)
            except OSError as error:
                raise ApplyError([f"{self.name}: {operation.verb} {link.path}: {error.strerror}"]) from error
        _systemctl("daemon-reload")
        for operation in operations:
            if operation.after and operation.after.unit.endswith(".timer"):
                _systemctl("restart", Path(operation.after.unit).name)


class UnitFileFacility(FileFacility):
    """Writes and removes files, units among them; a systemd that runs is told."""

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        super().apply(operations, host)
        if any((operation.after or operation.before).path.startswith(f"{SYSTEM}/") for operation in operations):
            _systemctl("daemon-reload")


def _stop(name: str) -> None:
    """Have systemd forget a unit, which may be the one by which this runs: that one goes on, and ends by itself."""
    if BOOTED.is_dir():
        shown = ["systemctl", "show", "--property", "ActiveState", "--value", name]
        try:
            over = run(shown).strip() != "activating"
        except ToolError as error:
            raise ApplyError([f"{' '.join(shown)}: {error}"]) from error
        if over:
            _systemctl("stop", name)


def _systemctl(*words: str) -> None:
    if not BOOTED.is_dir():
        return
    try:
        run(["systemctl", *words])
    except ToolError as error:
        raise ApplyError([f"systemctl {' '.join(words)}: {error}"]) from error


PROGRAMS = ProgramFacility()
UNIT_FILES = UnitFileFacility()
ENABLEMENTS = WantedFacility()
