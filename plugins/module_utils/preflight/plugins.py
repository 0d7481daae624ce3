# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which CNI plugins the node has, and which versions of the specification they speak."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import is_our_text
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import CniDirectory, Wanted

# The specification's own example, where most installers put plugins, and the folder of Debian's package.
_DIRECTORIES = ("/opt/cni/bin", "/usr/lib/cni")
_CONFIGURATION = (".conf", ".conflist", ".json")


def look_for_plugins(wanted: Wanted) -> CniDirectory:
    """The folder that will be used: with `auto`, the first that holds every plugin that the network needs."""
    directories = _DIRECTORIES if wanted.cni_bin_dir == "auto" else (wanted.cni_bin_dir,)
    held = {directory: _executables(directory) for directory in directories}
    complete = [path for path, plugins in held.items() if all(name in plugins for name in wanted.cni_plugins)]
    filled = [path for path, plugins in held.items() if plugins]
    path = next(iter(complete + filled), "")
    plugins = held.get(path, {})
    return CniDirectory(
        path=path,
        plugins=plugins,
        versions={name: _versions(plugins[name]) for name in wanted.cni_plugins if name in plugins},
        conflists=_configurations(wanted.cni_conf_dir),
    )


def _executables(directory: str) -> dict[str, str]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return {}
    return {entry.name: entry.path for entry in entries if entry.is_file() and os.access(entry.path, os.X_OK)}


def _versions(plugin: str) -> tuple[str, ...]:
    """CNI specification, section 2: VERSION answers with what the plugin supports."""
    try:
        answer = json.loads(run([plugin], stdin='{"cniVersion": "1.0.0"}', env={"CNI_COMMAND": "VERSION"}, timeout=20))
        return tuple(str(version) for version in answer["supportedVersions"])
    except (ToolError, OSError, *MALFORMED):
        return ()


def _configurations(directory: str) -> tuple[str, ...]:
    try:
        files = [file for file in Path(directory).iterdir() if file.suffix in _CONFIGURATION and not _is_ours(file)]
    except OSError:
        return ()
    return tuple(sorted(file.name for file in files))


def _is_ours(file: Path) -> bool:
    """Whether we wrote it, under whatever name the network had then: it goes when the network has another one."""
    try:
        return is_our_text(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False
