# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger in a file beside the inventory: one writer at a time, and a valid file at every moment."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_services import RESTORE
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_SECONDS = 30.0
LOCK_POLL = 0.02


class FileStore:
    """A ledger file. Readers need no lock, for the file is only ever replaced as a whole."""

    def __init__(self, path: Path, cluster: str, lock_seconds: float = LOCK_SECONDS) -> None:
        # A link stays a link: the file that it points to is replaced.
        self.path = Path(os.path.realpath(path))
        self.cluster = cluster
        self.lock_seconds = lock_seconds

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def read(self) -> Ledger:
        """Return the ledger, an empty one when there is no file yet. Raises LedgerError."""
        with self._told("read"):
            try:
                text = self.path.read_text(encoding="utf-8")
            except FileNotFoundError:
                return Ledger(self.cluster)
            except UnicodeDecodeError:
                found = "bytes that are no text"
                raise LedgerError([self._problem(found, "a ledger of podnet.fabric", RESTORE)]) from None
        return ledger_text.parse(text, str(self.path), self.cluster)

    def update(self, transition: Callable[[Ledger], Ledger]) -> tuple[Ledger, Ledger]:
        """Apply a transition with nobody in between; return the ledger before and after. Raises LedgerError."""
        with self._locked():
            before = self.read()
            after = transition(before)
            if after != before:
                with self._told("written"):
                    self._replace(ledger_text.render(after))
        return before, after

    def _replace(self, text: str) -> None:
        # A fixed name, since the lock is held: what a killed writer left is overwritten, not piled up.
        fresh = self.path.with_name(f".{self.path.name}.new")
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o644
        with fresh.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        # The new name is on the disk when its folder is: rename(2), fsync(2).
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f"{self.path.name}.lock")
        deadline = time.monotonic() + self.lock_seconds
        with self._told("locked"):
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            while not _take(descriptor, lock):
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
                    os.close(descriptor)
                    raise LedgerError([self._problem(f"a lock held by {holder}", *_lock_help(self.lock_seconds))])
                time.sleep(LOCK_POLL)
                if _replaced(descriptor, lock):
                    os.close(descriptor)
                    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            os.close(descriptor)  # the lock goes with it, as it does when the process is killed

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            found = f"a file that cannot be {done} ({error.strerror})"
            wanted = "a file that the user who runs Ansible may read and write, in a folder that exists"
            cure = "mend the permissions, or set podnet_ledger.path"
            raise LedgerError([self._problem(found, wanted, cure)]) from error

    def _problem(self, found: str, wanted: str, cure: str) -> Problem:
        return Problem(str(self.path), found, wanted, cure)


def _take(descriptor: int, lock: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return not _replaced(descriptor, lock)


def _replaced(descriptor: int, lock: Path) -> bool:
    """Return whether somebody has removed the lock file meanwhile, and with it the lock."""
    try:
        return not os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return True


def _lock_help(seconds: float) -> tuple[str, str]:
    wanted = f"it free within {seconds:g} seconds"
    return wanted, "wait for the other run to end, or end it if it hangs; then run again"
