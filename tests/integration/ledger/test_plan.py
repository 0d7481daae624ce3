# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task plan with its ledger in etcd, by ansible-playbook."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_store import LEDGER_NAME
from ansible_collections.podnet.fabric.tests.integration.ledger.etcd import Etcd
from ansible_collections.podnet.fabric.tests.integration.plan.project import Project

PASSWORD = "correct horse battery staple"  # noqa: S105 - of an etcd that lives as long as the test
NODES: dict[str, dict[str, Any]] = {"node1": {"ansible_host": "192.0.2.11"}, "node2": {"ansible_host": "192.0.2.12"}}
KEY = "/podnet/podnet/ledger"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder to work in."""
    (tmp_path / "ansible.cfg").write_text("", encoding="utf-8")
    return Project(tmp_path)


@pytest.fixture
def secured(own_etcd: Etcd) -> Etcd:
    """An etcd that wants a user and a password."""
    for command in (
        ("user", "add", "root:top"),
        ("user", "grant-role", "root", "root"),
        ("role", "add", "podnet"),
        ("role", "grant-permission", "podnet", "readwrite", "/podnet/", "--prefix"),
        ("user", "add", f"podnet:{PASSWORD}"),
        ("user", "grant-role", "podnet", "podnet"),
        ("auth", "enable"),
    ):
        own_etcd.ctl(*command)
    own_etcd.ctl_options = ("--user", "root:top")
    return own_etcd


def test_a_run_writes_to_etcd_and_tells_the_password_to_nobody(project: Project, secured: Etcd) -> None:
    ledger = {"store": "etcd", "endpoints": [secured.url], "username": "podnet"}
    project.inventory(NODES, podnet_ledger=ledger, podnet_ledger_password=PASSWORD)
    playbook = project.play()

    foreseen = project.run(playbook, "--check", "--diff", "-vvvv")
    assert foreseen.status == 0, foreseen.output
    assert '"10.244.0.0/24"' in foreseen.output
    assert secured.found(KEY) is None

    made = project.run(playbook, "--diff", "-vvvv")
    assert made.status == 0, made.output
    blocks = json.loads(secured.ctl("get", KEY, "--print-value-only"))["blocks"]
    assert {block["node"] for block in blocks.values()} == set(NODES)
    assert project.plan()["nodes"]["node1"]["blocks"][0]["cidr"] == "10.244.0.0/24"
    assert project.plan()["ledger"] == f"etcd {secured.url} {KEY}"

    again = project.run(playbook, "-vvvv")
    assert again.status == 0, again.output
    assert set(again.changed.values()) == {0}

    project.inventory(NODES, podnet_ledger=ledger, podnet_ledger_password=PASSWORD + "!")
    refused = project.run(playbook, "-vvvv")
    assert refused.status != 0
    assert "authentication failed, invalid user ID or password" in refused.output
    shown = "".join(run.output for run in (foreseen, made, again, refused)) + json.dumps(project.plan())
    assert PASSWORD not in shown
    assert not (project.folder / LEDGER_NAME).exists()


def test_an_empty_etcd_beside_a_ledger_in_a_file_stops_the_run(project: Project, etcd: Etcd) -> None:
    project.inventory(NODES)
    assert project.run(project.play()).status == 0
    project.inventory(NODES, podnet_ledger={"store": "etcd", "endpoints": [etcd.url]})
    stopped = project.run(project.play())
    assert stopped.status != 0
    assert f"podnet_ledger.store: found etcd without a ledger, and one in {project.ledger}" in stopped.output
    etcd.ctl("put", KEY, stdin=project.ledger.read_text(encoding="utf-8"))
    moved = project.run(project.play())
    assert (moved.status, set(moved.changed.values())) == (0, {0}), moved.output


def test_a_controller_without_the_library_is_told_which(project: Project, etcd: Etcd) -> None:
    # Found before the installed one, and as good as none.
    (project.folder / "etcd3gw.py").write_text("raise ImportError\n", encoding="utf-8")
    project.inventory(NODES, podnet_ledger={"store": "etcd", "endpoints": [etcd.url]})
    failed = project.run(project.play(), PYTHONPATH=str(project.folder))
    assert failed.status != 0
    assert "Failed to import the required Python library (etcd3gw)" in failed.output
    assert sys.executable in failed.output
