# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How datapaths of eBPF come, change and go, whatever their programs are for: those of policies and of services.

A datapath is a folder of pins, which is filled under another name until it is complete. What its maps remember moves
along to the next one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError, Handle
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_filters
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import Attachment, forget_loose
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    BPFFS,
    FOLDERS,
    MAKING,
    NAME,
    OURS,
    entries,
    is_bpffs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def unmounted(folder: Path, desired: Mapping[Any, Any]) -> list[str]:
    """What keeps anything from being pinned below a folder."""
    if not desired or any(folder.glob("*/*")) or is_bpffs():
        return []
    return [f"ebpf: there is no BPF file system on {BPFFS}; mount it: mount -t bpf bpf {BPFFS}"]


class DatapathFacility:
    """Programs with their maps, what they go by, and the interfaces that they are at."""

    name: str
    folder: Path
    deletes_first = False
    datapath: type[Any]
    table: type[Any]
    attachments: tuple[type[Any], ...] = (Attachment,)
    last: tuple[type[Any], ...] = ()
    """What is put into a datapath after it is before all interfaces."""

    def parents(self, obj: Any) -> Sequence[Reference]:
        within = isinstance(obj, (self.table, *self.last))
        return ((self.name, ("datapath", obj.datapath)),) if within else ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        """The programs before what they go by, that before the interfaces; backwards where things go."""
        upward = (self.datapath, self.table, *self.attachments, *self.last)
        going = operations[0].verb == DELETE
        failures = []
        for sort in reversed(upward) if going else upward:
            for operation in reversed(operations) if going else operations:
                obj = operation.after or operation.before
                if not isinstance(obj, sort):
                    continue
                try:
                    self.carry_out(operation, host)
                except (BpfError, OSError) as error:
                    failures.append(f"{self.name}: {operation.verb} {line(self, obj)[:200]}: {error}")
            if failures:
                # What comes next stands on this.
                raise ApplyError(failures)
        forget_loose(self.folder)
        if going:
            self.clear_away(host)
        # Those of the last of all kinds are left to others.
        ebpf_filters.forget_gone(host, everything=not any(each.is_dir() for each in FOLDERS))
        remove_empty(OURS)

    def describe(self, obj: Any) -> dict[str, Any]:
        """One object in words."""
        raise NotImplementedError

    def carry_out(self, operation: Operation, host: Host) -> None:
        """One operation."""
        raise NotImplementedError

    def clear_away(self, host: Host) -> None:
        """What is left of what has gone."""
        raise NotImplementedError


@contextmanager
def being_made(folder: Path, name: str) -> Iterator[dict[str, Handle]]:
    """Below a folder, a datapath that is there as a whole or not at all: what is put in is pinned by its name."""
    making = folder / MAKING
    for old in (making, folder / name):
        remove(old)
    making.mkdir(parents=True, mode=0o700)
    held: dict[str, Handle] = {}
    try:
        yield held
        for pin, handle in held.items():
            syscall.pin(handle, str(making / pin))
    finally:
        for handle in held.values():
            handle.close()
    making.rename(folder / name)


def kept(name: str, shape: maps.Shape, datapaths: Iterable[Path]) -> Handle:
    """The map of another datapath, so that what it remembers stays; its elements where it has another size."""
    for folder in datapaths:
        if not (folder / name).exists():
            continue  # of an earlier version
        other = syscall.pinned(str(folder / name))
        had = maps.shape_of(other)
        if had == shape:
            return other
        with other:
            if had._replace(max_entries=shape.max_entries) == shape:
                fresh = maps.create(NAME + name, shape)
                maps.fill(fresh, maps.columns(other))
                return fresh
    return maps.create(NAME + name, shape)


def remove(folder: Path) -> None:
    """A folder of pins, where there is one."""
    for pin in entries(folder):
        pin.unlink()
    remove_empty(folder)
