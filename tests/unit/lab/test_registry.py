# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of nodes, and telling a node's process from another one of the same number."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import boot_id
from ansible_collections.podnet.fabric.plugins.module_utils.lab import registry
from ansible_collections.podnet.fabric.plugins.module_utils.lab.registry import Record


def _own_record() -> Record:
    pid = os.getpid()
    return Record("node1", pid, registry.start_time(pid) or 0, boot_id(), ready=True)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    registry.write(tmp_path, _own_record())
    assert registry.read(tmp_path, "node1") == _own_record()
    assert registry.names(tmp_path) == ["node1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "more": 2}'])
def test_a_damaged_record_is_a_half_made_node(tmp_path: Path, text: str) -> None:
    (tmp_path / "node1.json").write_text(text)
    record = registry.read(tmp_path, "node1")
    assert record is not None
    assert not record.ready
    assert not registry.is_alive(record)


def test_no_record_is_no_node(tmp_path: Path) -> None:
    assert registry.read(tmp_path, "node1") is None
    assert registry.names(tmp_path / "nowhere") == []


def test_the_process_itself_is_alive_another_of_its_number_is_not() -> None:
    record = _own_record()
    assert registry.is_alive(record)
    assert not registry.is_alive(record._replace(started=record.started + 1))
    assert not registry.is_alive(record._replace(boot="another"))


def test_a_process_that_ended_is_dead_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert registry.start_time(process.pid) is None


def test_the_folder_of_records_goes_with_the_last_record(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with registry.locked(folder):
        registry.write(folder, _own_record())
    assert folder.is_dir()
    with registry.locked(folder):
        registry.forget(folder, "node1")
    assert not folder.exists()
