# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of a datapath of services go by: read, and changed element by element.

What frontends lead to is there before them and goes after them.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import FOLDER
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import INSIDE, MAPS

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

Elements = Mapping[str, Mapping[bytes, bytes]]

Steps = tuple[Mapping[bytes, bytes], Collection[bytes]]
"""What is to be set in a map, and the keys of what is to go."""

_MANY = 1000
"""Elements of a change from which on to read all anew is as good as to look each up."""


class _Changed(NamedTuple):
    """What a run has changed and looked up."""

    host: weakref.ref[Host]
    datapath: str
    elements: Elements


_changed: _Changed | None = None


def read(datapath: str, host: Host) -> Elements:
    """All elements of a datapath.

    Only to the run that has just changed a few, and once, the rest is told as that run has read it before: BPF does
    not tell whether somebody else has written to a map.
    """
    global _changed
    last, _changed = _changed, None
    if last and last.host() is host and last.datapath == datapath:
        return last.elements
    found = {}
    for name in MAPS:
        with syscall.pinned(str(FOLDER / datapath / name)) as handle:
            found[name] = maps.elements(handle)
    return found


def put(datapath: str, before: Elements | None, after: Elements, host: Host) -> None:
    """Change the elements that differ.

    :param before: what has just been read; None where nothing is there yet
    """
    global _changed  # noqa: PLW0603
    steps = {name: _steps((before or {}).get(name, {}), after[name]) for name in MAPS}
    for name, (changed, _gone) in steps.items():
        if changed:
            with syscall.pinned(str(FOLDER / datapath / name)) as handle:
                maps.fill(handle, changed)
    for name, (_there, gone) in reversed(steps.items()):
        if gone:
            with syscall.pinned(str(FOLDER / datapath / name)) as handle:
                maps.remove(handle, gone)
    if before is not None and _took(datapath, steps):
        _changed = _Changed(weakref.ref(host), datapath, after)


def _took(datapath: str, steps: Mapping[str, Steps]) -> bool:
    """Whether what was changed is looked up and as it is to be. A trie tells of a key what it has of a shorter one."""
    if any(steps[INSIDE]) or sum(len(each) for pair in steps.values() for each in pair) > _MANY:
        return False
    for name, (changed, gone) in steps.items():
        with syscall.pinned(str(FOLDER / datapath / name)) as handle:
            size = maps.shape_of(handle).value_size
            wanted = {**changed, **dict.fromkeys(gone)}
            if any(maps.get(handle, key, size) != value for key, value in wanted.items()):
                return False
    return True


def _steps(had: Mapping[bytes, bytes], has: Mapping[bytes, bytes]) -> Steps:
    changed = dict(compress(has.items(), map(ne, map(had.get, has), has.values())))
    new = len(changed.keys() - had.keys())
    return changed, had.keys() - has.keys() if len(had) + new > len(has) else ()
