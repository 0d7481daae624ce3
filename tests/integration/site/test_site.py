# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The promises of site.yml and teardown.yml on a lab of four nodes and a fifth, by the playbooks themselves.

What is proven by packets is proven by playbooks/verify.yml, which `make lab` and the molecule scenarios run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TOP = Path(__file__).resolve().parents[3]
PICTURE = TOP / "molecule" / "resources" / "files" / "picture.sh"
FOREIGN = TOP / "molecule" / "resources" / "files" / "foreign.sh"
NODES = ["node1", "node2", "node3", "node4"]
FIFTH = ("-i", "inventories/lab-node5/hosts.yml")

FILTERING = "Let only known peers send to the tunnel, and no pod"
# The modules that change nodes, by the name of their task.
DECLARING = {
    "Declare the pools, with outgoing NAT",
    "Declare the blocks of this node",
    "Forward packets",
    "Declare the pod bridge",
    "Let pods through where iptables drops what is forwarded",
    FILTERING,
    "Declare the tunnel to all peers",
    "Declare the network for container runtimes",
    "Have the node bring its pod network back after a reboot",
}


class Run(NamedTuple):
    """What a playbook printed, and each task's results by (task, host)."""

    status: int
    output: str
    results: dict[tuple[str, str], dict[str, Any]]

    def changed(self) -> dict[str, int]:
        """How many tasks changed each host, by the recap."""
        return {
            host: int(count)
            for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.output, re.MULTILINE)
        }

    def declared(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The results of the tasks that declare."""
        return {(task, host): result for (task, host), result in self.results.items() if task in DECLARING}


class Site(NamedTuple):
    """A lab of its own with a ledger of its own."""

    prefix: str
    folder: Path

    def play(self, playbook: str, *arguments: str, check: bool = True) -> Run:
        """Run a playbook on the lab."""
        answers = self.folder / "results"
        answers.unlink(missing_ok=True)
        ledger = {"podnet_ledger": {"store": "file", "path": str(self.folder / "ledger.json")}}
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": f"{TOP / 'tests/callback'}:{Path(__file__).parent / 'callback'}",
            "ANSIBLE_CALLBACKS_ENABLED": "packed,results",
            "PODNET_TEST_RESULTS": str(answers),
        }
        command = ["ansible-playbook", "-i", "inventories/lab/hosts.yml", f"playbooks/{playbook}.yml"]
        command += [
            "-e",
            f"lab_prefix={self.prefix}",
            "-e",
            json.dumps(ledger),
            "-e",
            "podnet_verify=false",
            # A way back costs every node two modules more in each run; test_way_back.py is about it.
            "-e",
            "podnet_rollback=false",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        lines = answers.read_text(encoding="utf-8").splitlines() if answers.exists() else []
        entries = [json.loads(line) for line in lines]
        results = {(entry["task"].rpartition(" : ")[2], entry["host"]): entry["result"] for entry in entries}
        assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr
        return Run(done.returncode, done.stdout + done.stderr, results)

    def process(self, node: str) -> int:
        """The process that holds a node's namespaces."""
        record = json.loads(Path(f"/run/podnet-lab/{self.prefix}{node}.json").read_text(encoding="utf-8"))
        return int(record["pid"])

    def inside(self, node: str, *argv: str) -> str:
        """Run a command in a node."""
        entering = ["nsenter", "--target", str(self.process(node)), "--all", "--", *argv]
        return subprocess.run(entering, capture_output=True, text=True, check=True, timeout=60).stdout

    def pictures(self, *nodes: str) -> dict[str, list[str]]:
        """Everything that a pod network could change on the nodes."""
        return {
            node: self.inside(node, "sh", "-c", f"sh {PICTURE} /root/picture; cat /root/picture").splitlines()
            for node in nodes or NODES
        }


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, tuple[list[str], list[str]]]:
    """What is gone and what is new, by node."""
    return {
        node: (sorted(set(before[node]) - set(after[node])), sorted(set(after[node]) - set(before[node])))
        for node in before
        # The kernel lists devices in the order of their indices, which a device made anew cannot keep.
        if sorted(before[node]) != sorted(after[node])
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = Site(f"s{os.getpid() % 100000}-", tmp_path_factory.mktemp("site"))
    try:
        lab.play("lab")
        for node in NODES:
            lab.inside(node, "sh", str(FOREIGN))
            # The kernel tries its own link-local addresses for a second; until then no picture is the last word.
            wait = "for _ in $(seq 100); do ip -6 address show tentative | grep -q . || exit 0; sleep 0.1; done; exit 1"
            lab.inside(node, "sh", "-c", wait)
        yield lab
    finally:
        lab.play("lab", *FIFTH, "-e", "lab_state=absent", check=False)


def test_from_nothing_to_a_network_and_back(site: Site) -> None:
    empty = site.pictures()

    # What is going to happen is shown, and nothing happens.
    predicted = site.play("site", "--check", "--diff")
    assert differences(empty, site.pictures()) == {}
    assert not (site.folder / "ledger.json").exists()
    for shown in (
        r"\+links: podnet0 type bridge",
        r"\+links: podnet-vx type vxlan",
        r"\+addresses: 10\.244\.0\.1/24 dev podnet0",
        r"\+neighbours: 10\.244\.3\.0 lladdr",
        r"\+neighbours: fe80::[0-9a-f:]+ lladdr",
        r"\+fdb: [0-9a-f:]+ dst 192\.168\.102\.14 dev podnet-vx self permanent",
        r"\+nexthops: \d+ via fe80::[0-9a-f:]+ dev podnet-vx onlink",
        r"\+routes: 10\.244\.3\.0/24 nhid",
        r"\+routes: fd00:10:244:3::/64 nhid",
        r"\+routes: 10\.244\.0\.0/24 type blackhole",
        r"\+nftables: chain nat-postrouting",
        r"\+net\.ipv4\.ip_forward = 1",
        r"\+files: /etc/cni/net\.d/10-podnet\.conflist",
    ):
        assert re.search(shown, predicted.output), f"--check --diff does not show {shown}"

    # What was predicted is what is there.
    real = site.play("site")
    assert predicted.declared().keys() == real.declared().keys()
    assert len(real.declared()) == len(DECLARING) * len(NODES)
    for key, result in real.declared().items():
        assert predicted.declared()[key]["after"] == result["after"], key
        assert predicted.declared()[key]["before"] == result["before"], key
        assert predicted.declared()[key]["operations"] == result["operations"], key
        assert result["changed"], key

    # A second run has nothing to do.
    again = site.play("site")
    assert again.changed() == dict.fromkeys(NODES, 0)
    four = site.pictures()

    # A fifth node is one entry of each sort and family to each other one.
    site.play("lab", *FIFTH)
    joined = site.play("site", *FIFTH)
    for node in NODES:
        changes = {
            task: result for (task, host), result in joined.declared().items() if host == node and result["changed"]
        }
        assert list(changes) == [FILTERING, "Declare the tunnel to all peers"], node
        assert changes[FILTERING]["operations"] == {"nftables": {"replace": 2}}
        assert changes["Declare the tunnel to all peers"]["operations"] == {
            "neighbours": {"create": 2},
            "fdb": {"create": 1},
            "nexthops": {"create": 2},
            "routes": {"create": 2},
        }
    new = differences(four, site.pictures())
    kinds = [line.split(":")[0] for line in new["node1"][1] if "/etc/podnet/node.d/" not in line]
    # `nft` prints the elements of a set over as many lines as they take.
    assert "nft" in kinds
    kinds = [kind for kind in kinds if kind != "nft"]
    assert sorted(kinds) == ["fdb", "neighbour", "neighbour", "nexthop", "nexthop", "route", "route"]

    # Without it the others are as they were, and its blocks rest.
    left = site.play("site")
    assert left.changed()["node2"] == 2
    assert differences(four, site.pictures()) == {}
    resting = [
        line for line in (site.folder / "ledger.json").read_text(encoding="utf-8").splitlines() if "node5" in line
    ]
    assert len(resting) == 2
    assert all("released" in line for line in resting), resting

    # The pods of one's own go with the network; the ledger keeps the blocks.
    pod = '{"pods": [{"name": "web", "netns": "web"}]}'
    attached = subprocess.run(
        ["ansible", "node1", "-i", "inventories/lab/hosts.yml", "-e", f"lab_prefix={site.prefix}",
         "-m", "podnet.fabric.pod", "-a", pod],
        cwd=TOP, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert attached.returncode == 0, attached.stdout
    gone = site.play("teardown", "--check", "--diff")
    assert re.search(r"-links: podnet-vx", gone.output)
    site.play("teardown")
    assert differences(empty, site.pictures()) == {}
    assert site.play("teardown").changed() == dict.fromkeys(NODES, 0)


def test_other_names_leave_nothing_of_the_former_ones(site: Site) -> None:
    two = NODES[:2]  # the others have nothing to add
    limit = ("--limit", ",".join(two))
    empty = site.pictures(*two)
    site.play("site", *limit)
    former = site.pictures(*two)
    names = json.dumps({"podnet_bridge_name": "pods", "podnet_vxlan_device": "tunnel", "podnet_cni_network": "another"})
    foretold = site.play("site", *limit, "--check", "-e", names)
    renamed = site.play("site", *limit, "-e", names)
    for key, result in renamed.declared().items():
        assert foretold.declared()[key]["after"] == result["after"], key
    shown = site.inside("node1", "ip", "-br", "link") + site.inside("node1", "ls", "/etc/cni/net.d")
    assert [word for word in ("podnet0", "podnet-vx", "10-podnet.conflist") if word in shown] == []
    assert site.play("site", *limit, "-e", names).changed() == dict.fromkeys(two, 0)
    site.play("site", *limit)
    assert differences(former, site.pictures(*two)) == {}
    site.play("teardown", *limit)
    assert differences(empty, site.pictures(*two)) == {}


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            '{"podnet_vxlan_vni": 16777216, "podnet_vxlan_devise": "x", "podnet_bridge_name": "a-name-of-16-byt", '
            '"podnet_pools": [{"name": "a", "cidr": "10.0.0.0/8", "block_size": 24}, '
            '{"name": "b", "cidr": "10.9.0.0/16", "block_size": 24}]}',
            [
                "podnet_vxlan_vni: ",
                "podnet_vxlan_devise: ",
                "podnet_vxlan_device",
                "podnet_bridge_name: ",
                "podnet_pools[1].cidr: ",
            ],
        ),
        ('{"podnet_mtu": 1451}', ["1451", "1450"]),
        ('{"podnet_cni_plugins": [{"type": "nonsense"}]}', ["nonsense"]),
        ('{"podnet_underlay": {"interface": "eth9"}}', ["podnet_underlay.address", "node1"]),
    ],
    ids=["inventory", "MTU", "CNI plugin", "underlay"],
)
def test_bad_input_is_refused_as_a_whole(site: Site, arguments: str, messages: list[str]) -> None:
    before = site.pictures()
    refused = site.play("site", "-e", arguments, check=False)
    assert refused.status != 0
    missing = [message for message in messages if message not in refused.output]
    assert not missing, refused.output[-4000:]
    assert "Traceback" not in refused.output
    assert differences(before, site.pictures()) == {}
