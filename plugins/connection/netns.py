# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manages a node that is made out of namespaces of this machine."""

from __future__ import annotations

DOCUMENTATION = r"""
name: netns
short_description: Manage nodes made out of namespaces
version_added: "0.1.0"
description:
  - Runs tasks in a node that M(podnet.fabric.netns_node) made on this machine, with all of its namespaces entered.
  - A program in a node gets the environment of a fresh login, not that of the controller.
  - Ansible has to run as root.
author:
  - podnet.fabric authors (@podnet)
extends_documentation_fragment:
  - connection_pipelining
options:
  node:
    description: Name of the node, without O(prefix).
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: delegated_vars['ansible_host']
      - name: ansible_netns_node
  prefix:
    description:
      - Put before O(node). With prefixes that differ several labs of one inventory live on one machine.
      - It is an option of its own, because an C(ansible_host) that is made of C(inventory_hostname) leads to the wrong
        host under C(delegate_to).
    type: str
    default: ""
    vars:
      - name: lab_prefix
      - name: ansible_netns_prefix
  run_dir:
    description: Folder with the records of the nodes.
    type: path
    default: /run/podnet-lab
    ini:
      - section: netns_connection
        key: run_dir
    env:
      - name: PODNET_LAB_RUN_DIR
    vars:
      - name: ansible_netns_run_dir
  executable:
    description: Shell that runs the commands in the node.
    type: path
    default: /bin/sh
    ini:
      - section: defaults
        key: executable
    env:
      - name: ANSIBLE_EXECUTABLE
    vars:
      - name: ansible_executable
  become_success_timeout:
    description: Seconds to wait for a change of user to succeed. The default is used when the value is less than 1.
    type: int
    default: 10
    vars:
      - name: ansible_netns_become_success_timeout
  become_strip_preamble:
    description: Whether to drop what the change of user printed before the command ran. Turn it off to see it.
    type: bool
    default: true
    vars:
      - name: ansible_netns_become_strip_preamble
notes:
  - A node has no login, so C(ansible_user) is not used. Tasks run as root, or by C(become) as somebody else.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import BinaryIO

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection.local import Connection as LocalConnection
from ansible.utils.display import Display

from ansible_collections.podnet.fabric.plugins.module_utils.lab import registry

display = Display()

LOGIN = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


class Connection(LocalConnection):
    """The local connection, one step further in."""

    transport = "podnet.fabric.netns"
    has_pipelining = True

    def _node(self) -> str:
        return f"{self.get_option('prefix')}{self.get_option('node')}"

    def _find(self) -> registry.Record:
        """Look the node up anew each time: a task may have remade it."""
        name, run_dir = self._node(), Path(self.get_option("run_dir"))
        if os.geteuid() != 0:
            raise AnsibleConnectionFailure(f"node {name}: only root enters namespaces. Run ansible as root.")
        record = registry.read(run_dir, name)
        make_it = "make the lab with: ansible-playbook playbooks/lab.yml (with the same lab_prefix, if you set one)"
        if record is None:
            there = ", ".join(registry.names(run_dir)) or "none"
            raise AnsibleConnectionFailure(f"there is no node {name} in {run_dir} (there: {there}); {make_it}")
        if not record.ready or not registry.is_alive(record):
            raise AnsibleConnectionFailure(f"node {name} is dead or half-made (process {record.pid}); {make_it}")
        return record

    def _enter(self, *argv: str) -> list[str]:
        """Write the command that runs ``argv`` in the node."""
        environment = [f"{name}={value}" for name, value in LOGIN.items()]
        return ["nsenter", "--target", str(self._find().pid), "--all", "--", "/usr/bin/env", "-i", *environment, *argv]

    def _connect(self) -> Connection:
        self._find()
        super()._connect()
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the node."""
        # The local connection starts a shell of this machine; it becomes nsenter at once.
        entering = shlex.join(["exec", *self._enter(str(self.get_option("executable")), "-c", cmd)])
        return super().exec_command(entering, in_data=in_data, sudoable=sudoable)

    def _transfer(self, argv: list[str], what: str, *, source: BinaryIO | int, sink: BinaryIO | int) -> None:
        done = subprocess.run(self._enter(*argv), stdin=source, stdout=sink, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()
            raise AnsibleError(f"node {self._node()}: {what} failed: {words or f'exit status {done.returncode}'}")

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of this machine into the node."""
        display.vvv(f"PUT {in_path} TO {out_path}", host=self._node())
        if not Path(in_path).exists():
            raise AnsibleFileNotFound(f"file or module does not exist: {in_path}")
        with Path(in_path).open("rb") as source:
            # Through a process and not /proc/PID/root: absolute links have to be followed inside the node.
            argv = ["/bin/sh", "-c", 'cat > "$1"', "sh", out_path]
            self._transfer(argv, f"writing {out_path}", source=source, sink=subprocess.DEVNULL)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the node to this machine."""
        display.vvv(f"FETCH {in_path} TO {out_path}", host=self._node())
        with Path(out_path).open("wb") as sink:
            self._transfer(["cat", "--", in_path], f"reading {in_path}", source=subprocess.DEVNULL, sink=sink)
