# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible itself, over the connection plugin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.lab import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.podnet.fabric.tests.integration.lab.conftest import Lab

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]

INVENTORY = """
[all]
alpha
beta

[all:vars]
ansible_connection=podnet.fabric.netns
ansible_netns_run_dir={run_dir}
ansible_netns_prefix={prefix}
ansible_python_interpreter={python}
"""


@pytest.fixture(scope="module")
def nodes(new_lab: Callable[[], Lab]) -> Lab:
    """Two nodes, alpha and beta."""
    lab = new_lab()
    lab.present(nodes=[{"name": lab.name(node), "hostname": node} for node in ("alpha", "beta")])
    return lab


def _ansible(lab: Lab, scratch: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inventory = scratch / "inventory.ini"
    inventory.write_text(
        INVENTORY.format(run_dir=lab.run_dir, prefix=lab.prefix, python=sys.executable), encoding="utf-8"
    )
    tools = Path(sys.executable).parent
    settings = {
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PODNET_TEST_SECRET": "of the controller",
    }
    command = [str(tools / argv[0]), "-i", str(inventory), *argv[1:]]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **settings, **environment}
    )


@pytest.mark.slow
@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_every_kind_of_task_works(nodes: Lab, tmp_path: Path, pipelining: str) -> None:
    (tmp_path / "sent").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "words.j2").write_text("on {{ inventory_hostname }}\n", encoding="utf-8")
    (tmp_path / "script.sh").write_text('#!/bin/sh\necho "$(hostname) $1"\necho "$2"\n', encoding="utf-8")
    done = _ansible(
        nodes,
        tmp_path,
        "ansible-playbook",
        str(HERE / "connection.yml"),
        "-e",
        f"scratch={tmp_path}",
        ANSIBLE_PIPELINING=pipelining,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not Path("/etc/podnet-test").exists()


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_a_node_that_is_not_there_is_told_with_the_cure(nodes: Lab, tmp_path: Path) -> None:
    text = _failure(_ansible(nodes, tmp_path, "ansible", "alpha", "-m", "ping", "-e", "ansible_netns_node=gamma"))
    assert "UNREACHABLE" in text
    assert f"there is no node {nodes.prefix}gamma in {nodes.run_dir}" in text
    assert f"there: {nodes.prefix}alpha, {nodes.prefix}beta" in text
    assert "ansible-playbook playbooks/lab.yml" in text


def test_a_node_that_died_is_told_with_the_cure(lab: Lab, tmp_path: Path) -> None:
    (alpha,) = lab.make("alpha")
    record = lab.record(alpha)
    os.kill(record.pid, signal.SIGKILL)
    while registry.is_alive(record):
        pass
    text = _failure(_ansible(lab, tmp_path, "ansible", "alpha", "-m", "ping"))
    assert "UNREACHABLE" in text
    assert f"node {alpha} is dead or half-made (process {record.pid})" in text
    assert "ansible-playbook playbooks/lab.yml" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-m", "ansible.builtin.copy", "-a", "content=x dest=/proc/nowhere/x"), "nowhere"),
        (("-m", "ansible.builtin.fetch", "-a", "src=/nowhere dest=/tmp/x fail_on_missing=true"), "/nowhere"),
    ],
)
def test_a_transfer_that_fails_names_the_file(
    nodes: Lab, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in _failure(_ansible(nodes, tmp_path, "ansible", "alpha", *arguments))
