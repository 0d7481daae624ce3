# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The UTS name of a node."""

from __future__ import annotations

import socket

from ansible_collections.podnet.fabric.plugins.module_utils.lab.namespaces import entered


def read_hostname(pid: int) -> str:
    """Read the name of the node that has process 1 ``pid``."""
    with entered(pid, "uts"):
        return socket.gethostname()


def write_hostname(pid: int, name: str) -> None:
    """Rename the node."""
    with entered(pid, "uts"):
        socket.sethostname(name)
