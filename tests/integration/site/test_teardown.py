# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""teardown.yml while a container runtime still has pods on the network: two nodes of a lab, and one that is gone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
CONFLIST = "/etc/cni/net.d/10-podnet.conflist"
CONTAINER = "0e" * 32
# What host-local writes for a container of podman.
ATTACH = f"mkdir -p /run/podnet/ipam/podnet && printf '{CONTAINER}\\r\\neth0' >/run/podnet/ipam/podnet/10.244.0.2"
NETWORK = json.dumps({"bridge": "podnet0", "blocks": [{"cidr": "10.244.0.0/24", "gateway": "10.244.0.1"}]})


class Lab:
    """node1 and node2, of which node3 is missing."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One of ansible's commands on the lab."""
        argv = [command[0], "-i", "inventories/lab/hosts.yml", "-e", f"lab_prefix={self.prefix}", *command[1:]]
        return subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False, timeout=120)

    def teardown(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The playbook."""
        return self.run("ansible-playbook", "playbooks/teardown.yml", "--limit", "node1,node2,node3", *arguments)

    def declare(self) -> None:
        """A network for container runtimes on both nodes, and a container on the first."""
        done = self.run("ansible", "node1,node2", "-m", "podnet.fabric.cni_network", "-a", NETWORK)
        assert done.returncode == 0, done.stdout + done.stderr
        self.inside("node1", ATTACH)

    def inside(self, node: str, script: str) -> str:
        """What a shell in a node prints."""
        record = json.loads(Path(f"/run/podnet-lab/{self.prefix}{node}.json").read_text(encoding="utf-8"))
        argv = ["nsenter", "--target", str(record["pid"]), "--all", "--", "sh", "-c", script]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(f"t{os.getpid() % 100000}-")
    hosts = ("-e", "lab_hosts=router,node1,node2")
    try:
        up = made.run("ansible-playbook", "playbooks/lab.yml", *hosts)
        assert up.returncode == 0, up.stdout + up.stderr
        yield made
    finally:
        made.run("ansible-playbook", "playbooks/lab.yml", *hosts, "-e", "lab_state=absent")


def test_a_container_on_one_node_keeps_the_network_on_all(lab: Lab) -> None:
    lab.declare()
    refused = lab.teardown()
    assert refused.returncode != 0
    for part in (f"({CONTAINER[:12]}: 10.244.0.2)", "Nothing was removed from any node, because of node1:"):
        assert part in refused.stdout + refused.stderr
    for node in ("node1", "node2"):
        assert CONFLIST in lab.inside(node, f"ls {CONFLIST}")
    lab.inside("node1", "rm /run/podnet/ipam/podnet/10.244.0.2")
    # A node that does not answer is none that refuses.
    done = lab.teardown()
    assert "node3" in done.stdout
    for node in ("node1", "node2"):
        assert lab.inside(node, f"ls -d {CONFLIST} /run/podnet /etc/podnet 2>/dev/null || true") == "", done.stdout


def test_force_removes_it_under_a_container(lab: Lab) -> None:
    lab.declare()
    lab.teardown("-e", "podnet_teardown_force=true")
    for node in ("node1", "node2"):
        assert lab.inside(node, f"ls -d {CONFLIST} /run/podnet /etc/podnet 2>/dev/null || true") == ""
