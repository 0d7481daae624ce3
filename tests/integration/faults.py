# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation of a run goes wrong, all others are real: messages to the kernel, files, tools, processes.

Every operation is counted where it leaves the process: netlink at the socket, files and processes at the
interpreter's audit events (PEP 578), which no way of opening a file or starting a program gets around.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import connection

from .wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self


STDERR = "netlink: Error: cache initialization failed"

TOOL_FAULTS = ("fails", "missing", "does not end", "forbidden")
FILE_FAULTS = {
    "read": (errno.EIO, errno.EACCES),
    "open to write": (errno.EROFS, errno.ENOSPC, errno.EACCES),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.ENOSPC, errno.EIO),
    "rename": (errno.EIO, errno.ENOSPC),
    "remove": (errno.EROFS, errno.EIO),
    "mkdir": (errno.ENOSPC, errno.EROFS),
    "rmdir": (errno.EROFS, errno.EBUSY),
    "chmod": (errno.EPERM, errno.EROFS),
    "chown": (errno.EPERM, errno.EROFS),
    "list": (errno.EIO,),
    "fork": (errno.EAGAIN,),
    "netlink socket": (errno.EMFILE, errno.EPROTONOSUPPORT),
    "connect": (errno.ECONNREFUSED,),
}
_EVENTS = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.chmod": "chmod",
    "os.chown": "chown",
    "os.listdir": "list",
    "os.scandir": "list",
}


class Faults:
    """What a run did, operation by operation, and which of them went wrong.

    :param at: the position of the operation that fails; None counts only
    :param turn: which of the faults that such an operation can have
    :param folders: where the run's files are; others, as Python's own, are not counted
    """

    def __init__(self, at: int | None, turn: int, folders: Sequence[str]) -> None:
        self.operations: list[str] = []
        self.injected = ""
        self.reason = self.missing = ""
        self.spawned = self.sockets = 0
        self._at, self._turn, self._folders, self._process = at, turn, tuple(folders), os.getpid()

    def step(self, sort: str, what: object) -> int | None:
        """Count an operation; the number of the fault that it is to have, or None."""
        if os.getpid() != self._process:
            return None
        self.operations.append(f"{sort} {what}")
        if len(self.operations) - 1 != self._at:
            return None
        self.injected = self.operations[-1]
        return self._turn

    def fails(self, sort: str, what: object) -> None:
        """Count an operation that fails with an error number."""
        turn = self.step(sort, what)
        if turn is not None:
            number = FILE_FAULTS[sort][turn % len(FILE_FAULTS[sort])]
            self.reason = os.strerror(number)
            raise OSError(number, self.reason, what if isinstance(what, str) and what.startswith("/") else None)

    def event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event."""
        if event == "subprocess.Popen":
            self.spawned += 1
        elif event == "socket.__new__":
            self.sockets += arguments[1] == socket.AF_NETLINK
        elif event == "socket.connect":
            self.fails("connect", arguments[1])
        elif event == "os.fork":
            self.fails("fork", "")
        elif event == "open" and not isinstance(arguments[0], int):
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            self._file("open to write" if writes else "read", arguments[0])
        elif event in _EVENTS:
            self._file(_EVENTS[event], arguments[0])

    def _file(self, sort: str, path: object) -> None:
        if isinstance(path, int):
            self.fails(sort, f"/proc/self/fd/{path}")
        elif isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(self._folders):
            self.fails(sort, os.fspath(path))

    def complete(self) -> None:
        """Nothing has reached the kernel or started a program but through what is counted."""
        tools = sum(operation.startswith("tool ") for operation in self.operations)
        assert (tools, self._made("netlink socket")) == (self.spawned, self.sockets)

    def _made(self, sort: str) -> int:
        return sum(operation.startswith(sort) for operation in self.operations) - self.injected.startswith(sort)


class _Sockets:
    """The socket module as the netlink code sees it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, *arguments: int) -> Wire:
        self._faults.fails("netlink socket", "")
        return Wire(socket.socket(*arguments), self._faults)


class _Handle:
    """A file that is written."""

    def __init__(self, real: Any, name: str, faults: Faults) -> None:
        self._real, self._name, self._faults = real, name, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._real.close()

    def write(self, text: str) -> int:
        try:
            self._faults.fails("write", self._name)
        except OSError:
            # What fits on the disk stands there.
            self._real.write(text[: len(text) // 2])
            self._real.flush()
            raise
        return int(self._real.write(text))


def _really(argv: list[str], *, check: bool = False, **options: Any) -> Any:
    return _REAL_RUN(argv, check=check, **options)


def _tool(faults: Faults, argv: list[str], **options: Any) -> Any:
    turn = faults.step("tool", argv[0])
    if argv[0] == faults.missing:  # from then on
        return _really(["/nowhere/at/all"], **options)
    if turn is None:
        return _really(argv, **options)
    fault = TOOL_FAULTS[turn % len(TOOL_FAULTS)]
    faults.injected += f" {fault}"
    if fault == "missing":
        faults.reason, faults.missing = f"{argv[0]} is not installed", argv[0]
        return _really(["/nowhere/at/all"], **options)
    if fault == "forbidden":
        faults.reason = os.strerror(errno.EACCES)
        return _really(["/proc/self/status"], **options)
    if fault == "does not end":
        faults.reason = "no end within"
        return _really(["sleep", "60"], **{**options, "timeout": 0.02})
    faults.reason = STDERR
    return _really(["sh", "-c", f"cat > /dev/null; echo '{STDERR}' >&2; exit 1"], **options)


_REAL_RUN, _REAL_OPEN, _REAL_FDOPEN, _REAL_FSYNC = subprocess.run, io.open, os.fdopen, os.fsync
_WATCHED = {"open", "subprocess.Popen", "socket.__new__", "socket.connect", "os.fork", *_EVENTS}
_current: list[Faults] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _current and event in _WATCHED and os.getpid() == _current[0]._process:
        _current[0].event(event, arguments)


sys.addaudithook(_audit)


@contextmanager
def inject(at: int | None, turn: int, folders: Sequence[str], counted_by: type[Faults] = Faults) -> Iterator[Faults]:
    """Inside, the operation at a position goes wrong; see Faults."""
    faults = counted_by(at, turn, folders)

    def opened(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        real = _REAL_OPEN(file, mode, *rest, **options)
        counted = "w" in mode and isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith(tuple(folders))
        return _Handle(real, os.fspath(file), faults) if counted else real

    def fdopened(file: int, mode: str = "r", *rest: Any, **options: Any) -> Any:
        real = _REAL_FDOPEN(file, mode, *rest, **options)
        # A pipe is how a module or a child answers, and no file.
        counted = "w" in mode and stat.S_ISREG(os.fstat(file).st_mode)
        return _Handle(real, f"/proc/self/fd/{file}", faults) if counted else real

    def fsync(file: int) -> None:
        faults.fails("fsync", f"/proc/self/fd/{file}")
        _REAL_FSYNC(file)

    with (
        mock.patch.object(connection, "socket", _Sockets(faults)),
        mock.patch.object(subprocess, "run", lambda argv, **options: _tool(faults, argv, **options)),
        mock.patch.object(io, "open", opened),
        mock.patch.object(os, "fdopen", fdopened),
        mock.patch.object(os, "fsync", fsync),
    ):
        _current.append(faults)
        try:
            yield faults
        finally:
            _current.clear()
    if not faults.injected:
        faults.complete()


def positions(step: int = 1) -> Iterator[int]:
    """0, 1, 2 ... until a run has no operation at that position any more; by steps where a run takes long."""
    return count(0, step)
