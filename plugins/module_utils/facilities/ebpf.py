# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs, their maps and the links to interfaces, changed so that no packet meets a half of anything.

What the programs go by is changed as ebpf_tables.py says. Another program takes the place of the one at a hook between
two packets. Flows that are remembered move along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf, maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError, Handle
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_hooks, ebpf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import HOOKS, Attachment
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_objects import (
    Datapath,
    Objects,
    PolicyTable,
    datapath,
    key_of,
    observe,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    BPFFS,
    CLSACT,
    COUNTS,
    DENIALS,
    FLOWS,
    FOLDER,
    FRAGMENTS,
    GENERATION,
    LINKS,
    MAKING,
    NAME,
    OURS,
    TABLE,
    datapaths,
    entries,
    is_bpffs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf as renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference, Target, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_objects import Object
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def wanted(elements: renderer.Elements, ports: Iterable[str], flows: int, fragments: int, host: Host) -> Objects:
    """The objects that put a table before interfaces."""
    made = datapath(OBJECT, flows, fragments)
    found: list[Object] = [made, PolicyTable(made.name, elements)]
    found += [ebpf_hooks.wish(device, hook, made.name, host) for device in ports for hook in HOOKS]
    return {key_of(obj): obj for obj in found}


def part(desired: Objects, host: Host) -> Target:
    """All that is ours there."""
    conflicts = []
    if desired and not is_bpffs():
        conflicts.append(f"ebpf: there is no BPF file system on {BPFFS}; mount it: mount -t bpf bpf {BPFFS}")
    return Target({EBPF.name: observe(host)}, {EBPF.name: desired}, conflicts)


class EbpfFacility:
    """Datapaths, tables and attachments."""

    name = "ebpf"
    deletes_first = False

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ((self.name, key_of(Datapath(obj.datapath, 0, 0))),) if isinstance(obj, PolicyTable) else ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, Datapath):
            return {"datapath": f"datapath {obj.name}", "flows": obj.flows, "fragments": obj.fragments}
        if isinstance(obj, PolicyTable):
            told = {"table": f"table of {obj.datapath}", "elements": "; ".join(renderer.describe(obj.elements))}
            return told if obj.settled else {**told, "unfinished": True}
        where = obj.device or f"no interface (link {obj.pin})"
        return {"attachment": f"{obj.hook} at {where}", "datapath": obj.datapath, "by": "tcx" if obj.pin else "clsact"}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        """The programs before what they go by, that before the interfaces; backwards where things go."""
        order = (Attachment, PolicyTable, Datapath) if operations[0].verb == DELETE else _UPWARD
        failures = []
        for sort in order:
            for operation in operations:
                obj = operation.after or operation.before
                if not isinstance(obj, sort):
                    continue
                try:
                    _carry_out(operation, host)
                except (BpfError, OSError) as error:
                    failures.append(f"{self.name}: {operation.verb} {line(self, obj)[:200]}: {error}")
            if failures:
                # What comes next stands on this.
                raise ApplyError(failures)
        if operations[0].verb == DELETE:
            _remove(FOLDER / MAKING)
            ebpf_hooks.forget_gone(host, everything=not datapaths())
            if not datapaths():
                for folders in ((FOLDER / LINKS,), (FOLDER / CLSACT,), (FOLDER, OURS)):
                    remove_empty(*folders)


_UPWARD = (Datapath, PolicyTable, Attachment)


def _carry_out(operation: Operation, host: Host) -> None:
    before, after = operation.before, operation.after
    if isinstance(after, Datapath):
        _make(after)
    elif isinstance(after, PolicyTable):
        ebpf_tables.put(after.datapath, after.elements, before and before.elements, host)
    elif isinstance(after, Attachment):
        ebpf_hooks.attach(after, host)
    elif isinstance(before, Datapath):
        _remove(FOLDER / before.name)
    elif isinstance(before, Attachment):
        ebpf_hooks.detach(before, host)


def _make(made: Datapath) -> None:
    """Load the programs, under another name until they are complete."""
    folder = FOLDER / MAKING
    read = elf.read(OBJECT)
    for old in (folder, FOLDER / made.name):
        _remove(old)
    folder.mkdir(parents=True, mode=0o700)
    held: dict[str, Handle] = {}
    try:
        with ebpf_tables.trie({}) as inner:
            held[TABLE] = maps.create(NAME + TABLE, read.maps[TABLE], inner)
        for name, size in ((FLOWS, made.flows), (FRAGMENTS, made.fragments)):
            held[name] = _kept(name, read.maps[name]._replace(max_entries=size))
        for name in (COUNTS, DENIALS, GENERATION):
            held[name] = _kept(name, read.maps[name])
        for hook in HOOKS:
            held[hook] = programs.load(NAME + hook, read.programs[hook], held, read.licence)
        for name, handle in held.items():
            syscall.pin(handle, str(folder / name))
    finally:
        for handle in held.values():
            handle.close()
    folder.rename(FOLDER / made.name)


def _kept(name: str, shape: maps.Shape) -> Handle:
    """The map of another datapath, so that what it remembers stays; its elements where it has another size."""
    fresh: Handle | None = None
    for folder in datapaths():
        if not (folder / name).exists():
            continue  # of an earlier version
        other = syscall.pinned(str(folder / name))
        had = maps.shape_of(other)
        if had == shape:
            return other
        with other:
            if had._replace(max_entries=shape.max_entries) == shape:
                fresh = maps.create(NAME + name, shape)
                maps.fill(fresh, maps.elements(other))
                return fresh
    return maps.create(NAME + name, shape)


def _remove(folder: Path) -> None:
    for pin in entries(folder):
        pin.unlink()
    remove_empty(folder)


EBPF = EbpfFacility()
