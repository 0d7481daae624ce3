# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the eBPF backend as typed values, and how they are read back."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_hooks, ebpf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import Attachment
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    FLOWS,
    FOLDER,
    FRAGMENTS,
    GENERATION,
    datapaths,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_sealed import CHANGES, WRITES

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


class Datapath(NamedTuple):
    """Programs and maps. ``name`` is a digest of both: another version, or other sizes, make another datapath."""

    name: str
    flows: int
    fragments: int


class PolicyTable(NamedTuple):
    """What the programs of a datapath go by. It is not ``settled`` when whoever changed it last did not come to an end:
    until then no verdict is remembered.
    """

    datapath: str
    elements: Columns
    settled: bool = True


Object = Union[Datapath, PolicyTable, Attachment]
Objects = dict[tuple[str, ...], Any]


def datapath(image: bytes, flows: int, fragments: int) -> Datapath:
    """The datapath out of an object, with maps of these many entries."""
    return Datapath(_digest(image, flows, fragments), flows, fragments)


@cache
def _digest(image: bytes, flows: int, fragments: int) -> str:
    return hashlib.sha256(image + f"{flows} {fragments}".encode()).hexdigest()[:12]


def key_of(obj: Object) -> tuple[str, ...]:
    """Under which name an object is compared."""
    if isinstance(obj, Datapath):
        return ("datapath", obj.name)
    if isinstance(obj, PolicyTable):
        return ("table", obj.datapath)
    return obj.key()


def observe(host: Host) -> Objects:
    """All that is pinned, by key. A datapath that is not complete is none."""
    if not FOLDER.is_dir():
        return {}
    found: list[Object] = []
    known: dict[int, str] = {}
    for folder in datapaths():
        sizes = []
        for pin in (FLOWS, FRAGMENTS):
            with syscall.pinned(str(folder / pin)) as handle:
                sizes.append(maps.shape_of(handle).max_entries)
        # One of an earlier version, or a damaged one, is none that is wanted.
        counts = all((folder / pin).exists() for pin in (GENERATION, WRITES, CHANGES))
        found.append(Datapath(folder.name, *(sizes if counts else (0, 0))))
        found.append(PolicyTable(folder.name, *ebpf_tables.read(folder)))
        for hook in ebpf_hooks.HOOKS:
            with syscall.pinned(str(folder / hook)) as handle:
                known[programs.program_info(handle).id] = folder.name
    found += ebpf_hooks.observe(known, host)
    return {key_of(obj): obj for obj in found}
