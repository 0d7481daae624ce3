# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a process with everything that it starts: passes its output on, keeps its time, leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Expired(Exception):
    """The time was up, and the process is gone."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:g} s")
        self.seconds = seconds


class Check(NamedTuple):
    """What to do once with the id of the process, after some seconds or when the time is up."""

    seconds: float
    ask: Callable[[int], None]


class Stopped(BaseException):
    """This process was told to end by a signal; the process that it watched is gone."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def listen() -> None:
    """Let signals that end this process raise Stopped, so that everything is put away first."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for one in _ENDING:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    for number in _ENDING:
        signal.signal(number, stop)


def run(argv: Callable[[int], Sequence[str]], *, seconds: float, log: int, check: Check | None = None) -> int:
    """The exit status of a program that gets a descriptor for its output, which goes on to our standard output.

    Its standard output and error go to the descriptor ``log``. Raises Expired after ``seconds``, Stopped on a signal,
    and what ``check`` raises. However this ends, nothing of the program runs on: it is in a process namespace of its
    own, and when its first process is killed, the kernel kills all the others.
    """
    source, sink = os.pipe()
    try:
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child=KILL", "--", *argv(sink)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(sink,),
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs here
        )
    except BaseException:
        os.close(source)
        raise
    finally:
        os.close(sink)
    try:
        for data in _read(source, process.pid, seconds, check):
            write(1, data)
        return process.wait()
    finally:
        os.close(source)
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(source: int, pid: int, seconds: float, check: Check | None) -> Iterator[bytes]:
    """What comes through a pipe until a process has ended. Raises Expired."""
    begin = time.monotonic()
    os.set_blocking(source, False)
    ended = os.pidfd_open(pid)
    waited_for = {source, ended}
    try:
        while True:
            passed = time.monotonic() - begin
            if check and passed >= min(check.seconds, seconds):
                check.ask(pid)
                check = None
            if passed >= seconds:
                raise Expired(seconds)
            left = (min(check.seconds, seconds) if check else seconds) - passed
            ready, _writable, _failed = select.select(waited_for, [], [], left)
            try:
                # Asked after the process, so that what it wrote last is seen.
                while data := os.read(source, 65536):
                    yield data
                waited_for.discard(source)
            except BlockingIOError:
                pass
            if ended in ready:
                return
    finally:
        os.close(ended)


def write(sink: int, data: bytes) -> None:
    """All of the data, also where the other end is slow and the descriptor does not block."""
    while data:
        try:
            data = data[os.write(sink, data) :]
        except BlockingIOError:
            select.select([], [sink], [])


def states(pid: int) -> str:
    """A line for a process and each that it started: id, state, ticks of user and system, where it waits, words."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        waits = Path(f"/proc/{pid}/wchan").read_text()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        children = [word for task in Path(f"/proc/{pid}/task").iterdir() for word in _children(task)]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    line = f"{pid} {stat[0]} {stat[11]} {stat[12]} {waits} {words[:60]}\n"
    return line + "".join(states(int(child)) for child in children)


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()
