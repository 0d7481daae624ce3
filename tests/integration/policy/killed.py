# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that end in the middle of their work."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import syscall


def killed_after(calls: int) -> None:
    """Let this process be killed at one of its system calls for BPF."""
    left = [calls]
    carry_out = syscall.call_with

    def call_with(command: int, attributes: Any, doing: str) -> int:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return carry_out(command, attributes, doing)

    syscall.call_with = call_with
