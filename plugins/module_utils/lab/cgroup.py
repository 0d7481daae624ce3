# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group per node in every hierarchy, so that what runs in a node cannot leave groups behind.

Machines without control groups, or with ones that are not ours to change, go without: the node then lacks them, nothing else.
"""

from __future__ import annotations

import os

from ansible_collections.podnet.fabric.plugins.module_utils.lab.mounts import cgroups, read_mounts

PARENT = "podnet-lab"


def _parents() -> list[str]:
    return [os.path.join(mount.target, PARENT) for mount in cgroups(read_mounts())]


def _inherit_cpuset(folder: str) -> None:
    # A version 1 cpuset begins empty and then takes no process (cpuset(7)).
    for name in ("cpuset.cpus", "cpuset.mems"):
        path = os.path.join(folder, name)
        if os.path.exists(path) and os.path.exists(os.path.join(folder, "cpuset.memory_migrate")):
            with open(os.path.join(os.path.dirname(folder), name), encoding="ascii") as file:
                value = file.read()
            with open(path, "w", encoding="ascii") as file:
                file.write(value)


def join(name: str) -> None:
    """Move the calling process into the node's groups, making them."""
    for parent in _parents():
        folder = os.path.join(parent, name)
        try:
            for step in (parent, folder):
                os.makedirs(step, exist_ok=True)
                _inherit_cpuset(step)
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write("0")
        except OSError:
            continue


def _remove_tree(folder: str) -> None:
    for path, _folders, _files in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            continue


def remove(name: str) -> None:
    """Remove the node's groups, once nothing runs in them, and the parent when it was the last node."""
    for parent in _parents():
        _remove_tree(os.path.join(parent, name))
        try:
            os.rmdir(parent)
        except OSError:
            continue  # other nodes live in it, or it never was
