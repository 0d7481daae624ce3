# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's lock (declaration.py: node_lock), for the chained plugin.

What holds it already when it runs a plugin, as the module pod does, lets the plugin inherit the open file and says in
the environment which one that is: the lock then lasts for as long as any of them runs.
"""

from __future__ import annotations

import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

LOCK = "/run/podnet/lock"
INHERITED = "PODNET_LOCK"
"""The variable with the number of the descriptor."""

PATIENCE = 60.0
"""Seconds to wait: a task of a playbook takes a few at most, and runtimes wait for minutes."""


class Busy(OSError):
    """Somebody changes this node and does not end."""


class NodeLock:
    """Held inside the body."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        if not _is_inherited():
            self._descriptor = _take(time.monotonic() + self._patience)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _is_inherited() -> bool:
    try:
        return _is_lock(int(os.environ[INHERITED]))
    except (KeyError, ValueError, OSError):
        return False


def _is_lock(descriptor: int) -> bool:
    mine, there = os.fstat(descriptor), os.stat(LOCK)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _take(deadline: float) -> int:
    while True:
        os.makedirs(os.path.dirname(LOCK), mode=0o755, exist_ok=True)
        try:
            descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # a teardown removed the folder between the two calls
            continue
        try:
            if _locked(descriptor, deadline):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _locked(descriptor: int, deadline: float) -> bool:
    """Wait for the lock; False when the file is no longer the one that others would open."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _is_lock(descriptor)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(f"{LOCK}: another run is changing this node and does not end") from None
            time.sleep(0.002)
