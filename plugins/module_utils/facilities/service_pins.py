# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where what services have in eBPF is pinned.

/sys/fs/bpf/podnet/service/
    <datapath>/     a folder per version of the programs and sizes of the maps: requests, replies; frontends, ...
                    past the host forwards, arrives; places, ... too
    links/          links to the interfaces (service_hooks.py)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import LINKS, MAKING, SERVICES, entries
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_bypass
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import MAPS

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = SERVICES
TRANSLATIONS, CLIENTS, PIECES = "translations", "clients", "pieces"
PROGRAMS = ("requests", "replies")
PASSING = ("forwards", "arrives")
"""The programs that send packets on past the host, where they are to."""
PAST = "past"
PINS = (*PROGRAMS, *MAPS, TRANSLATIONS, CLIENTS, PIECES)


def folders() -> list[Path]:
    """The folders of datapaths, also of such as somebody has damaged."""
    return [folder for folder in entries(FOLDER) if folder.name not in (LINKS, MAKING)]


def datapaths() -> list[Path]:
    """The folders of complete datapaths."""
    return [folder for folder in folders() if all((folder / pin).exists() for pin in PINS)]


def passes(folder: Path) -> bool:
    """Whether a datapath can send packets on past the host."""
    return all((folder / pin).exists() for pin in (*PASSING, *service_bypass.MAPS, PAST))
