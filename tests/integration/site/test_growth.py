# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose block is full gets a second one by itself, on a lab of three nodes; its pods notice nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from .test_site import TOP, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = ("node1", "node2", "node3")
LIMIT = ("--limit", ",".join(NODES))
# Room for five pods in an IPv4 block and for six in an IPv6 one, of eight addresses each. The second block of IPv4 is
# reserved, so what node1 gets first and what it gets later are not side by side.
POOLS = [
    {"name": "four", "cidr": "10.244.0.0/24", "block_size": 29, "reserved": ["10.244.0.8/30"]},
    {"name": "six", "cidr": "fd00:10:244::/120", "block_size": 125},
]
# With five pods four fifths of both families are taken.
POOLED = ("-e", json.dumps({"podnet_pools": POOLS, "podnet_growth": {"full": 80}}))
ROOM = 5
# The outside of inventories/lab: beyond the pod network, reached with the node's address.
OUTSIDE = ("203.0.113.2", "2001:db8:113::2")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = Site(f"g{os.getpid() % 100000}-", tmp_path_factory.mktemp("site"))
    hosts = ("-e", f"lab_hosts=router,outside,{','.join(NODES)}")
    try:
        lab.play("lab", *hosts)
        lab.play("site", *LIMIT, *POOLED)
        yield lab
    finally:
        lab.play("lab", *hosts, "-e", "lab_state=absent", check=False)


def attach(site: Site, node: str, *names: str) -> dict[str, Any]:
    """Attach pods with the module; return its answer."""
    pods = json.dumps({"pods": [{"name": name, "netns": name} for name in names]})
    command = ["ansible", node, "-i", "inventories/lab/hosts.yml", "-e", f"lab_prefix={site.prefix}", "-o"]
    command += ["-m", "podnet.fabric.pod", "-a", pods]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"=> (\{.*\})", done.stdout)
    assert found, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(found[1])
    return answer


def addresses(answer: dict[str, Any]) -> list[str]:
    """The addresses of the pods, without prefix lengths."""
    assert "pods" in answer, answer
    return [address.partition("/")[0] for pod in answer["pods"] for address in pod["addresses"]]


def ping(site: Site, node: str, pod: str, *targets: str) -> None:
    """A pod reaches addresses, each with one packet of two at least: the first may wait for a neighbour."""
    for target in targets:
        site.inside(node, "ip", "netns", "exec", pod, "ping", "-c", "2", "-i", "0.2", "-W", "2", target)


def test_a_full_node_gets_a_second_block(site: Site) -> None:
    first = addresses(attach(site, "node1", *(f"p{number}" for number in range(ROOM))))
    far = addresses(attach(site, "node3", "far"))
    near = addresses(attach(site, "node2", "near"))
    assert {address for address in first if ":" not in address} == {f"10.244.0.{host}" for host in range(2, 7)}
    assert near[0] == "10.244.0.18", "node2 has the block that is reserved"

    # It is full; the playbook ipam tells so, and what to do.
    refused = attach(site, "node1", "p5")
    assert "no IP addresses available" in json.dumps(refused)
    report = site.play("ipam", *LIMIT, *POOLED).output
    assert "node1: its IPv4 blocks are full; site.yml gives it one more within podnet_growth" in report
    assert "node2: its" not in report
    assert re.search(r"four +10\.244\.0\.0/24 +/29 +4 of 32 +0 +1 +27 +yes", report)

    before = site.inside("node1", "sh", "-c", "for p in p0 p1 p2 p3 p4; do ip -n $p address show eth0; done")
    watching = subprocess.Popen(
        [
            *("nsenter", "--target", str(site.process("node3")), "--all", "--"),
            *("ip", "netns", "exec", "far", "ping", "-i", "0.1", "-w", "120", "-q", first[0]),
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # The operator gives node3 a block by name; node1 gets one since its pods hold all that it has.
        named = site.folder / "named.yml"
        hosts = {"node3": {"podnet_node_blocks": ["10.244.0.64/29"]}}
        named.write_text(yaml.safe_dump({"podnet": {"hosts": hosts}}), encoding="utf-8")
        growing = ("-i", str(named), *LIMIT, *POOLED)
        told = site.play("site", "--check", "--diff", *growing).output
        assert re.search(r'\+ +"10\.244\.0\.40/29": \{"pool": "four", "node": "node1", "order": 1\}', told)
        assert "10.244.0.40/29" not in (site.folder / "ledger.json").read_text(encoding="utf-8")
        site.play("site", *growing)
        assert site.play("site", *growing).changed() == dict.fromkeys(NODES, 0)
    finally:
        os.killpg(watching.pid, signal.SIGINT)  # nsenter and, below it, ping
        told = watching.communicate(timeout=60)[0]
    sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", told)[0])
    assert sent > 20
    assert sent - received <= 1, told  # the one that was on its way when ping was told to end
    assert site.inside("node1", "sh", "-c", "for p in p0 p1 p2 p3 p4; do ip -n $p address show eth0; done") == before

    more = addresses(attach(site, "node1", "p5", "p6"))
    ledger = json.loads((site.folder / "ledger.json").read_text(encoding="utf-8"))["blocks"]
    second = next(cidr for cidr, block in ledger.items() if block["node"] == "node1" and block["order"] == 1)
    assert second == "10.244.0.40/29"
    assert [address for address in more if ":" not in address] == ["10.244.0.42", "10.244.0.43"]

    # Peers reach the new pods in their second block and are reached, the old pods too, and so is the outside.
    ping(site, "node3", "far", *more, *first)
    ping(site, "node2", "near", *more)
    ping(site, "node1", "p5", *far, *near, *first, *OUTSIDE)
    ping(site, "node1", "p0", *more)
    routes = site.inside("node1", "ip", "route", "show")
    assert "blackhole 10.244.0.40/29" in routes
    assert "\n10.244.0.64/29 " in routes
    assert "blackhole 10.244.0.64/29" in site.inside("node3", "ip", "route", "show")
