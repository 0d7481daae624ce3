# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where what is ours is pinned.

/sys/fs/bpf/podnet/
    policy/
        <datapath>/     a folder per version of the programs and sizes of the maps: sends, receives; table, flows, ...
        links/          links to the interfaces (ebpf_hooks.py)
    clsact/             where clsact is ours (ebpf_filters.py)
"""

from __future__ import annotations

from pathlib import Path

BPFFS = Path("/sys/fs/bpf")
OURS = BPFFS / "podnet"
FOLDER = OURS / "policy"
SERVICES = OURS / "service"
FOLDERS = (FOLDER, SERVICES)
"""Of policies, and of services (service_pins.py)."""
LINKS = "links"
CLSACT = "clsact"
MAKING = "making"
TABLE, GENERATION, FLOWS, FRAGMENTS = "table", "generation", "flows", "fragments"
COUNTS, DENIALS = "counts", "denials"
PINS = ("sends", "receives", TABLE, FLOWS, FRAGMENTS)
NAME = "podnet_"
"""How the names of our programs and maps begin."""


def is_bpffs() -> bool:
    """Whether a bpffs is mounted where pins belong, for the calling thread."""
    mounts = Path("/proc/thread-self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    sorts = [words[2] for words in map(str.split, mounts) if words[1] == str(BPFFS)]
    return sorts[-1:] == ["bpf"]


def entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing when it does not exist."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def datapaths() -> list[Path]:
    """The folders of complete datapaths."""
    return [
        folder
        for folder in entries(FOLDER)
        if folder.name not in (LINKS, MAKING) and all((folder / pin).exists() for pin in PINS)
    ]
