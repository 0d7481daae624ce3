# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command of bpf(2) on which something goes wrong: the kernel refuses it, or has carried it out and says that not."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers, syscall

if TYPE_CHECKING:
    from .faults import Faults

FAULTS = (errno.ENOMEM, errno.EPERM, errno.E2BIG)

_REAL = syscall.call_with
_MAKES_DESCRIPTORS = (
    *(numbers.MAP_CREATE, numbers.PROG_LOAD, numbers.OBJ_GET, numbers.LINK_CREATE),
    *(numbers.PROG_GET_FD_BY_ID, numbers.MAP_GET_FD_BY_ID),
)


def call(faults: Faults, command: int, attributes: Any, doing: str) -> int:
    """Carry a command out, or have it refused, or have its answer lost."""
    turn = faults.step("bpf", doing, len(FAULTS) + 1)
    if turn is None:
        return _REAL(command, attributes, doing)
    number = FAULTS[turn % len(FAULTS)]
    faults.injected += " after it" if turn == len(FAULTS) else f" {number}"
    faults.reason = os.strerror(number)
    if turn == len(FAULTS):
        found = _REAL(command, attributes, doing)
        if command in _MAKES_DESCRIPTORS:
            os.close(found)
    raise syscall.BpfError(number, doing)
