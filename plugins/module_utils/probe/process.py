# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Responders as processes: started detached, found again by a record under /run, ended exactly.

A record holds the process id and its start time: see detached.py.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils import detached, stored
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, remove_empty, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.probe import message, namespace, responder

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = RUN / "probes"
COMM = "podnet-probe"  # as shown by ps and in /proc/PID/comm
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Wanted(NamedTuple):
    """A responder that should be there."""

    name: str
    netns: str  # path, name under /run/netns, or - for the node's own
    port: int
    run: str
    lifetime: float  # seconds


class Record(NamedTuple):
    """A responder that was started."""

    name: str
    pid: int
    start: int  # clock ticks since boot, field 22 of /proc/PID/stat
    namespace: str  # identity of its network namespace
    port: int
    digest: str
    expires: float  # seconds since the epoch


_TYPES: stored.Types = {
    **dict.fromkeys(("name", "namespace", "digest"), str),
    **dict.fromkeys(("pid", "start", "port"), int),
    "expires": stored.NUMBER,
}


def present(folder: Path = FOLDER) -> list[Record]:
    """The responders that are alive, by name; records of dead ones are passed over."""
    return [record for record in _records(folder) if _alive(record)]


def ensure(wanted: Sequence[Wanted], check: bool, folder: Path = FOLDER) -> list[str]:
    """Starts what is missing, replaces what differs or is about to end; returns the names of those started."""
    alive: dict[str, Record] = {record.name: record for record in present(folder)}
    started = []
    for want in wanted:
        if not _NAME.fullmatch(want.name):
            raise responder.ResponderError(
                f"responder {want.name!r}: a name has letters, digits, dot, dash, underscore"
            )
        if _good(alive.get(want.name), want):
            continue
        started.append(want.name)
        if not check:
            if want.name in alive:
                _end(alive[want.name])
            _start(want, folder)
    return started


def remove(names: Sequence[str] | None, check: bool, folder: Path = FOLDER) -> list[str]:
    """Ends the responders of these names, all for None, and forgets them; returns the names of those there were."""
    gone = []
    for record in _records(folder):
        if names is not None and record.name not in names:
            continue
        gone.append(record.name)
        if not check:
            _end(record)
            _forget(record.name, folder)
    return gone


def _good(record: Record | None, want: Wanted) -> bool:
    return (
        record is not None
        and record.port == want.port
        and record.digest == message.digest_of(want.run).hex()
        and record.namespace == namespace.identity(want.netns)
        # Half of the time asked for is left: it will last for the probes of this run.
        and record.expires - time.time() >= want.lifetime / 2
    )


def _start(want: Wanted, folder: Path) -> None:
    identity = namespace.identity(want.netns)
    listeners = responder.listen(want.netns, want.port)
    digest = message.digest_of(want.run)

    def recorded() -> bool:
        # A teardown takes the records away; a responder without one could not be found and ended.
        return any(record.pid == os.getpid() for record in _records(folder) if record.name == want.name)

    def life() -> None:
        responder.serve(listeners, want.name, digest, want.lifetime, recorded)
        if recorded():
            _forget(want.name, folder)

    try:
        pid = detached.detach(life, listeners, COMM)
    finally:
        for listener in listeners:
            listener.close()
    start = detached.start_time(pid, COMM)
    if start is None:
        raise responder.ResponderError(f"responder {want.name}: ended at once; is there memory left on the node?")
    record = Record(want.name, pid, start, identity, want.port, digest.hex(), time.time() + want.lifetime)
    write_atomically(_path(want.name, folder), json.dumps(record._asdict()) + "\n", 0o600)


def _path(name: str, folder: Path) -> Path:
    return folder / f"{name}.json"


def read(text: str) -> Record:
    """The responder that a record tells of.

    :raises ValueError: not a record
    """
    return Record(**stored.checked(stored.load(text), _TYPES))


def _records(folder: Path) -> list[Record]:
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read(path.read_text(encoding="utf-8")))
        except FileNotFoundError:  # ended by itself meanwhile
            continue
        except ValueError as error:
            raise responder.ResponderError(
                f"{path}: not a record of a responder ({error}); "
                f"end its process ({COMM} in ps), if there is one, and remove the file"
            ) from error
    return records


def _alive(record: Record) -> bool:
    return detached.start_time(record.pid, COMM) == record.start


def _end(record: Record) -> None:
    detached.end(record.pid, record.start, COMM, f"responder {record.name}")


def _forget(name: str, folder: Path) -> None:
    """Removes the record, and with the last one the folders: nothing stays behind."""
    _path(name, folder).unlink(missing_ok=True)
    remove_empty(folder, folder.parent)
