# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted on this machine, as /proc/self/mountinfo tells it (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

# Made afresh in every node, or private to this machine.
NOT_COPIED = ("/proc", "/sys", "/dev", "/run")


class Mount(NamedTuple):
    """One line of mountinfo; ``root`` is the folder inside the file system that is shown."""

    target: str
    root: str
    fstype: str
    options: str


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)


def parse_mountinfo(text: str) -> list[Mount]:
    """Parse mountinfo. Of several mounts on one place only the last, which hides the others, is given."""
    mounts: dict[str, Mount] = {}
    for line in text.splitlines():
        before, _separator, after = line.partition(" - ")
        root, target = (_unescape(field) for field in before.split()[3:5])
        fstype, _source, options = after.split(None, 2)
        mounts[target] = Mount(target, root, fstype, options)
    return [mounts[target] for target in sorted(mounts)]


def is_below(path: str, folder: str) -> bool:
    """Say whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def to_copy(mounts: list[Mount]) -> list[Mount]:
    """Choose the mounts below / whose content a node has to see, parents before children.

    An overlay of / shows the root file system only; an interpreter may well live on another one.
    """
    return [m for m in mounts if m.target != "/" and not any(is_below(m.target, folder) for folder in NOT_COPIED)]


def cgroups(mounts: list[Mount]) -> list[Mount]:
    """Choose the control group hierarchies, version 1 and 2."""
    return [mount for mount in mounts if mount.fstype in ("cgroup", "cgroup2")]


def read_mounts() -> list[Mount]:
    """Read the mounts that this process sees."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
