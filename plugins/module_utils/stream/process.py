# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of streams: started detached, found again by a record under /run, asked for their counts, ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils import detached, stored
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, remove_empty, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace, responder
from ansible_collections.podnet.fabric.plugins.module_utils.stream import flow, sender
from ansible_collections.podnet.fabric.plugins.module_utils.stream.orders import COUNT, Orders
from ansible_collections.podnet.fabric.plugins.module_utils.stream.receiver import Receiver

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

Life = Callable[[], None]

FOLDER = RUN / "streams"
COMM = "podnet-stream"  # as shown by ps and in /proc/PID/comm
# Receivers stay that much longer, so that senders out of time can take leave.
LINGER = 15.0
_GREETING = 10.0  # seconds for the first answer
_ANSWER = 5.0  # seconds for counts
_LEAVE = 8.0  # seconds for a farewell
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Wanted(NamedTuple):
    """A process that should be there."""

    role: str  # sender or receiver
    name: str
    netns: str
    targets: tuple[tuple[str, str], ...]  # name and address of each; of a sender
    port: int
    run: str
    lifetime: float  # seconds
    rate: float  # numbers per second
    size: int  # bytes of a datagram
    tcp_rate: float  # Mbit/s; 0: no transfer


class Record(NamedTuple):
    """A process that was started."""

    role: str
    name: str
    pid: int
    start: int  # clock ticks since boot
    settings: str  # digest


_TYPES: stored.Types = {"role": str, "name": str, "pid": int, "start": int, "settings": str}


class Told(NamedTuple):
    """What processes said."""

    names: list[str]
    flows: list[dict[str, Any]]
    failures: list[str]


def start(wanted: Sequence[Wanted], check: bool, folder: Path = FOLDER) -> list[str]:
    """Starts what is missing; returns the names of those started. One that runs with other settings is an error."""
    missing = []
    for want in wanted:
        if not _NAME.fullmatch(want.name):
            raise flow.StreamError(
                f"{want.role} {want.name!r}: a name has letters, digits, dot, dash, underscore; at most 63"
            )
        record = _read(_path(want.role, want.name, folder))
        if record is None or not _alive(record):
            missing.append(want)
        elif record.settings != _settings(want):
            raise flow.StreamError(
                f"{want.role} {want.name}: runs with other settings (process {record.pid}); collect what it has "
                "counted with state=stopped first"
            )
    if not check:
        for want in missing:
            _forget(want.role, want.name, folder)
            _start(want, folder)
    return [want.name for want in missing]


def count(role: str, names: Sequence[str] | None, folder: Path = FOLDER) -> Told:
    """What the processes of these names, all for None, have counted so far."""
    records, failures = _of(role, names, folder)
    flows = []
    for record in records:
        counts = _counts(record.role, record.name, folder)
        if _alive(record):
            counts.unlink(missing_ok=True)
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, COUNT)
            limit = time.monotonic() + _ANSWER
            while not counts.exists() and _alive(record) and time.monotonic() < limit:
                time.sleep(0.005)
        found, failure = _collected(record, counts)
        flows += found
        failures += failure
    return Told([record.name for record in records], flows, failures)


def stop(role: str, names: Sequence[str] | None, folder: Path = FOLDER) -> Told:
    """Ends the processes of these names, all for None, forgets them and returns what they have counted."""
    records, failures = _of(role, names, folder)
    flows = []
    for record in records:
        if _alive(record):
            # What it said when it was asked is not what it says at its end.
            _counts(record.role, record.name, folder).unlink(missing_ok=True)
            detached.end(record.pid, record.start, COMM, f"{record.role} {record.name}", _LEAVE)
        found, failure = _collected(record, _counts(record.role, record.name, folder))
        flows += found
        failures += failure
    for record in records:
        _forget(record.role, record.name, folder)
    return Told([record.name for record in records], flows, failures)


def _start(want: Wanted, folder: Path) -> None:
    orders = Orders(_path(want.role, want.name, folder), _counts(want.role, want.name, folder))
    with contextlib.ExitStack() as ours:
        sockets, life = (_receiving if want.role == "receiver" else _sending)(want, orders, ours)
        pid = detached.detach(life, sockets, COMM, orders.handlers())
    began = detached.start_time(pid, COMM)
    if began is None:
        raise flow.StreamError(f"{want.role} {want.name}: ended at once; is there memory left on the node?")
    record = Record(want.role, want.name, pid, began, _settings(want))
    write_atomically(_path(want.role, want.name, folder), json.dumps(record._asdict()) + "\n", 0o600)


def _receiving(want: Wanted, orders: Orders, ours: contextlib.ExitStack) -> tuple[list[socket.socket], Life]:
    listeners = [ours.enter_context(one) for one in responder.listen(want.netns, want.port)]
    receiver = Receiver(listeners, want.run)

    def life() -> None:
        orders.begin(want.lifetime + LINGER)
        receiver.serve(orders)
        orders.answer(receiver.result())

    return listeners, life


def _sending(want: Wanted, orders: Orders, ours: contextlib.ExitStack) -> tuple[list[socket.socket], Life]:
    ways = [flow.Way(want.netns, want.name, *target, want.port, want.run) for target in want.targets]
    numbers = [flow.Numbers(way, want.rate, want.size) for way in ways if want.rate]
    transfers = [flow.Bytes(way, want.tcp_rate) for way in ways if want.tcp_rate]
    flows: list[flow.Numbers | flow.Bytes] = [*numbers, *transfers]
    for one in flows:
        ours.callback(one.close)
    for one in flows:
        one.greet(_GREETING)

    def life() -> None:
        orders.begin(want.lifetime)
        sender.send(numbers, transfers, want.rate or 1.0, orders)
        orders.answer(sender.results(numbers, transfers))

    return [one.socket for one in flows], life


def _settings(want: Wanted) -> str:
    said = json.dumps([*want, namespace.identity(want.netns)], default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _collected(record: Record, counts: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The flows out of the file of counts, or why there are none."""
    try:
        flows: list[dict[str, Any]] = json.loads(counts.read_text(encoding="utf-8"))
    except FileNotFoundError:
        why = "does not answer" if _alive(record) else "is gone: it was killed, or the machine ran out of memory"
        return [], [f"{record.role} {record.name}: process {record.pid} left no counts, it {why}; see dmesg"]
    except (ValueError, RecursionError) as error:
        return [], [f"{counts}: no counts of {record.role} {record.name} ({error}); run it again"]
    return flows, []


def _of(role: str, names: Sequence[str] | None, folder: Path) -> tuple[list[Record], list[str]]:
    """The records of these names, and a line for each name without one."""
    records = [record for path in sorted(folder.glob(f"{role}-*.json")) for record in [_read(path)] if record]
    if names is None:
        return records, []
    known = {record.name for record in records}
    failures = [
        f"{role} {name}: was never started here, or its counts were collected before"
        for name in names
        if name not in known
    ]
    return [record for record in records if record.name in names], failures


def read(text: str) -> Record:
    """The process that a record tells of.

    :raises ValueError: not a record
    """
    return Record(**stored.checked(stored.load(text), _TYPES))


def _read(path: Path) -> Record | None:
    try:
        return read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise flow.StreamError(
            f"{path}: not a record of a stream ({error}); end its process ({COMM} in ps), if there is one, and "
            "remove the file"
        ) from error


def _alive(record: Record) -> bool:
    return detached.start_time(record.pid, COMM) == record.start


def _path(role: str, name: str, folder: Path) -> Path:
    return folder / f"{role}-{name}.json"


def _counts(role: str, name: str, folder: Path) -> Path:
    return folder / f"{role}-{name}.counts"


def _forget(role: str, name: str, folder: Path) -> None:
    """Removes the record, and with the last one the folders: nothing stays behind."""
    _path(role, name, folder).unlink(missing_ok=True)
    _counts(role, name, folder).unlink(missing_ok=True)
    remove_empty(folder, folder.parent)
