# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of services, their maps and the links to interfaces, changed so that connections go on.

Elements are changed one by one in maps that stay: what frontends lead to is there before them and goes after them. Only
other programs, or maps that have become too small, make another datapath, which takes over what packets have written.
"""

from __future__ import annotations

from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf, maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError, Handle
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import service_hooks
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import Attachment
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    BPFFS,
    LINKS,
    MAKING,
    NAME,
    OURS,
    entries,
    is_bpffs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_datapaths import (
    Datapath,
    Objects,
    ServiceTable,
    key_of,
    observe,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import (
    CLIENTS,
    FOLDER,
    PIECES,
    PROGRAMS,
    TRANSLATIONS,
    datapaths,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_ebpf as renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference, Target, line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def part(desired: Objects, host: Host) -> Target:
    """All that is ours there."""
    conflicts = []
    if desired and not is_bpffs():
        conflicts.append(f"ebpf: there is no BPF file system on {BPFFS}; mount it: mount -t bpf bpf {BPFFS}")
    if desired and not programs.has_tcx():
        conflicts.append("ebpf: this kernel has no tcx, services by eBPF take Linux 6.6; set backend: nftables")
    return Target({SERVICE_EBPF.name: observe(host)}, {SERVICE_EBPF.name: desired}, conflicts)


class ServiceEbpfFacility:
    """Datapaths, tables and attachments of services."""

    name = "service_ebpf"
    deletes_first = False

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ((self.name, key_of(Datapath(obj.datapath, 0, 0))),) if isinstance(obj, ServiceTable) else ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, Datapath):
            return {"datapath": f"datapath {obj.name}", "flows": obj.flows, "room": obj.room}
        if isinstance(obj, ServiceTable):
            return {"table": f"table of {obj.datapath}", "elements": "; ".join(renderer.describe(obj.elements))}
        where = obj.device or f"no interface (link {obj.pin})"
        return {"attachment": f"{obj.hook} at {where}", "datapath": obj.datapath}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        """The programs before what they go by, that before the interfaces; backwards where things go."""
        order = (Attachment, ServiceTable, Datapath) if operations[0].verb == DELETE else _UPWARD
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
            if not datapaths():
                remove_empty(FOLDER / LINKS)
                remove_empty(FOLDER, OURS)


_UPWARD = (Datapath, ServiceTable, Attachment)


def _carry_out(operation: Operation, host: Host) -> None:
    before, after = operation.before, operation.after
    if isinstance(after, Datapath):
        _make(after)
    elif isinstance(after, ServiceTable):
        _put(FOLDER / after.datapath, before.elements if before else {}, after.elements)
    elif isinstance(after, Attachment):
        service_hooks.attach(after, host)
    elif isinstance(before, Datapath):
        _remove(FOLDER / before.name)
    elif isinstance(before, Attachment):
        service_hooks.detach(before)


def _put(folder: Path, before: Mapping[str, Mapping[bytes, bytes]], after: Mapping[str, Mapping[bytes, bytes]]) -> None:
    """Change the elements that differ."""
    for name in renderer.MAPS:
        had, has = before.get(name, {}), after[name]
        changed = dict(compress(has.items(), map(ne, map(had.get, has), has.values())))
        if changed:
            with syscall.pinned(str(folder / name)) as handle:
                maps.fill(handle, changed)
    for name in reversed(renderer.MAPS):
        gone = before.get(name, {}).keys() - after[name].keys()
        if gone:
            with syscall.pinned(str(folder / name)) as handle:
                maps.remove(handle, gone)


def _make(made: Datapath) -> None:
    """Load the programs, under another name until they are complete."""
    folder = FOLDER / MAKING
    read = elf.read(OBJECT)
    for old in (folder, FOLDER / made.name):
        _remove(old)
    folder.mkdir(parents=True, mode=0o700)
    held: dict[str, Handle] = {}
    try:
        for name in renderer.MAPS:
            room = read.maps[name].max_entries or made.room
            held[name] = maps.create(NAME + name, read.maps[name]._replace(max_entries=room))
        for name, size in ((TRANSLATIONS, made.flows), (CLIENTS, made.flows), (PIECES, read.maps[PIECES].max_entries)):
            held[name] = _kept(name, read.maps[name]._replace(max_entries=size))
        for hook in PROGRAMS:
            held[hook] = programs.load(NAME + hook, read.programs[hook], held, read.licence)
        for name, handle in held.items():
            syscall.pin(handle, str(folder / name))
    finally:
        for handle in held.values():
            handle.close()
    folder.rename(FOLDER / made.name)


def _kept(name: str, shape: maps.Shape) -> Handle:
    """The map of another datapath, so that what it remembers stays; its elements where it has another size."""
    for folder in datapaths():
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


SERVICE_EBPF = ServiceEbpfFacility()
