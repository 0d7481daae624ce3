# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace to ask the kernel in: only a forked child enters it, and it goes with that child."""

from __future__ import annotations

import ctypes
import json
import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

# linux/sched.h; os.unshare came with Python 3.12.
_CLONE_NEWNET = 0x40000000


class NoScratch(Exception):
    """There was no namespace to ask in, or no answer came out of it."""


def in_scratch_namespace(ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns in a fresh network namespace; the answer is plain data, for it comes as JSON.

    Raises NoScratch: no namespace, or `ask` raised an OSError, whose text it then carries.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        # Nothing of the parent may run here a second time, so no way leads out but _exit.
        try:
            os.close(reader)
            os.write(writer, json.dumps(_asked(ask)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    if not told:
        raise NoScratch("the trial's process died")
    outcome = json.loads(told)
    if "failure" in outcome:
        raise NoScratch(outcome["failure"])
    answered: Answer = outcome["answer"]
    return answered


def _asked(ask: Callable[[], Answer]) -> dict[str, Answer | str]:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        return {"failure": f"unshare: {os.strerror(ctypes.get_errno())}"}
    try:
        return {"answer": ask()}
    except OSError as error:
        return {"failure": f"netlink: {error}"}
