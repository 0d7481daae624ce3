# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and runs of the planner without Ansible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import planning
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

MakeHost = Callable[..., Host]
Report = Callable[[Sequence[Host]], list[str]]


@pytest.fixture(scope="session")
def host() -> MakeHost:
    """A host of the inventory: name, ansible_host, what the node said of its underlay, variables without prefix."""

    def make(name: str, address: str = "", told: dict[str, Any] | None = None, **variables: Any) -> Host:
        facts = {} if told is None else {"underlay": told}
        return Host(name, {f"podnet_{key}": value for key, value in variables.items()}, address, facts)

    return make


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Run the planner as the task does and return every problem as the operator reads it."""

    def run(hosts: Sequence[Host]) -> list[str]:
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        outcome = planning.run(hosts, [], str(tmp_path), allocate=True)
        if outcome.plan is None:
            # A lock file may have come; nothing else may, and nothing may have changed.
            after = {path: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".lock"}
            assert {path: text for path, text in before.items() if path.suffix != ".lock"} == after
        return [str(problem).replace(f"{tmp_path}/", "") for problem in outcome.problems]

    return run
