# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drained node: no new pods, and none of those that are there is harmed."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import PLUGINS, Failed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.cni.node import Node

PATH = "/etc/cni/net.d/10-podnet.conflist"

# As a container runtime does it, which knows nothing of us: the list as it stands in the file, now.
RUNTIME = """
import json, os, subprocess, sys
verb, container, path = sys.argv[1:]
conflist = json.load(open(path))
(plugin,) = conflist["plugins"]
plugin.update(name=conflist["name"], cniVersion=conflist["cniVersion"])
where = {"CNI_PATH": "/usr/lib/cni", "CNI_NETNS": f"/run/netns/{container}", "CNI_IFNAME": "eth0"}
done = subprocess.run(["/usr/lib/cni/bridge"], input=json.dumps(plugin), capture_output=True, text=True,
                      env={**os.environ, **where, "CNI_COMMAND": verb, "CNI_CONTAINERID": container})
print(json.dumps({"status": done.returncode, "answer": done.stdout}))
"""


def runtime(node: Node, verb: str, container: str) -> dict[str, Any]:
    """Another runtime attaches or detaches a container."""
    assert (PLUGINS / "bridge").exists()
    answer: dict[str, Any] = json.loads(node.run(sys.executable, "-c", RUNTIME, verb, container, PATH))
    return answer


def test_no_new_pod_gets_an_address_and_those_that_are_there_go_on(node: Node) -> None:
    node.network()
    node.pods("web")
    node.run("ip", "netns", "add", "alien")
    assert runtime(node, "ADD", "alien")["status"] == 0
    undrained = node.read(PATH)

    predicted = node.module("drain", check=True)
    assert node.read(PATH) == undrained
    drained = node.module("drain")
    assert (predicted["changed"], predicted["after"]) == (True, drained["after"])
    assert drained["pods"] == [
        {"network": "podnet", "name": "default/web", "addresses": ["10.244.3.2", "fd00:10:244:3::2"]},
        {"network": "podnet", "name": "alien", "addresses": ["10.244.3.3", "fd00:10:244:3::3"]},
    ]
    assert not node.module("drain")["changed"]
    drift = node.module("drift_info")
    assert (drift["differences"], drift["problems"]) == ([], [])

    # Nobody gets in, and nothing of the attempts is left.
    before = node.taken()
    with pytest.raises(Failed, match=r"network podnet: this node is drained and takes no new pods"):
        node.pods("late")
    node.run("ip", "netns", "add", "other")
    refused = runtime(node, "ADD", "other")
    assert refused["status"] != 0
    assert "no IP addresses available in range set: 10.244.3.1-10.244.3.1" in refused["answer"]
    assert runtime(node, "DEL", "other")["status"] == 0
    assert node.taken() == before

    # Who is there is examined, without a word of a changed network, and reaches the others.
    again = node.pods("web")
    assert (again["changed"], again.get("warnings")) == (False, None)
    assert node.reach("web", "alien", "10.244.3.3") == "10.244.3.2"
    # A run of site.yml keeps it, also under another name of the network.
    assert not node.network()["changed"]
    another = node.network(name="another")["after"]["files"]
    assert [file["text"].count("rangeStart") for file in another] == [2, 2]
    node.module("cni_network", name="another", state="absent")

    # And each of them can go.
    assert runtime(node, "DEL", "alien")["status"] == 0
    assert node.pods("web", state="absent")["changed"]
    assert node.taken() == []
    assert node.module("drain")["pods"] == []

    assert node.module("drain", drained=False)["changed"]
    assert node.read(PATH) == undrained
    assert node.pods("late")["pods"][0]["addresses"]


def test_a_pod_that_is_forced_in_is_no_other_than_any(node: Node) -> None:
    node.network()
    node.module("drain")
    node.pods("probe", force=True)
    assert node.reach("probe", "probe", "10.244.3.2") == "10.244.3.2"
    assert not node.pods("probe")["changed"]
    node.module("drain", drained=False)
    assert node.pods("probe").get("warnings") is None


def test_the_wait_ends_with_the_last_pod_or_with_its_time(node: Node) -> None:
    node.network()
    node.pods("web")
    assert [pod["name"] for pod in node.module("drain", timeout=1)["pods"]] == ["default/web"]
    leaving = threading.Timer(1.5, lambda: node.pods("web", state="absent"))
    leaving.start()
    try:
        assert node.module("drain", timeout=60)["pods"] == []
    finally:
        leaving.join()


def test_an_address_that_a_pod_left_behind_is_no_pod(node: Node) -> None:
    node.network()
    node.pods("web")
    node.run("ip", "netns", "delete", "web")
    node.run("sh", "-c", "touch -d '2 minutes ago' /run/podnet/ipam/podnet/10* /run/podnet/ipam/podnet/fd*")
    wait = "for _ in $(seq 200); do ip link show master podnet0 | grep -q veth || exit 0; sleep 0.05; done; exit 1"
    node.run("sh", "-c", wait)
    found = node.module("drain")
    assert (found["pods"], found["leaked"]) == ([], ["10.244.3.2", "fd00:10:244:3::2"])


def test_where_there_is_no_network_nothing_is_drained(node: Node) -> None:
    found = node.module("drain")
    assert (found["changed"], found["networks"], found["pods"]) == (False, [], [])
