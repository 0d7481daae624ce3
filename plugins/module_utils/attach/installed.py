# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chained plugin on a node: its file beside the other plugins, and the archive with its code.

A network that no longer chains it keeps it for as long as pods are there that were attached with it: their runtimes
ask it for DEL, and would fail without it. The items of the networks say where it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils import node_archive
from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.cni.conflist import ATTACH
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import locate
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import files
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.programs import (
    PROGRAMS,
    Program,
    observe_program,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARCHIVE = "/usr/local/lib/podnet/attach.pyz"
KEY, MADE, CHAINED = "attach", "attach_made", "attach_chained"


def wanted(chained: bool, where: Sequence[str], known: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What an item says of the plugin, where it is or shall be there.

    :param chained: whether the network's list names it
    :param where: the directories of plugins
    :param known: the items declared before
    """
    former = next((item for item in known if KEY in item), None)
    if not chained and (former is None or not record.paths()):
        return {}
    if former is not None and (not chained or _folder(where) == str(Path(former[KEY]).parent)):
        return {KEY: former[KEY], MADE: former[MADE], CHAINED: chained}
    path = f"{_folder(where)}/{ATTACH}"
    return {KEY: path, MADE: {each: files.missing_directories(each) for each in (path, ARCHIVE)}, CHAINED: True}


def _folder(where: Sequence[str]) -> str:
    """Where the plugin is that every list begins with: there runtimes look."""
    bridge = locate("bridge", where)
    return str(Path(bridge).parent) if bridge else where[0]


def is_chained(item: Mapping[str, Any]) -> bool:
    """Whether a network's list names the plugin."""
    return item.get(CHAINED) is True


def observe(items: Iterable[Mapping[str, Any]]) -> dict[str, Program]:
    """What is there of it and is ours."""
    found: dict[str, Program] = {}
    for item in items:
        for path, made in _paths(item).items():
            found.update(observe_program(path, made))
    return found


def desired(items: Iterable[Mapping[str, Any]]) -> dict[str, Program]:
    """What should be there, by path."""
    found: dict[str, Program] = {}
    for item in items:
        for path, made in _paths(item).items():
            content = node_archive.program() if path == ARCHIVE else node_archive.plugin(ARCHIVE)
            found[path] = Program(path, PROGRAMS.content(content), 0o755, tuple(made))
    return found


def conflicts(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each file that is not ours and stands where ours belongs."""
    return [
        f"{path}: exists and was not made by podnet.fabric; move it away, or leave the plugin out (attach: false)"
        for item in items
        for path in _paths(item)
        if Path(path).exists() and not observe_program(path, ())
    ]


def _paths(item: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The files, in the order in which they are needed, with the directories made for them."""
    if KEY not in item:
        return {}
    path, made = item[KEY], item.get(MADE)
    if not isinstance(path, str) or not path.startswith("/") or not isinstance(made, dict):
        raise DeclarationError(
            f"the declaration holds {path!r} where a plugin's path should be; run the playbook again"
        )
    return {each: made.get(each, []) for each in (ARCHIVE, path)}
