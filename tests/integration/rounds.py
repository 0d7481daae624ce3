# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which operation has a fault, and which one, from run to run: one for each operation, or all that it can have."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from .faults import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Rounds:
    """Positions and turns: one fault for each operation, or all that it can have.

    Whoever goes through them says after each how many that are, and breaks off when a run has no operation at that
    position any more.

    :param step: from one position to the next, where a run takes long and not all are wanted
    """

    def __init__(self, step: int = 1, first: int = 0) -> None:
        self.sorts = 1
        self.at = self.turn = 0
        self._step, self._first = step, first

    def __iter__(self) -> Iterator[int]:
        while True:
            if FULL:
                self.turn = 0
                while self.turn < self.sorts:
                    yield self.turn
                    self.turn += 1
                self.sorts = 1
                self.at += 1
            else:
                self.turn = self.at // self._step + self._first
                yield self.turn
                self.at += self._step

    @property
    def kills(self) -> bool:
        """Whether the process will be killed this time."""
        return FULL and self.turn > 0 and self.turn == self.sorts - 1


def killed(run: Callable[[], Any]) -> bool:
    """Carry something out in a process of its own: whether that was killed."""
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL
