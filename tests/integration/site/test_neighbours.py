# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml on nodes full of neighbours: Docker's FORWARD, what flannel and Calico leave, a mix of iptables flavours.

Packets prove that pods get through; the picture of the whole host before and after, that ours is all that changed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .test_site import FOREIGN, Run, Site, differences

NODES = ("node1", "node2")
LIMIT = ("--limit", ",".join(NODES))
VERIFY = ("-e", "podnet_verify=true")
NEIGHBOURS = Path(__file__).parent / "neighbours.sh"
needs_firewalld = pytest.mark.skipif(shutil.which("firewalld") is None, reason="firewalld is not installed here")


def pictures(site: Site) -> dict[str, list[str]]:
    """Both nodes, but for what firewalld and D-Bus keep for themselves."""
    return {
        node: [line for line in lines if not re.search(r"/run/(dbus|firewalld)|/var/lib/dbus", line)]
        for node, lines in site.pictures(*NODES).items()
    }


def findings(run: Run, node: str, severity: str) -> list[dict[str, Any]]:
    """What preflight has found."""
    facts = run.results["Look at the node", node]["ansible_facts"]["podnet_node"]
    return [finding for finding in facts["findings"] if finding["severity"] == severity]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = Site(f"n{os.getpid() % 100000}-", tmp_path_factory.mktemp("neighbours"))
    hosts = ("-e", "lab_hosts=router,outside,node1,node2")
    try:
        lab.play("lab", *hosts)
        for node in NODES:
            lab.inside(node, "sh", str(FOREIGN))
            lab.inside(node, "sh", str(NEIGHBOURS), "docker")
        lab.inside("node2", "sh", str(NEIGHBOURS), "calico")
        yield lab
    finally:
        lab.play("lab", *hosts, "-e", "lab_state=absent", check=False)


def test_nodes_full_of_neighbours(site: Site) -> None:
    # flannel's addresses, route and CNI configuration are in our way: nothing happens, and all of it is told.
    site.inside("node1", "sh", str(NEIGHBOURS), "flannel")
    full = pictures(site)
    refused = site.play("site", *LIMIT, check=False)
    assert refused.status != 0
    assert differences(full, pictures(site)) == {}
    errors = "\n".join(finding["found"] for finding in findings(refused, "node1", "error"))
    for named in (
        "10.244.0.1/24 on cni0 overlaps the pool 10.244.0.0/16",
        "10.244.1.0/24 dev flannel.1 proto 3",
        "10-flannel.conflist in /etc/cni/net.d",
    ):
        assert named in errors
    assert findings(refused, "node2", "error") == []
    warnings = [finding["found"] for finding in findings(refused, "node2", "warning")]
    assert any(found.startswith("traces of Calico: device vxlan.calico") for found in warnings), warnings
    assert "rules in iptables-legacy and in iptables-nft" in warnings

    # Its cure is a line for a shell, and takes all of it off.
    (cure,) = [each["cure"] for each in findings(refused, "node1", "warning") if "flannel" in each["found"]]
    site.inside("node1", "sh", "-c", cure.partition(": ")[2])
    empty = pictures(site)
    assert [line for line in empty["node1"] if re.search("flannel|cni0", line, re.IGNORECASE)] == []

    # Pods get through what drops, and nobody else's rule is touched.
    site.play("site", *LIMIT, *VERIFY)
    whole = pictures(site)
    for node, (gone, new) in differences(empty, whole).items():
        rules = [line for line in new if re.match("ip6?tables", line)]
        assert len(rules) == 10, rules
        assert [line for line in rules if "PODNET-FORWARD" not in line] == [], node
        assert [line for line in gone if re.match("ip6?tables", line)] == [], node

    # `nft flush ruleset` takes what iptables-nft has along: ours is missed by name, and so is the way through a Docker
    # that is started again; what is bridged and routed goes on meanwhile, outgoing NAT and the filters do not.
    site.inside("node2", "nft", "flush", "ruleset")
    site.inside("node2", "sh", str(NEIGHBOURS), "docker")
    drifted = site.play("status", *LIMIT, check=False)
    assert drifted.status != 0
    assert "node1: as declared" in drifted.output
    assert re.search(r"node2: \d+ differences", drifted.output)
    for missing in ("chain nat-postrouting: missing", "chain tunnel-input: missing", "chain PODNET-FORWARD: missing"):
        assert missing in drifted.output
    healed = site.play("site", *LIMIT, *VERIFY)
    assert healed.changed()["node1"] == 0
    assert healed.changed()["node2"] > 0

    site.play("teardown", *LIMIT)
    left = pictures(site)
    assert differences({"node1": empty["node1"]}, {"node1": left["node1"]}) == {}
    # The flush was not ours, and took the rules of the neighbours; nothing of ours is left.
    gone, new = differences({"node2": empty["node2"]}, {"node2": left["node2"]}).get("node2", ([], []))
    assert [line for line in gone if not re.match("nft|ip6?tables", line)] == []
    assert [line for line in new if re.search("podnet", line, re.IGNORECASE)] == []


@needs_firewalld
def test_firewalld_is_opened_by_its_cure_and_reloads(site: Site) -> None:
    for node in NODES:
        site.inside(node, "sh", str(NEIGHBOURS), "firewalld")
    warned = site.play("site", *LIMIT)
    for node in NODES:
        (cure,) = [each["cure"] for each in findings(warned, node, "warning") if each["check"] == "managers"]
        site.inside(node, "sh", "-ec", cure)
    # When it starts and when it reloads, firewalld empties iptables' chains, ours and those of others, and leaves the
    # policy, which drops. Our table is none of its business.
    lost = "forward_accept: iptables iptables-nft chain PODNET-FORWARD: missing"
    drifted = site.play("status", *LIMIT, check=False)
    assert drifted.output.count(lost) == len(NODES)
    assert set(re.findall(r"^ *\"  (\w+): ", drifted.output, re.MULTILINE)) == {"forward_accept"}
    opened = site.play("site", *LIMIT, *VERIFY)
    assert opened.changed() == dict.fromkeys(NODES, 1)
    for node in NODES:
        assert [each for each in findings(opened, node, "warning") if each["check"] == "managers"] == []
