# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that the programs of a datapath go by: read, changed in place, or exchanged for another.

Another table is made beside the one that stands, filled, frozen (ebpf_sealed.py), and put into its slot: one step for
all interfaces. Where it is as good, the elements that differ are changed one by one (packetfilter/ebpf_change.py).
Around both, the generation is counted up, to an odd number before and to an even one after: flows are judged by a
verdict that is remembered only when it is of this generation, and of an odd one never. So nothing is remembered wrongly
when a run is killed, either.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    FOLDER,
    GENERATION,
    NAME,
    TABLE,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf as renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf_change

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import Handle

_SLOT = bytes(4)
_COUNT_SIZE = 4
_COUNTS = 1 << 32
_MORE = 1024
"""Elements for which there is room besides twice those that a new table has; what is not used takes no memory."""


def read(folder: Path) -> tuple[Columns, bool]:
    """All elements of a datapath's table, and whether its last change came to an end."""
    with syscall.pinned(str(folder / TABLE)) as outer:
        number = _number(maps.get(outer, _SLOT, 4))
    generation = 0
    if (folder / GENERATION).exists():  # an earlier version has none
        with syscall.pinned(str(folder / GENERATION)) as counter:
            generation = _number(maps.get(counter, _SLOT, _COUNT_SIZE))
    if not number:
        return renderer.NOTHING, not generation & 1
    with maps.by_id(number) as inner:
        known = ebpf_sealed.known(folder, ebpf_sealed.at(folder, [inner]))
        return maps.columns(inner) if known is None else known[TABLE], not generation & 1


def put(datapath: str, elements: Columns, before: Columns | None) -> None:
    """Have the programs of a datapath go by these elements.

    :param before: what has just been read; None when there is no table yet
    """
    folder = FOLDER / datapath
    steps = None if before is None else ebpf_change.steps(before, elements)
    with syscall.pinned(str(folder / TABLE)) as outer, syscall.pinned(str(folder / GENERATION)) as counter:
        if steps is not None and _in_place(folder, outer, counter, steps, elements):
            return
        with trie(elements) as inner:
            with _counted(counter):
                maps.put(outer, _SLOT, inner.descriptor.to_bytes(4, "little"))
            ebpf_sealed.note(folder, {TABLE: (inner, elements)})


def trie(elements: Columns) -> Handle:
    """A table that no slot has yet."""
    shape = maps.Shape(
        maps.LPM_TRIE, renderer.KEY.size, renderer.VALUE.size, 2 * len(elements) + _MORE, maps.NO_PREALLOC
    )
    made = maps.create(NAME + "rules", shape)
    try:
        maps.fill(made, elements)
        maps.freeze(made)
    except BaseException:
        made.close()
        raise
    return made


def _in_place(folder: Path, outer: Handle, counter: Handle, steps: ebpf_change.Steps, elements: Columns) -> bool:
    """Change elements one by one; False when it takes another table, as there is no room left in this one."""
    number = _number(maps.get(outer, _SLOT, 4))
    if not number:
        return False
    with maps.by_id(number) as inner:
        try:
            with _counted(counter):
                ebpf_sealed.write(folder, ebpf_sealed.puts(steps.puts))
                if steps.puts and steps.removals:
                    # The kernel waits for programs that have begun: none has passed by what is new there, and comes to
                    # where something was.
                    maps.put(outer, _SLOT, inner.descriptor.to_bytes(4, "little"))
                ebpf_sealed.write(folder, ebpf_sealed.removals(steps.removals))
        except BpfError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOENT):
                raise
            return False
        expected = {**dict(steps.puts), **{key: ebpf_change.looked_up(elements, key) for key in steps.removals}}
        if all(maps.get(inner, key, renderer.VALUE.size) == value for key, value in expected.items()):
            ebpf_sealed.note(folder, {TABLE: (inner, elements)})
        else:
            ebpf_sealed.forget(FOLDER)
    return True


@contextmanager
def _counted(counter: Handle) -> Iterator[None]:
    """Around a change. One that fails leaves an odd generation."""
    odd = _number(maps.get(counter, _SLOT, _COUNT_SIZE)) | 1
    maps.put(counter, _SLOT, odd.to_bytes(_COUNT_SIZE, "little"))
    yield
    maps.put(counter, _SLOT, ((odd + 1) % _COUNTS).to_bytes(_COUNT_SIZE, "little"))


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")
