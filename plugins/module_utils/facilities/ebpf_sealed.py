# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs go by, where nobody changes it unnoticed: read without reading it, changed by a program.

BPF does not tell whether somebody has written to a map. So the maps are frozen once they are filled: no process can
write to them any more. What changes them is a program of the datapath (ebpf/writing.h), which counts its lists of
changes in a map that is frozen as well. A run that has changed them notes down what stands, and at what count; the next
one finds the count as it was left, and knows. At any other count it reads the maps.

The note is in /run, and is of one start of the machine: the kernel gives no number to two maps. One that cannot be read
is none.
"""

from __future__ import annotations

import errno
import json
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, boot_id, write_bytes_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import Handle

WRITES, CHANGES = "writes", "changes"
"""The program, and where it counts."""
REMOVE, PUT = 0, 1

# struct change of ebpf/writing.h, how many there are in a list, and what is before it.
CHANGE = struct.Struct("=II32s24s")
MOST = 54
HEADER = bytes(16)
_COUNT = 8

At = list[Any]
"""The start of the machine, the numbers of maps, and the count."""

Noted = tuple[At, Mapping[str, Columns]]

_noted: dict[Path, Noted] = {}
"""What this process has read or written."""


def at(folder: Path, tables: Iterable[Handle]) -> At | None:
    """Where the maps of a datapath are by now; None where nobody counts, or the start of the machine is not told.

    :param folder: that of the datapath
    """
    if not (folder / CHANGES).exists():  # of an earlier version, or damaged
        return None
    try:
        boot = boot_id()
    except OSError:
        return None
    with syscall.pinned(str(folder / CHANGES)) as counter:
        count = int.from_bytes(maps.get(counter, bytes(4), _COUNT) or b"", "little")
        numbers = [maps.id_of(each) for each in (counter, *tables)]
    return [boot, *numbers, count]


def known(folder: Path, now: At | None) -> Mapping[str, Columns] | None:
    """The elements by map, where nothing has changed since they were noted down."""
    if now is None:
        return None
    path = _path(folder.parent)
    if path not in _noted or _noted[path][0] != now:
        with suppress(OSError, ValueError, KeyError, TypeError):
            _noted[path] = _read(path)
    then, elements = _noted.get(path, (None, {}))
    return elements if then == now else None


def unlearn() -> None:
    """Know no more than a process that begins, for who measures that."""
    _noted.clear()


def note(folder: Path, stands: Mapping[str, tuple[Handle, Columns]]) -> None:
    """Note down what stands in which map, as long as nobody but the program can change it."""
    path = _path(folder.parent)
    handles = [handle for handle, _elements in stands.values()]
    now = at(folder, handles)
    # Nothing thaws a map that was noted down.
    same = now is not None and path in _noted and _noted[path][0][:-1] == now[:-1]
    if now is None or not (same or all(map(maps.is_frozen, handles))):
        forget(folder.parent)
        return
    elements = {name: each for name, (_handle, each) in stands.items()}
    told = [[name, len(each), each.key_size, each.value_size] for name, each in elements.items()]
    rows = (row for each in elements.values() for row in (each.keys_row, each.values_row))
    # The next run reads what this one could not note down.
    with suppress(OSError):
        content = (json.dumps([now, told]).encode(), b"\n", *rows)
        write_bytes_atomically(path, content, 0o600, lasting=False)
        _noted[path] = (now, elements)


def forget(sort: Path) -> None:
    """What was noted down stands no more.

    :param sort: the folder of datapaths of a sort
    """
    _noted.pop(_path(sort), None)
    with suppress(OSError):
        _path(sort).unlink()


def counter(shapes: Mapping[str, maps.Shape]) -> Handle:
    """Where the program counts, to be made with it."""
    made = maps.create(NAME + CHANGES, shapes[CHANGES])
    maps.freeze(made)
    return made


def write(folder: Path, changes: Sequence[bytes]) -> None:
    """Have the program of a datapath carry out changes, in their order; the first that cannot be is an error."""
    with syscall.pinned(str(folder / WRITES)) as program:
        for first in range(0, len(changes), MOST):
            some = HEADER + b"".join(changes[first : first + MOST])
            failed = programs.run(program, some)
            for _again in range(maps.PATIENCE):
                if failed != errno.ENOMEM:
                    break
                # Only what is put takes memory, and may be put once more; what goes comes behind it.
                time.sleep(maps.PAUSE)
                failed = programs.run(program, some)
            if failed:
                raise BpfError(failed, "change the elements of a map")


def puts(elements: Iterable[tuple[bytes, bytes]], number: int = 0) -> list[bytes]:
    """Changes that set elements of the map with a number."""
    return [CHANGE.pack(number, PUT, key, value) for key, value in elements]


def removals(keys: Iterable[bytes], number: int = 0) -> list[bytes]:
    """Changes that remove elements."""
    return [CHANGE.pack(number, REMOVE, key, b"") for key in keys]


def _read(path: Path) -> Noted:
    """:raises ValueError: it is none of ours."""
    with path.open("rb") as handle:
        then, told = json.loads(handle.readline())
        found = {}
        for name, count, *sizes in told:
            keys, values = (handle.read(count * size) for size in sizes)
            if (len(keys), len(values)) != tuple(count * size for size in sizes):
                raise ValueError(f"{path} is cut off")
            found[name] = Columns(keys, values, *sizes)
    return then, found


def _path(sort: Path) -> Path:
    """A note for each sort of datapath: of policies, of services."""
    return RUN / f"ebpf-{sort.name}-seen"
