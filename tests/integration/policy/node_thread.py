# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that is on a node: in its network namespace, with pins and notes of its own where those belong."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000  # linux/sched.h
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h


class NodeThread:
    """What is pinned there goes with the thread."""

    def __init__(self, netns: str) -> None:
        self._executor = ThreadPoolExecutor(1, initializer=_enter, initargs=(netns,))

    def run(self, call: Callable[[], Found]) -> Found:
        """What a call gives that is made on the node."""
        return self._executor.submit(call).result()

    def close(self) -> None:
        """Leave the node."""
        self._executor.shutdown()


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS))
    _checked(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    _checked(libc.mount(b"bpf", b"/sys/fs/bpf", b"bpf", 0, None))
    RUN.mkdir(mode=0o755, exist_ok=True)
    _checked(libc.mount(b"podnet", bytes(RUN), b"tmpfs", 0, b"mode=0755"))
    descriptor = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(libc.setns(descriptor, _CLONE_NEWNET))
    finally:
        os.close(descriptor)


def _checked(outcome: int) -> None:
    if outcome != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
