# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation of a run goes wrong, all others are real: messages to the kernel, files, tools, processes.

Every operation is counted where it leaves the process: netlink at the socket, bpf(2) at its only caller, files and
processes at the interpreter's audit events (PEP 578), which no way of opening a file or starting a program gets around.

CI takes one of the faults that an operation can have, another one each time. With PODNET_FAULTS=full (`make faults`)
every operation has each of them in turn, and its process is killed before it and after it, too.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import mock

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import syscall
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import connection

from . import faulty_bpf
from .wire import Sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self


STDERR = "netlink: Error: cache initialization failed"

PLUGINS = "/usr/lib/cni/"
FULL = os.environ.get("PODNET_FAULTS") == "full"
KILLED = "killed"
# The last one has done what it was asked for.
TOOL_FAULTS = ("fails", "missing", "does not end", "forbidden", "fails after it")
AFTER = frozenset(("rename", "remove", "mkdir", "rmdir"))
"""Operations that can take effect and end in an error all the same, on a file system at a distance for example."""
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
        self.spawned = self.sockets = self.sorts = 0
        self.reason = self.missing = self.injected = ""
        self.late: OSError | None = None
        self._at, self._turn, self._folders, self._process = at, turn, tuple(folders), os.getpid()

    def step(self, sort: str, what: object, sorts: int) -> int | None:
        """Count an operation; the number of the fault that it is to have, or None.

        :param sorts: how many it can have, being killed apart
        """
        if os.getpid() != self._process:
            return None
        self.operations.append(f"{sort} {what}")
        if len(self.operations) - 1 != self._at:
            return None
        self.sorts = sorts + FULL
        self.injected = self.operations[-1]
        turn = self._turn % self.sorts
        if turn == sorts:
            self.injected += f" {KILLED}"
            self.reason = KILLED
            _die()
        return turn

    def fails(self, sort: str, what: object) -> None:
        """Count an operation that fails with an error number, before it took effect or after."""
        numbers = FILE_FAULTS[sort]
        turn = self.step(sort, what, len(numbers) + (sort in AFTER))
        if turn is None:
            return
        number = numbers[turn % len(numbers)]
        path = what if isinstance(what, str) and what.startswith("/") else None
        error = OSError(number, os.strerror(number), path)
        if turn < len(numbers):
            self.reason = os.strerror(number)
            raise error
        self.injected += " after it"
        self.late = error

    def done(self) -> None:
        """An operation has taken effect: it may end in an error all the same."""
        error, self.late = self.late, None
        if error is not None:
            self.reason = str(error.strerror)
            raise error

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


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _fails_after(faults: Faults, done: Any) -> Any:
    if done.returncode:
        faults.reason = ""  # it fails by itself
        return done
    done.returncode, done.stderr = 1, STDERR if isinstance(done.stdout, str) else STDERR.encode()
    return done


def _tool(faults: Faults, argv: list[str], **options: Any) -> Any:
    turn = faults.step("tool", argv[0], len(TOOL_FAULTS))
    if argv[0] == faults.missing:  # from then on
        return _really(["/nowhere/at/all"], **options)
    if turn is None:
        return _really(argv, **options)
    fault = TOOL_FAULTS[turn % len(TOOL_FAULTS)]
    faults.injected += f" {fault}"
    faults.reason = {
        "missing": os.strerror(errno.ENOENT) if argv[0].startswith(PLUGINS) else f"{argv[0]} is not installed",
        "forbidden": os.strerror(errno.EACCES),
        "does not end": "no end within",
    }.get(fault, STDERR)
    if fault == "fails after it":
        return _fails_after(faults, _really(argv, **options))
    if fault == "missing":
        faults.missing = argv[0]
    if fault == "does not end":
        options["timeout"] = 0.02
    return _really(_INSTEAD[fault], **options)


_INSTEAD = {
    "missing": ["/nowhere/at/all"],
    "forbidden": ["/proc/self/status"],
    "does not end": ["sleep", "60"],
    "fails": ["sh", "-c", f"cat > /dev/null; echo '{STDERR}' >&2; exit 1"],
}
_REAL_RUN, _REAL_OPEN, _REAL_FDOPEN, _REAL_FSYNC = subprocess.run, io.open, os.fdopen, os.fsync
_ENDING_LATE = ("rename", "replace", "remove", "unlink", "mkdir", "rmdir")
_WATCHED = {"open", "subprocess.Popen", "socket.__new__", "socket.connect", "os.fork", *_EVENTS}
_current: list[Faults] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _current and event in _WATCHED and os.getpid() == _current[0]._process:
        _current[0].event(event, arguments)


sys.addaudithook(_audit)


def _ending_late(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    def ended(*arguments: Any, **options: Any) -> Any:
        try:
            found = real(*arguments, **options)
        except OSError:
            faults.late = None  # it fails by itself
            raise
        faults.done()
        return found

    return ended


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
        mock.patch.object(connection, "socket", Sockets(faults)),
        mock.patch.object(subprocess, "run", lambda argv, **options: _tool(faults, argv, **options)),
        mock.patch.object(io, "open", opened),
        mock.patch.object(os, "fdopen", fdopened),
        mock.patch.object(os, "fsync", fsync),
        mock.patch.object(syscall, "call_with", lambda *arguments: faulty_bpf.call(faults, *arguments)),
        ExitStack() as stack,
    ):
        for name in _ENDING_LATE:
            stack.enter_context(mock.patch.object(os, name, _ending_late(faults, getattr(os, name))))
        _current.append(faults)
        try:
            yield faults
        finally:
            _current.clear()
    if not faults.injected:
        faults.complete()
