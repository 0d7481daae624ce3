# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that outlive the module that starts them, are known again by their start time, and are ended exactly.

A process id with its start time and its name are one process of this boot and never another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence


class ProcessError(PodnetError):
    """A process that cannot be started or ended; the text says which and what to do."""


def detach(
    life: Callable[[], None],
    keep: Sequence[socket.socket],
    comm: str,
    on_signal: Mapping[int, Callable[..., Any]] | None = None,
) -> int:
    """Runs `life` in a process of its own session that holds nothing of ours but the sockets; returns its id.

    Ansible waits until every holder of the module's pipes has ended, so none of them may stay open.

    :param comm: its name, as shown by ps and in /proc/PID/comm; at most 15 bytes
    :param on_signal: handlers, in place before its id is known to anybody
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        os.waitpid(child, 0)
        with os.fdopen(read_end, "rb") as stream:
            told = stream.read()
        if not told:
            raise ProcessError(f"{comm}: a process did not start; is the node out of processes?")
        return int(told)
    try:
        os.setsid()
        if os.fork() == 0:  # no session leader any more: cannot come by a terminal
            _let_go(keep, write_end, comm)
            for number, handler in (on_signal or {}).items():
                signal.signal(number, handler)
            os.write(write_end, str(os.getpid()).encode())
            os.close(write_end)
            life()
    finally:
        os._exit(0)


def _let_go(keep: Sequence[socket.socket], also: int, comm: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    kept = {0, 1, 2, also, *(one.fileno() for one in keep)}
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one that listed the folder
                os.close(descriptor)
    Path("/proc/self/comm").write_text(comm, encoding="utf-8")


def start_time(pid: int, comm: str) -> int | None:
    """When a running process started, in clock ticks since boot; None: it is gone, a zombie or something else."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, so count from the last one (proc(5)); field 22 is the start.
    before, _parenthesis, after = stat.rpartition(")")
    fields = after.split()
    if before.partition("(")[2] != comm or fields[0] in "ZX":
        return None
    return int(fields[19])


def end(pid: int, start: int, comm: str, what: str, patience: float = 2.0) -> None:
    """Ends exactly this process; one that has taken over its number is left alone.

    :param what: how an error names it
    :param patience: seconds that it has to end by itself after SIGTERM
    """
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 2.0)):
        if start_time(pid, comm) != start:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        limit = time.monotonic() + seconds
        while start_time(pid, comm) == start and time.monotonic() < limit:
            time.sleep(0.005)
    if start_time(pid, comm) == start:
        raise ProcessError(f"{what}: process {pid} does not end")
