# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group per node in every hierarchy, so that what runs in a node cannot leave groups behind.

Machines without control groups, or with ones that are not ours to change, go without: nothing else is missing then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ansible_collections.podnet.fabric.plugins.module_utils.lab.mounts import cgroups, read_mounts

PARENT = "podnet-lab"


def _parents() -> list[Path]:
    return [Path(mount.target, PARENT) for mount in cgroups(read_mounts())]


def _inherit_cpuset(folder: Path) -> None:
    # A version 1 cpuset begins empty and then takes no process (cpuset(7)).
    if (folder / "cpuset.memory_migrate").exists():
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text((folder.parent / name).read_text(encoding="ascii"), encoding="ascii")


def join(name: str) -> None:
    """Move the calling process into the node's groups, making them."""
    for parent in _parents():
        with suppress(OSError):
            for folder in (parent, parent / name):
                folder.mkdir(exist_ok=True)
                _inherit_cpuset(folder)
            (parent / name / "cgroup.procs").write_text("0", encoding="ascii")


def remove(name: str) -> None:
    """Remove the node's groups, once nothing runs in them, and the parent when it was the last node."""
    for parent in _parents():
        for folder, _folders, _files in os.walk(parent / name, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        # It stays when other nodes live in it.
        with suppress(OSError):
            parent.rmdir()
