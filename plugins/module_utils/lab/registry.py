# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes this machine holds: one small file for each, read by the module and by the connection plugin.

A process number alone does not name a process for long, so its start time and the machine's boot stand beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_DIR = "/run/podnet-lab"
# Where `ip netns` and `ip link set ... netns NAME` look (ip-netns(8)).
NETNS_DIR = Path("/run/netns")
SUFFIX = ".json"


class Record(NamedTuple):
    """A node: ``pid`` is its process 1 as the machine numbers it, ``ready`` says that it was made to the end."""

    name: str
    pid: int
    started: int
    boot: str
    ready: bool


def start_time(pid: int) -> int | None:
    """Give the start of a living process in clock ticks since boot; None for one that is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is a name in brackets and may hold anything (proc_pid_stat(5)).
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) if fields[0] not in ("Z", "X") else None


def is_alive(record: Record) -> bool:
    """Say whether the very process that was recorded still runs."""
    return record.boot == boot_id() and start_time(record.pid) == record.started


def read(run_dir: Path, name: str) -> Record | None:
    """Read the record of a node; None when there is none. A torn or foreign file counts as a node never made ready."""
    try:
        return Record(name=name, **json.loads((run_dir / f"{name}{SUFFIX}").read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        return Record(name, 0, 0, "", ready=False)


def write(run_dir: Path, record: Record) -> None:
    """Put a record down in one step."""
    fields = {key: value for key, value in record._asdict().items() if key != "name"}
    fresh = run_dir / f"{record.name}{SUFFIX}.new"
    fresh.write_text(json.dumps(fields), encoding="utf-8")
    fresh.replace(run_dir / f"{record.name}{SUFFIX}")


def forget(run_dir: Path, name: str) -> None:
    """Remove the record of a node."""
    for suffix in (f"{SUFFIX}.new", SUFFIX):
        (run_dir / f"{name}{suffix}").unlink(missing_ok=True)


def names(run_dir: Path) -> list[str]:
    """List the nodes that have a record."""
    return sorted(path.name[: -len(SUFFIX)] for path in run_dir.glob(f"*{SUFFIX}"))


def netns_target(record: Record) -> str:
    """Give what the node's link in NETNS_DIR points at: a link and no mount, so it pins nothing."""
    return f"/proc/{record.pid}/ns/net"


def publish(record: Record) -> None:
    """Let iproute2 know the node's network by its name."""
    NETNS_DIR.mkdir(parents=True, exist_ok=True)
    withdraw(record.name)
    (NETNS_DIR / record.name).symlink_to(netns_target(record))


def is_published(record: Record) -> bool:
    """Say whether iproute2 knows the node."""
    path = NETNS_DIR / record.name
    return path.is_symlink() and str(path.readlink()) == netns_target(record)


def is_foreign(name: str) -> bool:
    """Say whether somebody else's network namespace has the name: ours are links, `ip netns add` makes mounts."""
    path = NETNS_DIR / name
    return os.path.lexists(path) and not (path.is_symlink() and str(path.readlink()).startswith("/proc/"))


def withdraw(name: str) -> None:
    """Take the node's name from iproute2. NETNS_DIR stays: it belongs to iproute2."""
    if not is_foreign(name):
        (NETNS_DIR / name).unlink(missing_ok=True)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the folder of records for ourselves; it is made, and removed again when it ends up empty."""
    while True:
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(folder, fcntl.LOCK_EX)
        # Whoever held the lock before may have removed the folder: then the lock guards nothing.
        if os.fstat(folder).st_nlink > 0:
            break
        os.close(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            run_dir.rmdir()
        os.close(folder)
