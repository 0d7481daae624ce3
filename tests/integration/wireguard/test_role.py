# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the rotation on two nodes, by Ansible: what they promise, and that no private key leaves its file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ansible_collections.podnet.fabric.tests.integration.lab.conftest import new_lab
from tests.integration.kinds import needs_link_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.podnet.fabric.tests.integration.lab.conftest import Lab

pytestmark = [needs_link_kind("wireguard"), pytest.mark.slow]

__all__ = ["new_lab"]

TOP = Path(__file__).resolve().parents[3]
NODES = ("node1", "node2")
PLAY = """
- hosts: podnet
  gather_facts: false
  any_errors_fatal: true
  roles: [podnet.fabric.wireguard]
"""


class Cluster(NamedTuple):
    """Two nodes on a cable, and all that Ansible has printed and logged about them."""

    lab: Lab
    folder: Path
    printed: list[str]

    def play(self, *arguments: str) -> dict[str, int]:
        """Run a playbook as talkative as it gets; how many tasks changed each node."""
        tools = Path(sys.executable).parent
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"),
            "ANSIBLE_LOG_PATH": str(self.folder / "log"),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{tools}:{os.environ['PATH']}",
        }
        command = [
            str(tools / "ansible-playbook"),
            "-i",
            str(self.folder / "inventory.yml"),
            "-vvv",
            "--diff",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        self.printed.append(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.MULTILINE)
        return {host: int(count) for host, count in recap}

    def run(self, node: str, *argv: str) -> str:
        return self.lab.run(self.lab.name(node), *argv)

    def keys(self) -> dict[tuple[str, str], str]:
        """The private keys, by node and device."""
        found = {}
        for node in NODES:
            for path in self.run(node, "find", "/etc", "-path", "/etc/podnet/wireguard/*").split():
                assert self.run(node, "stat", "-c", "%a %U", path).strip() == "600 root"
                found[node, Path(path).stem] = self.run(node, "cat", path).strip()
        return found


@pytest.fixture(scope="module")
def cluster(new_lab: Callable[[], Lab], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    lab = new_lab()
    lab.present(
        nodes=[{"name": lab.name(node), "hostname": node} for node in NODES],
        links=[
            {
                "node": lab.name("node1"),
                "interface": "eth0",
                "addresses": ["192.0.2.1/24"],
                "peer": {"node": lab.name("node2"), "interface": "eth0", "addresses": ["192.0.2.2/24"]},
            }
        ],
    )
    folder = tmp_path_factory.mktemp("cluster")
    hosts = {node: {"podnet_underlay": {"address": f"192.0.2.{number}"}} for number, node in enumerate(NODES, 1)}
    variables = {
        "ansible_connection": "podnet.fabric.netns",
        "ansible_netns_run_dir": str(lab.run_dir),
        "ansible_netns_prefix": lab.prefix,
        "ansible_python_interpreter": sys.executable,
        "podnet_dataplane": "wireguard",
        "podnet_ledger": {"store": "file", "path": str(folder / "ledger.json")},
    }
    (folder / "inventory.yml").write_text(json.dumps({"podnet": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    (folder / "play.yml").write_text(PLAY, encoding="utf-8")
    return Cluster(lab, folder, [])


def test_check_mode_tells_what_would_be_made_and_makes_nothing(cluster: Cluster) -> None:
    assert min(cluster.play(str(cluster.folder / "play.yml"), "--check").values()) > 0
    assert "public key not known before it is made" in cluster.printed[-1]
    assert cluster.keys() == {}
    assert "podnet-wg" not in cluster.run("node1", "ip", "link")


def test_the_role_makes_a_network_once(cluster: Cluster) -> None:
    play = str(cluster.folder / "play.yml")
    assert min(cluster.play(play).values()) > 0
    first = cluster.keys()
    assert set(first) == {("node1", "podnet-wg"), ("node2", "podnet-wg")}
    _packets_arrive(cluster)
    # A second run changes nothing; and who is not asked in it keeps the key that is known of it.
    assert cluster.play(play, "--limit", "node1") == {"node1": 0}
    assert cluster.keys() == first


def test_a_rotation_gives_every_node_a_new_key_and_takes_the_old_one(cluster: Cluster) -> None:
    before = cluster.keys()
    cluster.play("playbooks/rotate_wireguard_keys.yml")
    after = cluster.keys()
    assert set(after) == {("node1", "podnet-wg2"), ("node2", "podnet-wg2")}
    assert not set(after.values()) & set(before.values())
    assert cluster.run("node1", "wg", "show", "interfaces").split() == ["podnet-wg2"]
    assert cluster.run("node1", "wg", "show", "podnet-wg2", "listen-port").strip() == "51821"
    _packets_arrive(cluster)
    _nothing_tells(cluster, [*before.values(), *after.values()])


def _packets_arrive(cluster: Cluster) -> None:
    for version in ("-4", "-6"):
        routes = json.loads(cluster.run("node1", "ip", "-j", version, "route", "show", "proto", "84"))
        for route in routes:
            cluster.run("node1", "ping", "-c", "1", "-W", "5", str(route["dst"]).partition("/")[0])
        assert routes or version == "-6"


def _nothing_tells(cluster: Cluster, secrets: list[str]) -> None:
    """No private key in what was printed and logged, nor in any file of a node but its own."""
    assert len(set(secrets)) == 4
    told = [*cluster.printed, (cluster.folder / "log").read_text(encoding="utf-8")]
    assert sum(map(len, told)) > 100_000
    for secret in secrets:
        assert not [text for text in told if secret in text]
        for node in NODES:
            words = ["grep", "-rlF", "--", secret, "/etc/podnet", "/run/podnet", "/var/log", "/root/.ansible"]
            holding = cluster.lab.run(cluster.lab.name(node), *words, check=False).split()
            assert [path for path in holding if not path.endswith(".key")] == []
