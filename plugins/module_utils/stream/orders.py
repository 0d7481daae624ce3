# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process of a stream is told while it runs: count, stop. It answers into a file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import write_atomically

COUNT = signal.SIGUSR1
STOP = signal.SIGTERM
# Nanoseconds from which a turn is late: the machine stands still, and not the network.
STANDSTILL = 20_000_000
_LOOK = 2.0  # seconds between looks whether its record is still there


class Orders:
    """The orders that have come by signal, the time that is left, and the file for answers."""

    def __init__(self, record: Path, counts: Path) -> None:
        self._record = record
        self._counts = counts
        self._end = float("inf")
        self._look = 0.0
        self._stop = False
        self._count = False

    def handlers(self) -> dict[int, Callable[..., Any]]:
        """By signal."""

        def stop(*_signal: Any) -> None:
            self._stop = True

        def count(*_signal: Any) -> None:
            self._count = True

        return {STOP: stop, COUNT: count}

    def begin(self, lifetime: float) -> None:
        """The time runs, and the record will be there soon."""
        self._end = time.monotonic() + lifetime
        self._look = time.monotonic() + _LOOK

    def over(self, now: float) -> bool:
        """Whether to stop: told to, out of time, or nobody could find it any more to ask.

        :param now: seconds, monotonic
        """
        if now >= self._look:
            self._look = now + _LOOK
            self._stop = self._stop or not self._record.exists()
        return self._stop or now >= self._end

    def asked(self) -> bool:
        """Whether the counts are wanted; once for each time that they are."""
        asked, self._count = self._count, False
        return asked

    def answer(self, flows: list[dict[str, Any]]) -> None:
        """Leaves the counts where the module looks for them."""
        if self._record.exists():
            write_atomically(self._counts, json.dumps(flows) + "\n", 0o600)


def before_others() -> None:
    """A turn at once when it is due: it needs little, and a pause of its own would look like one of the network."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:  # a container, or a kernel with RT_GROUP_SCHED
        with contextlib.suppress(OSError):
            os.nice(-15)
