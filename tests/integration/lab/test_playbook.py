# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/lab.yml with the inventories that the repository brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.lab import registry

REPOSITORY = Path(__file__).resolve().parents[3]
RUN_DIR = Path(registry.RUN_DIR)
NODES = ("node1", "node2", "node3", "node4", "router", "outside")

pytestmark = pytest.mark.slow


class Playbook:
    """Runs lab.yml for a lab with a prefix of its own."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def run(self, *arguments: str, inventories: tuple[str, ...] = ("lab",)) -> str:
        """Run it, and give what it printed."""
        tools = Path(sys.executable).parent
        sources = [word for name in inventories for word in ("-i", f"inventories/{name}/hosts.yml")]
        return self._call(
            [
                str(tools / "ansible-playbook"),
                *sources,
                "playbooks/lab.yml",
                "-e",
                f"lab_prefix={self.prefix}",
                *arguments,
            ]
        )

    def changed(self, *arguments: str, inventories: tuple[str, ...] = ("lab",)) -> bool:
        """Run it, and say whether it changed anything."""
        return "changed=0" not in self.run(*arguments, inventories=inventories)

    def there(self) -> list[str]:
        """List the nodes that are there, without the prefix."""
        return [name.removeprefix(self.prefix) for name in registry.names(RUN_DIR) if name.startswith(self.prefix)]

    def inside(self, node: str, *argv: str) -> str:
        """Run a command in a node, and give what it printed."""
        record = registry.read(RUN_DIR, self.prefix + node)
        assert record is not None
        return self._call(["nsenter", "--target", str(record.pid), "--all", "--", *argv])

    def _call(self, argv: list[str]) -> str:
        environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def playbook() -> Iterator[Playbook]:
    """A lab that is removed afterwards, whatever became of it."""
    lab = Playbook(f"pt{os.getpid()}-")
    yield lab
    lab.run("-e", "lab_state=absent", inventories=("lab", "lab-node5"))
    assert lab.there() == []


def test_the_lab_is_made_completed_and_removed(playbook: Playbook) -> None:
    predicted = playbook.run("--check", "--diff")
    assert re.search(rf'\+ +"{playbook.prefix}node1"', predicted)
    assert playbook.there() == []

    made = playbook.run()
    assert sorted(playbook.there()) == sorted(NODES)
    assert all(f"{playbook.prefix}{node} is up" in made for node in NODES)
    assert not playbook.changed()

    # One subnet, across the router, outside, in both families.
    for address in ("192.168.101.12", "192.168.102.13", "203.0.113.2", "fd00:102::14", "2001:db8:113::2"):
        assert ", 0% packet loss" in playbook.inside("node1", "ping", "-c1", "-W2", address)
    assert "default" not in playbook.inside("outside", "ip", "route")

    assert playbook.changed(inventories=("lab", "lab-node5"))
    assert "node5" in playbook.there()
    assert ", 0% packet loss" in playbook.inside("node5", "ping", "-c1", "-W2", "192.168.101.11")
    assert playbook.changed("-e", "lab_state=absent", "-e", "lab_hosts=node5", inventories=("lab", "lab-node5"))
    assert sorted(playbook.there()) == sorted(NODES)
    assert not playbook.changed()
