# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that the programs of a datapath go by: read, changed in place, or exchanged for another.

Another table is made beside the one that stands, filled, and put into its slot: one step for all interfaces. Where it
is as good, the elements that differ are changed one by one (packetfilter/ebpf_change.py). Around both, the generation
is counted up, to an odd number before and to an even one after: flows are judged by a verdict that is remembered only
when it is of this generation, and of an odd one never. So nothing is remembered wrongly when a run is killed, either.
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
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

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import Handle
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

Elements = Mapping[bytes, bytes]

_SLOT = bytes(4)
_COUNT_SIZE = 4
_COUNTS = 1 << 32
_MORE = 1024
"""Elements for which there is room besides twice those that a new table has; what is not used takes no memory."""


class _Changed(NamedTuple):
    """What a run has changed in place and looked up, by the kernel's number of the table and the generation."""

    host: weakref.ref[Host]
    folder: str
    table: int
    generation: int
    elements: Elements


_changed: _Changed | None = None


def read(folder: Path, host: Host) -> tuple[Elements, bool]:
    """All elements of a datapath's table, and whether its last change came to an end.

    Only to the run that has just changed some in place, once and when nobody counted the generation up meanwhile, the
    rest is told as that run has read it before: BPF does not tell whether somebody else has written to a map.
    """
    global _changed
    last, _changed = _changed, None
    with syscall.pinned(str(folder / TABLE)) as outer:
        number = _number(maps.get(outer, _SLOT, 4))
    generation = 0
    if (folder / GENERATION).exists():  # an earlier version has none
        with syscall.pinned(str(folder / GENERATION)) as counter:
            generation = _number(maps.get(counter, _SLOT, _COUNT_SIZE))
    if last and last.host() is host and last[1:4] == (folder.name, number, generation):
        return last.elements, True
    if not number:
        return {}, not generation & 1
    with maps.by_id(number) as inner:
        return maps.elements(inner), not generation & 1


def put(datapath: str, elements: Elements, before: Elements | None, host: Host) -> None:
    """Have the programs of a datapath go by these elements.

    :param before: what has just been read; None when there is no table yet
    """
    folder = FOLDER / datapath
    steps = None if before is None else ebpf_change.steps(before, elements)
    with syscall.pinned(str(folder / TABLE)) as outer, syscall.pinned(str(folder / GENERATION)) as counter:
        if steps is not None and _in_place(folder, outer, counter, steps, elements, host):
            return
        with trie(elements) as inner, _counted(counter):
            maps.put(outer, _SLOT, inner.descriptor.to_bytes(4, "little"))


def trie(elements: Elements) -> Handle:
    """A table that no slot has yet."""
    shape = maps.Shape(
        maps.LPM_TRIE, renderer.KEY.size, renderer.VALUE.size, 2 * len(elements) + _MORE, maps.NO_PREALLOC
    )
    made = maps.create(NAME + "rules", shape)
    try:
        maps.fill(made, elements)
    except BaseException:
        made.close()
        raise
    return made


def _in_place(
    folder: Path, outer: Handle, counter: Handle, steps: ebpf_change.Steps, elements: Elements, host: Host
) -> bool:
    """Change elements one by one; False when it takes another table, as there is no room left in this one."""
    global _changed  # noqa: PLW0603
    number = _number(maps.get(outer, _SLOT, 4))
    if not number:
        return False
    with maps.by_id(number) as inner:
        try:
            with _counted(counter) as generation:
                for key, value in steps.puts:
                    maps.put(inner, key, value)
                if steps.puts and steps.removals:
                    # The kernel waits for programs that have begun: none has passed by what is new there, and comes to
                    # where something was.
                    maps.put(outer, _SLOT, inner.descriptor.to_bytes(4, "little"))
                for key in steps.removals:
                    maps.delete(inner, key)
        except BpfError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOENT):
                raise
            return False
        keys = [*(key for key, _value in steps.puts), *steps.removals]
        if all(maps.get(inner, key, renderer.VALUE.size) == ebpf_change.looked_up(elements, key) for key in keys):
            _changed = _Changed(weakref.ref(host), folder.name, number, generation, elements)
    return True


@contextmanager
def _counted(counter: Handle) -> Iterator[int]:
    """Around a change; gives the generation after it. A change that fails leaves an odd one."""
    odd = _number(maps.get(counter, _SLOT, _COUNT_SIZE)) | 1
    even = (odd + 1) % _COUNTS
    maps.put(counter, _SLOT, odd.to_bytes(_COUNT_SIZE, "little"))
    yield even
    maps.put(counter, _SLOT, even.to_bytes(_COUNT_SIZE, "little"))


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")
