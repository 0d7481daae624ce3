# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of a datapath of services go by: read, and changed element by element.

What frontends lead to is there before them and goes after them. Maps are filled as they are made, frozen, and changed
by the program of the datapath from then on (ebpf_sealed.py).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import columns, maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import FOLDER
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import INSIDE, MAPS, NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import Handle
    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import Elements

_MANY = 1000
"""Elements of a change from which on to read all anew is as good as to look each up."""


def read(datapath: str) -> Elements:
    """All elements of a datapath."""
    folder = FOLDER / datapath
    with ExitStack() as opened:
        tables = _open(datapath, opened)
        known = ebpf_sealed.known(folder, ebpf_sealed.at(folder, tables.values()))
        return {name: maps.columns(handle) for name, handle in tables.items()} if known is None else known


def put(datapath: str, before: Elements | None, after: Elements) -> None:
    """Change the elements that differ.

    :param before: what has just been read; None where nothing is there yet
    """
    folder = FOLDER / datapath
    steps = {name: columns.difference((before or NOTHING)[name], after[name]) for name in MAPS}
    with ExitStack() as opened:
        tables = _open(datapath, opened)
        sealed = {name: maps.is_frozen(handle) for name, handle in tables.items()}
        for name in MAPS:
            if not sealed[name]:
                maps.fill(tables[name], after[name])
        for name in reversed(MAPS):
            if not sealed[name]:
                maps.remove(tables[name], steps[name].removals)
                maps.freeze(tables[name])
        ebpf_sealed.write(folder, _changes({name: steps[name] for name in MAPS if sealed[name]}))
        if _took(tables, steps):
            ebpf_sealed.note(folder, {name: (handle, after[name]) for name, handle in tables.items()})
        else:
            ebpf_sealed.forget(FOLDER)


def put_some(datapath: str, steps: Mapping[str, columns.Difference]) -> bool:
    """Change elements of maps that have others beside them, which stay; whether that is what is there now.

    :raises OSError: refused
    """
    with ExitStack() as opened:
        tables = _open(datapath, opened)
        if not all(map(maps.is_frozen, tables.values())):
            return False
        ebpf_sealed.write(FOLDER / datapath, _changes(steps))
        return _took(tables, steps)


def _changes(steps: Mapping[str, columns.Difference]) -> list[bytes]:
    """What a frontend leads to comes before it, and goes after it."""
    numbers = [(number, name) for number, name in enumerate(MAPS) if name in steps]
    found = [each for number, name in numbers for each in ebpf_sealed.puts(steps[name].puts.items(), number)]
    return found + [
        each for number, name in reversed(numbers) for each in ebpf_sealed.removals(steps[name].removals, number)
    ]


def _open(datapath: str, opened: ExitStack) -> dict[str, Handle]:
    return {name: opened.enter_context(syscall.pinned(str(FOLDER / datapath / name))) for name in MAPS}


def _took(tables: Mapping[str, Handle], steps: Mapping[str, columns.Difference]) -> bool:
    """Whether what was changed is looked up and as it is to be. A trie tells of a key what it has of a shorter one."""
    if any(steps[INSIDE]) or sum(len(each) for pair in steps.values() for each in pair) > _MANY:
        return False
    for name, (changed, gone) in steps.items():
        size = maps.shape_of(tables[name]).value_size
        wanted = {**changed, **dict.fromkeys(gone)}
        if any(maps.get(tables[name], key, size) != value for key, value in wanted.items()):
            return False
    return True
