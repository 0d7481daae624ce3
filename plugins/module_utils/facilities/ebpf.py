# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs, their maps and the links to interfaces, changed so that no packet meets a half of anything.

What the programs go by is changed as ebpf_tables.py says. Another program takes the place of the one at a hook between
two packets. Flows that are remembered move along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf, maps, programs
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    ebpf_datapaths,
    ebpf_hooks,
    ebpf_sealed,
    ebpf_tables,
)
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
    COUNTS,
    DENIALS,
    FLOWS,
    FOLDER,
    FRAGMENTS,
    GENERATION,
    LINKS,
    MAKING,
    NAME,
    TABLE,
    datapaths,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf as renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_objects import Object
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def wanted(elements: Columns, ports: Iterable[str], flows: int, fragments: int, host: Host) -> Objects:
    """The objects that put a table before interfaces."""
    made = datapath(OBJECT, flows, fragments)
    found: list[Object] = [made, PolicyTable(made.name, elements)]
    found += ebpf_hooks.wishes(((device, hook) for device in ports for hook in HOOKS), made.name, host)
    return {key_of(obj): obj for obj in found}


def part(desired: Objects, host: Host) -> Target:
    """All that is ours there."""
    return Target({EBPF.name: observe(host)}, {EBPF.name: desired}, ebpf_datapaths.unmounted(FOLDER, desired))


class EbpfFacility(ebpf_datapaths.DatapathFacility):
    """Datapaths, tables and attachments."""

    name = "ebpf"
    folder = FOLDER
    datapath = Datapath
    table = PolicyTable

    def describe(self, obj: Any) -> dict[str, Any]:
        if isinstance(obj, Datapath):
            return {"datapath": f"datapath {obj.name}", "flows": obj.flows, "fragments": obj.fragments}
        if isinstance(obj, PolicyTable):
            told = {"table": f"table of {obj.datapath}", "elements": "; ".join(renderer.describe(obj.elements))}
            return told if obj.settled else {**told, "unfinished": True}
        where = obj.device or f"no interface (link {obj.pin})"
        return {"attachment": f"{obj.hook} at {where}", "datapath": obj.datapath, "by": "tcx" if obj.pin else "clsact"}

    def carry_out(self, operation: Operation, host: Host) -> None:
        before, after = operation.before, operation.after
        if isinstance(after, Datapath):
            _make(after)
        elif isinstance(after, PolicyTable):
            ebpf_tables.put(after.datapath, after.elements, before and before.elements)
        elif isinstance(after, Attachment):
            ebpf_hooks.attach(after, host)
        elif isinstance(before, Datapath):
            ebpf_datapaths.remove(FOLDER / before.name)
        elif isinstance(before, Attachment):
            ebpf_hooks.detach(before, host)

    def clear_away(self, host: Host) -> None:
        ebpf_datapaths.remove(FOLDER / MAKING)
        if not datapaths():
            ebpf_sealed.forget(FOLDER)
            remove_empty(FOLDER / LINKS)
            remove_empty(FOLDER)


def _make(made: Datapath) -> None:
    """Load the programs."""
    read = elf.read(OBJECT)
    with ebpf_datapaths.being_made(FOLDER, made.name) as held:
        with ebpf_tables.trie(renderer.NOTHING) as inner:
            held[TABLE] = maps.create(NAME + TABLE, read.maps[TABLE], inner)
        for name, size in ((FLOWS, made.flows), (FRAGMENTS, made.fragments)):
            held[name] = ebpf_datapaths.kept(name, read.maps[name]._replace(max_entries=size), datapaths())
        for name in (COUNTS, DENIALS, GENERATION):
            held[name] = ebpf_datapaths.kept(name, read.maps[name], datapaths())
        held[ebpf_sealed.CHANGES] = ebpf_sealed.counter(read.maps)
        for name in (*HOOKS, ebpf_sealed.WRITES):
            held[name] = programs.load(NAME + name, read.programs[name], held, read.licence)


EBPF = EbpfFacility()
