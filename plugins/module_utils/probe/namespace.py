# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening sockets in another network namespace: a socket stays in the namespace it was made in."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = "-"  # stands for the namespace of the node itself
_OWN_PATH = "/proc/self/ns/net"
_CLONE_NEWNET = 0x40000000  # linux/sched.h


class NamespaceError(PodnetError):
    """A network namespace that cannot be entered; the text says which and what to do."""


def path_of(netns: str) -> str:
    """The file of a namespace given as a path, as a name under /run/netns, or as `-`."""
    if netns == OWN:
        return _OWN_PATH
    return netns if netns.startswith("/") else f"/run/netns/{netns}"


def identity(netns: str) -> str:
    """What tells a namespace from another one made later under the same name."""
    try:
        found = Path(path_of(netns)).stat()
    except OSError as error:
        raise NamespaceError(f"network namespace {netns}: {error.strerror} ({path_of(netns)})") from error
    return f"{found.st_dev}:{found.st_ino}"


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Runs the body in network namespace `netns` and comes back. For single-threaded processes."""
    if netns == OWN:
        yield
        return
    home = os.open(_OWN_PATH, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            away = os.open(path_of(netns), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NamespaceError(f"network namespace {netns}: {error.strerror} ({path_of(netns)})") from error
        try:
            _enter(away, netns)
        finally:
            os.close(away)
        try:
            yield
        finally:
            _enter(home, "of the node")
    finally:
        os.close(home)


def _enter(descriptor: int, netns: str) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise NamespaceError(f"network namespace {netns}: cannot be entered: {os.strerror(error)}; is this root?")
