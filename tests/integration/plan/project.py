# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories of hosts that cannot be reached, and real runs of ansible-playbook on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_store, planning

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLECTION = Path(planning.__file__).absolute().parents[2]
RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
SHOW = {
    "name": "Put the plan into a file",
    "ansible.builtin.copy": {"content": "{{ ansible_facts['podnet_plan'] | to_json }}", "dest": "PLAN", "mode": "0600"},
    "delegate_to": "localhost",
    "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
    "run_once": True,
    "check_mode": False,
    "changed_when": False,
}


@dataclass(frozen=True)
class Run:
    """What a run of ansible-playbook left."""

    status: int
    output: str
    changed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A folder with an inventory and a playbook."""

    folder: Path

    @property
    def ledger(self) -> Path:
        """The ledger's path."""
        return self.folder / ledger_store.LEDGER_NAME

    def inventory(self, nodes: dict[str, dict[str, Any]], removed: Sequence[str] = (), **shared: Any) -> None:
        """Write an inventory; a connection to any of its hosts fails at once."""
        # 192.0.2.0/24 is for documentation (RFC 5737), and there is no ssh.
        unreachable = {"ansible_connection": "ssh", "ansible_ssh_executable": "/nonexistent/ssh"}
        gone = {"podnet_removed": {"hosts": dict.fromkeys(removed)}} if removed else {}
        content = {"podnet": {"hosts": nodes}, **gone, "all": {"vars": {**unreachable, **shared}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def play(self, *tasks: dict[str, Any], **keywords: Any) -> Path:
        """Write a playbook that plans, runs the tasks, and puts the plan into a file."""
        plan = {"name": "Plan", "podnet.fabric.plan": {}, "run_once": True}
        show = json.loads(json.dumps(SHOW).replace("PLAN", str(self.folder / "plan.json")))
        play = {"name": "Test", "hosts": "all", "gather_facts": False, "tasks": [plan, *tasks, show], **keywords}
        path = self.folder / "play.yml"
        path.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
        return path

    def plan(self) -> dict[str, Any]:
        """Return the plan that the last play has put into a file."""
        content: dict[str, Any] = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        return content

    def run(self, playbook: Path, *arguments: str, **environment: str) -> Run:
        """Run a playbook on the inventory."""
        command = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert command is not None, "ansible-playbook: install the Python requirements"
        done = subprocess.run(
            [command, "-i", str(self.folder / "hosts.yml"), str(playbook), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]),
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
                **environment,
            },
        )
        changed = {found[1]: int(found[3]) for found in RECAP.finditer(done.stdout)}
        return Run(done.returncode, done.stdout + done.stderr, changed)
