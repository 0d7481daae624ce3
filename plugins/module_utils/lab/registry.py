# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes this machine holds: one small file for each, read by the module and by the connection plugin.

A process number alone does not name a process for long, so its start time and the machine's boot stand beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import Iterator, NamedTuple, Optional

RUN_DIR = "/run/podnet-lab"
# Where `ip netns` and `ip link set ... netns NAME` look (ip-netns(8)).
NETNS_DIR = "/run/netns"
SUFFIX = ".json"


class Record(NamedTuple):
    """A node: ``pid`` is its process 1 as the machine numbers it, ``ready`` says that it was made to the end."""

    name: str
    pid: int
    started: int
    boot: str
    ready: bool


def boot_id() -> str:
    """Name this boot of the machine (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_time(pid: int) -> Optional[int]:
    """Give the start of a living process in clock ticks since boot; None for one that is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The second field is a name in brackets and may hold anything (proc_pid_stat(5)).
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]) if fields[0] not in ("Z", "X") else None


def is_alive(record: Record) -> bool:
    """Say whether the very process that was recorded still runs."""
    return record.boot == boot_id() and start_time(record.pid) == record.started


def read(run_dir: str, name: str) -> Optional[Record]:
    """Read the record of a node; None when there is none. A torn or foreign file counts as a node never made ready."""
    try:
        with open(os.path.join(run_dir, name + SUFFIX), encoding="utf-8") as file:
            return Record(name=name, **json.load(file))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Record(name, 0, 0, "", False)


def write(run_dir: str, record: Record) -> None:
    """Put a record down in one step."""
    path = os.path.join(run_dir, record.name + SUFFIX)
    fields = {key: value for key, value in record._asdict().items() if key != "name"}
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(fields, file)
    os.replace(path + ".new", path)


def forget(run_dir: str, name: str) -> None:
    """Remove the record of a node."""
    for suffix in (SUFFIX + ".new", SUFFIX):
        try:
            os.unlink(os.path.join(run_dir, name + suffix))
        except FileNotFoundError:
            continue


def names(run_dir: str) -> list[str]:
    """List the nodes that have a record."""
    try:
        return sorted(entry[: -len(SUFFIX)] for entry in os.listdir(run_dir) if entry.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def netns_target(record: Record) -> str:
    """Give what the node's link in NETNS_DIR points at: a link and no mount, so it pins nothing."""
    return f"/proc/{record.pid}/ns/net"


def publish(record: Record) -> None:
    """Let iproute2 know the node's network by its name."""
    os.makedirs(NETNS_DIR, exist_ok=True)
    withdraw(record.name)
    os.symlink(netns_target(record), os.path.join(NETNS_DIR, record.name))


def is_published(record: Record) -> bool:
    """Say whether iproute2 knows the node."""
    path = os.path.join(NETNS_DIR, record.name)
    return os.path.islink(path) and os.readlink(path) == netns_target(record)


def is_foreign(name: str) -> bool:
    """Say whether somebody else's network namespace has the name. Ours are links into /proc, `ip netns add` makes mounts."""
    path = os.path.join(NETNS_DIR, name)
    return os.path.lexists(path) and not (os.path.islink(path) and os.readlink(path).startswith("/proc/"))


def withdraw(name: str) -> None:
    """Take the node's name from iproute2. NETNS_DIR stays: it belongs to iproute2."""
    if not is_foreign(name):
        try:
            os.unlink(os.path.join(NETNS_DIR, name))
        except FileNotFoundError:
            pass


@contextmanager
def locked(run_dir: str) -> Iterator[None]:
    """Hold the folder of records for ourselves; it is made, and removed again when it ends up empty."""
    while True:
        os.makedirs(run_dir, mode=0o755, exist_ok=True)
        folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(folder, fcntl.LOCK_EX)
        # Whoever held the lock before may have removed the folder: then the lock guards nothing.
        if os.fstat(folder).st_nlink > 0:
            break
        os.close(folder)
    try:
        yield
    finally:
        try:
            os.rmdir(run_dir)
        except OSError:
            pass
        os.close(folder)
