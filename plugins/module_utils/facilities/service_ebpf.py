# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of services, their maps and the links to interfaces, changed so that connections go on.

Elements are changed one by one in maps that stay (service_tables.py). Only other programs, or maps that have become too
small, make another datapath, which takes over what packets have written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf, maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    ebpf_datapaths,
    ebpf_sealed,
    service_hooks,
    service_sockets,
    service_tables,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import Attachment
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    LINKS,
    MAKING,
    NAME,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_datapaths import (
    Datapath,
    Objects,
    Passage,
    ServiceTable,
    observe,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import (
    CLIENTS,
    FOLDER,
    PASSING,
    PAST,
    PIECES,
    PROGRAMS,
    TRANSLATIONS,
    datapaths,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_sockets import SOCKETS, SocketHook
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_bypass
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_ebpf as renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Target

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def part(desired: Objects, host: Host) -> Target:
    """All that is ours there."""
    conflicts = ebpf_datapaths.unmounted(FOLDER, desired)
    if desired and not programs.has_tcx():
        conflicts.append("ebpf: this kernel has no tcx, services by eBPF take Linux 6.6; set backend: nftables")
    return Target({SERVICE_EBPF.name: observe(host)}, {SERVICE_EBPF.name: desired}, conflicts)


class ServiceEbpfFacility(ebpf_datapaths.DatapathFacility):
    """Datapaths, tables and attachments of services."""

    name = "service_ebpf"
    folder = FOLDER
    datapath = Datapath
    table = ServiceTable
    attachments = (Attachment, SocketHook)
    last = (Passage,)

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, Datapath):
            told = {"datapath": f"datapath {obj.name}", "flows": obj.flows, "room": obj.room}
            return {**told, "bypass": True} if obj.bypass else told
        if isinstance(obj, Passage):
            return {"passage": f"past the host by {obj.datapath}", "elements": "; ".join(obj.lines)}
        if isinstance(obj, ServiceTable):
            return {"table": f"table of {obj.datapath}", "elements": "; ".join(renderer.describe(obj.elements))}
        if isinstance(obj, SocketHook):
            return {"sockets": f"{obj.hook} of the node's own sockets", "datapath": obj.datapath}
        where = obj.device or f"no interface (link {obj.pin})"
        return {"attachment": f"{obj.hook} at {where}", "datapath": obj.datapath}

    def carry_out(self, operation: Operation, host: Host) -> None:
        before, after = operation.before, operation.after
        if isinstance(after, Datapath):
            _make(after)
        elif isinstance(after, ServiceTable):
            service_tables.put(after.datapath, before and before.elements, after.elements)
        elif isinstance(after, Passage):
            _let_pass(after, before and before.elements)
        elif isinstance(after, Attachment):
            service_hooks.attach(after, host)
        elif isinstance(after, SocketHook):
            service_sockets.attach(after)
        elif isinstance(before, Datapath):
            ebpf_datapaths.remove(FOLDER / before.name)
        elif isinstance(before, Passage):
            _let_pass(Passage(before.datapath, {name: {} for name in service_bypass.MAPS}, ()), before.elements)
        elif isinstance(before, Attachment):
            service_hooks.detach(before, host)
        elif isinstance(before, SocketHook):
            service_sockets.detach(before)

    def clear_away(self, host: Host) -> None:
        ebpf_datapaths.remove(FOLDER / MAKING)
        remove_empty(SOCKETS)
        if not datapaths():
            ebpf_sealed.forget(FOLDER)
            remove_empty(FOLDER / LINKS)
            remove_empty(FOLDER)


def _make(made: Datapath) -> None:
    """Load the programs."""
    read = elf.read(OBJECT)
    with ebpf_datapaths.being_made(FOLDER, made.name) as held:
        for name in renderer.MAPS:
            room = read.maps[name].max_entries or made.room
            held[name] = maps.create(NAME + name, read.maps[name]._replace(max_entries=room))
        for name, size in ((TRANSLATIONS, made.flows), (CLIENTS, made.flows), (PIECES, read.maps[PIECES].max_entries)):
            held[name] = ebpf_datapaths.kept(name, read.maps[name]._replace(max_entries=size), datapaths())
        held[ebpf_sealed.CHANGES] = ebpf_sealed.counter(read.maps)
        if made.bypass:
            for name in service_bypass.MAPS:
                held[name] = maps.create(NAME + name, read.maps[name])
            held[PAST] = ebpf_datapaths.kept(PAST, read.maps[PAST]._replace(max_entries=made.flows), datapaths())
        for name in (*PROGRAMS, ebpf_sealed.WRITES, *(PASSING if made.bypass else ())):
            held[name] = programs.load(NAME + name, read.programs[name], held, read.licence)


def _let_pass(wanted: Passage, before: service_bypass.Elements | None) -> None:
    """Where addresses are before the ways there: without a bridge among them nothing passes."""
    for name in service_bypass.MAPS if before is None else reversed(service_bypass.MAPS):
        elements = wanted.elements[name]
        with syscall.pinned(str(FOLDER / wanted.datapath / name)) as handle:
            had = (before or {}).get(name, {})
            maps.remove(handle, had.keys() - elements.keys())
            for key, value in elements.items():
                maps.put(handle, key, value)


SERVICE_EBPF = ServiceEbpfFacility()
