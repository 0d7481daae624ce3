# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processor a guest is kept on: two on one take twice as long, so each reserves one while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.tests.vm.cache import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def reserved(wanted: int | None = None) -> Iterator[int]:
    """The number of a processor that no other guest of this user has reserved.

    The wanted one is given whoever has it; when all are taken, one of those is.
    """
    numbers = sorted(os.sched_getaffinity(0)) if wanted is None else [wanted]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for number in numbers:
            lock = stack.enter_context((FOLDER / f"cpu-{number}.lock").open("w"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield number
                return
        yield numbers[os.getpid() % len(numbers)]
