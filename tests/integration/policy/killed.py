# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that end in the middle of their work."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import syscall

if TYPE_CHECKING:
    from collections.abc import Callable


def status_of(calls: int, work: Callable[[], object]) -> int:
    """How a child of this thread ends, on the same node, that is killed at one of its system calls for BPF."""
    child = os.fork()
    if child == 0:
        _kill_after(calls)
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def _kill_after(calls: int) -> None:
    """Let this process be killed at one of its system calls for BPF."""
    left = [calls]
    carry_out = syscall.call_with

    def call_with(command: int, attributes: Any, doing: str) -> int:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return carry_out(command, attributes, doing)

    syscall.call_with = call_with
