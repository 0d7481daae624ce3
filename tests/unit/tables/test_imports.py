# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters are cheap to import: for each task of each host that uses one, Ansible imports and compiles all of them."""

from __future__ import annotations

import ast
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
OURS = "ansible_collections.podnet.fabric.plugins."
MOST = 3000
"""Lines that all filters together may be; with what the kinds are made of they were ten times as many."""


def imported_at_once(path: Path) -> set[Path]:
    """The files of the collection that a file imports when it is imported."""
    names: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(OURS):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.startswith(OURS)]
    files = {PLUGINS / f"{name[len(OURS) :].replace('.', '/')}.py" for name in names}
    return {file for file in files if file.is_file()}


def test_filters_import_little() -> None:
    waiting = set(PLUGINS.glob("filter/*.py"))
    assert waiting
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= imported_at_once(file) - found
    assert PLUGINS / "plugin_utils" / "drift_table.py" in found
    lines = {str(file.relative_to(PLUGINS)): len(file.read_text(encoding="utf-8").splitlines()) for file in found}
    assert "module_utils/reconcile.py" not in lines
    assert sum(lines.values()) < MOST, sorted(lines.items(), key=lambda item: -item[1])
