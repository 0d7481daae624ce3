# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is told of single services: what it says and keeps of that, and what comes of it after a disturbance."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed
from tests.integration.cni.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKENDS: dict[str, dict[str, Any]] = {
    "nftables": {"backend": "nftables"},
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "ebpf": {"backend": "ebpf"},
}
BASE = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11)
"""Services, at least two of which have as many pods."""
FOLDER = "/etc/podnet/told-services"
INDEX = "/run/podnet/service.known"
WHERE = {
    "pods": ["10.244.0.0/16", "fd00:10:244::/48"],
    "blocks": ["10.244.3.0/24", "fd00:10:244:3::/64"],
    "ranges": ["10.96.0.0/16", "fd00:10:96::/112"],
}


class Told:
    """The node with services, and how it is told of one."""

    def __init__(self, node: Node, backend: str) -> None:
        self.node = node
        self.backend = backend
        self.by_elements = "iptables" not in backend

    def declare(self, *numbers: int, **more: Any) -> dict[str, Any]:
        """Each service has as many pods as its number tells, but for the last of several that have as many."""
        given = [service(number) for number in numbers]
        known = [each for number in numbers for each in pods(number, number % 4)]
        params = {"services": given, "endpoints": known, **WHERE, **BACKENDS[self.backend], **more}
        return self.node.module("service", node="here", **params)

    def tell(self, number: int, count: int, **more: Any) -> dict[str, Any]:
        spec = more.pop("spec", {})
        return self.node.module(
            "service_update", services=[service(number, **spec)], endpoints=pods(number, count), **more
        )

    def gone(self, number: int) -> dict[str, Any]:
        document = {"metadata": service(number)["metadata"]}
        return self.node.module("service_update", services=[document], state="absent")

    def differences(self) -> list[Any]:
        return [each for each in self.node.module("drift_info")["differences"] if each["kind"] == "service"]

    def records(self) -> list[dict[str, Any]]:
        found = self.node.run("sh", "-c", f"for each in {FOLDER}/*.json; do cat $each; echo; done 2>/dev/null; true")
        return [json.loads(each) for each in found.splitlines() if each]


def service(number: int, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"web{number}", "namespace": "shop"},
        "spec": {
            "clusterIPs": [f"10.96.0.{number}", f"fd00:10:96::{number}"],
            "selector": {"app": f"web{number}"},
            "ports": [
                {"name": name, "protocol": name.upper(), "port": 80, "targetPort": 8080} for name in ("tcp", "udp")
            ],
            **spec,
        },
    }


def pods(number: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"web{number}-{place}",
            "namespace": "shop",
            "node": "there",
            "labels": {"app": f"web{number}"},
            "addresses": [f"10.244.4.{16 * number + place}", f"fd00:10:244:4::{number}:{place}"],
        }
        for place in range(1, count + 1)
    ]


@pytest.fixture(params=BACKENDS)
def declared(node: Node, request: pytest.FixtureRequest) -> Iterator[Told]:
    """A node with services that have one to three pods, and one that has none."""
    if request.param == "ebpf":
        if not programs.has_tcx():
            pytest.skip("programs of services take Linux 6.6")
        node.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
        node.run("ip", "link", "add", "pod0", "type", "veth", "peer", "name", "eth9")
        node.run("ip", "link", "set", "pod0", "master", "podnet0")
    found = Told(node, request.param)
    found.declare(*BASE)
    yield found
    node.module("service", node="here", state="absent")
    assert node.run("sh", "-c", "ls -A /run/podnet | grep service; ls -A /etc/podnet 2>/dev/null; true") == ""


def test_what_is_told_is_in_force_and_kept_until_all_is_declared(declared: Told) -> None:
    slowly = not declared.by_elements
    foretold = declared.tell(2, 3, check=True)
    assert (foretold["changed"], declared.records()) == (True, [])
    assert "10.244.4.35:8080" in foretold["diff"]["after"]
    assert "10.244.4.35:8080" not in foretold["diff"]["before"]
    told = declared.tell(2, 3)
    assert (told["changed"], told["reconciled"]) == (True, slowly)
    assert (told["before"], told["after"]) == (foretold["before"], foretold["after"])
    assert {(each["address"], each["protocol"]) for each in told["after"]} == {
        (address, protocol) for address in ("10.96.0.2", "fd00:10:96::2") for protocol in ("tcp", "udp")
    }
    assert declared.differences() == []
    assert not declared.tell(2, 3)["changed"]
    # A new one, and one that has gone; a port more is one that nobody has.
    assert declared.tell(8, 1)["reconciled"] == slowly
    assert declared.gone(6)["reconciled"] == slowly
    assert not declared.gone(6)["changed"]
    more = [{"name": "alt", "port": 81, "targetPort": 8081}, *service(3)["spec"]["ports"]]
    assert declared.tell(3, 3, spec={"ports": more})["after"]
    assert declared.differences() == []
    assert len(declared.records()) == 4
    # Back, and to none that answers.
    assert declared.gone(8)["changed"]
    assert declared.tell(2, 0)["after"][0]["inside"] == ["reject"]
    assert declared.differences() == []
    assert declared.declare(*BASE)["operations"]
    assert (declared.records(), declared.differences()) == ([], [])
    assert "told-services" not in declared.node.run("ls", "/etc/podnet")
    assert declared.declare(*BASE)["operations"] == {}


def test_pods_of_nodes_that_are_not_asked_stay_as_they_were_told(declared: Told) -> None:
    declared.tell(2, 3)
    declared.tell(3, 1)
    # The playbook knows all services, and the pods of the nodes that it has asked.
    assert not declared.declare(*BASE, endpoints=[], asked=["here"])["operations"]
    assert (declared.records(), declared.differences()) == ([], [])
    assert not declared.tell(2, 3)["changed"]
    assert not declared.tell(3, 1)["changed"]
    # So it is where one is told alone, whether that is for the first time or not.
    given = {"services": [service(2)], "endpoints": []}
    assert not declared.node.module("service_update", **given, asked=["here"])["changed"]
    declared.tell(2, 1)
    again = declared.node.module("service_update", **given, asked=["here"])
    assert (again["changed"], again["reconciled"]) == (False, not declared.by_elements)
    assert declared.node.module("service_update", **given, asked=["there"])["after"][0]["inside"] == ["reject"]
    assert declared.differences() == []


def test_who_is_killed_at_any_moment_leaves_what_the_next_one_makes_good(declared: Told) -> None:
    for number in range(8):
        count = 3 if number % 2 else 1
        given: dict[str, Any] = {
            "services": [service(2), service(8)],
            "endpoints": [*pods(2, count), *pods(8, 2 - number % 2)],
        }
        run = declared.node.start("service_update", **given)
        time.sleep(0.003 * number)
        run.kill()
        declared.node.module("service_update", **given)
        assert declared.differences() == []
        assert not declared.node.module("service_update", **given)["changed"]


def test_who_is_killed_while_all_are_declared_leaves_nothing_that_was_told(declared: Told) -> None:
    for number in range(6):
        declared.declare(*BASE)
        declared.tell(2, 3)
        given: dict[str, Any] = {"node": "here", "services": [service(2), service(5)], "endpoints": pods(2, 1), **WHERE}
        run = declared.node.start("service", **given, **BACKENDS[declared.backend])
        time.sleep(0.008 * number)
        run.kill()
        # Whatever that came to: one of another service sees to it that the node is what is declared.
        was = declared.records()
        declared.tell(5, 1)
        assert declared.differences() == []
        assert declared.tell(2, 3)["changed"] != bool(was)


def test_what_somebody_has_done_to_the_node_is_made_good(declared: Told) -> None:
    node = declared.node
    declared.tell(2, 3)
    # The index is another declaration's, cut off, or gone with the machine's last start.
    for command in (f"echo 5 > {INDEX}", f"truncate -s 100 {INDEX}", "rm -rf /run/podnet"):
        node.run("sh", "-c", command)
        assert declared.tell(2, 2)["reconciled"]
        assert declared.tell(2, 3)["reconciled"] != declared.by_elements
        assert declared.differences() == []
    # The packet filter is not as it was left.
    if declared.by_elements:
        key = "10.96.0.2 . tcp . 80"
        node.run("nft", "delete", "element", "inet", "podnet", "service-frontends4", f"{{ {key} }}")
        assert declared.tell(2, 1)["reconciled"]
        assert declared.differences() == []
        assert not declared.tell(2, 2)["reconciled"]
    (name,) = node.run("ls", FOLDER).split()
    kept = node.run("cat", f"{FOLDER}/{name}")
    node.run("tee", f"{FOLDER}/{name}", stdin="{}")
    with pytest.raises(Failed, match="remove the file"):
        declared.tell(2, 1)
    node.run("tee", f"{FOLDER}/{name}", stdin=kept)
    assert declared.differences() == []
    # The declaration has been edited into something else.
    path = "/etc/podnet/node.d/service.json"
    whole = node.run("cat", path)
    node.run("tee", path, stdin=whole.replace('"name": "web5"', '"nome": "web5"'))
    with pytest.raises(Failed, match="run the playbook again"):
        declared.tell(2, 1)
    node.run("tee", path, stdin=whole)
    assert declared.tell(2, 1)["changed"]
    assert declared.differences() == []


@pytest.mark.parametrize("declared", ["nftables", "ebpf"], indirect=True)
def test_the_way_back_leads_to_what_was_told_by_then(declared: Told) -> None:
    node = declared.node
    was = declared.tell(2, 3)["after"]
    armed = node.module("checkpoint", timeout=60)
    # One is told again, all are declared without it, or nothing is.
    now = declared.tell(2, 1)["after"]
    declared.tell(8, 2)
    node.module("checkpoint", state="rolled_back", id=armed["id"])
    assert (declared.records(), declared.differences()) == ([], [])
    again = declared.tell(2, 1)
    assert (again["before"], again["after"]) == (was, now)
    assert not declared.gone(8)["changed"]
    armed = node.module("checkpoint", timeout=60)
    declared.declare(1, 2, 3)
    node.module("checkpoint", state="rolled_back", id=armed["id"])
    assert declared.differences() == []
    assert not declared.tell(2, 1)["changed"]
    assert not declared.tell(7, 3)["changed"]
    # What was told by then may go as well.
    declared.tell(8, 1)
    armed = node.module("checkpoint", timeout=60)
    node.module("checkpoint", state="rolled_back", id=armed["id"])
    assert declared.records() == []
    assert declared.gone(8)["changed"]
    assert not declared.gone(8)["changed"]
    assert declared.differences() == []


@pytest.mark.parametrize("declared", ["nftables"], indirect=True)
def test_checks_are_made_of_what_was_told(declared: Told) -> None:
    node = declared.node
    probe = {"tcpSocket": {"port": 8080}, "timeoutSeconds": 1, "failureThreshold": 1}
    node.run("ip", "route", "add", "unreachable", "10.244.4.0/24")
    node.run("ip", "route", "add", "unreachable", "fd00:10:244:4::/64")
    assert declared.tell(2, 2, spec={"readinessProbe": probe})["reconciled"]
    found = node.module("service_health")
    assert (found["checks"], len(found["unhealthy"])) == (4, 4)
    # Others are told as before.
    assert declared.tell(3, 2)["changed"]
    assert declared.differences() == []
    assert declared.tell(2, 2)["after"]
    assert declared.differences() == []
    assert node.module("service_health")["checks"] == 0


@pytest.mark.parametrize("declared", ["nftables"], indirect=True)
def test_bad_input_changes_nothing(declared: Told) -> None:
    def refused(**given: Any) -> list[str]:
        with pytest.raises(Failed) as failed:
            declared.node.module("service_update", **given)
        assert (declared.records(), declared.differences()) == ([], [])
        return [each.partition(": ")[0] for each in failed.value.result["errors"]]

    bad = service(2, clusterIPs=["10.96.0"], ports=[{"port": 0}])
    wrong = {"services": [bad, "nothing"], "slices": [5], "endpoints": [{"name": "Bad", "addresses": []}]}
    assert refused(**wrong) == [
        "services[0].spec.clusterIPs[0]",
        "services[0].spec.ports[0].port",
        "services[1]",
        "slices[0]",
        "endpoints[0].name",
    ]
    assert refused(services=[service(8, clusterIPs=None)]) == ["services[0].spec.clusterIP"]
    assert refused(services=5, state="absent", asked=["here"]) == ["services", "asked"]
    # Another one's address, and two of them with one.
    taken = service(8, clusterIPs=["10.96.0.1"])
    assert refused(services=[taken]) == ["shop/web8.spec.clusterIPs"]
    assert len(refused(services=[taken, service(12, clusterIPs=["10.96.0.1"])])) == 1
    # From one to another at once: that is free by then.
    both = [service(1, clusterIPs=["10.96.0.8"]), taken]
    assert declared.node.module("service_update", services=both)["changed"]
    assert declared.differences() == []


@pytest.mark.parametrize("declared", ["ebpf"], indirect=True)
def test_what_is_in_the_way_is_said_before_and_nothing_is_kept(declared: Told) -> None:
    declared.node.run("umount", "/sys/fs/bpf")
    for check in (True, False):
        with pytest.raises(Failed, match="no BPF file system"):
            declared.tell(2, 3, check=check)
        assert declared.records() == []
    declared.node.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    assert declared.tell(2, 3, check=True)["reconciled"]
    assert declared.tell(2, 3)["reconciled"]
    assert declared.differences() == []


def test_where_nothing_is_declared_nothing_is_to_be_told(node: Node) -> None:
    found = Told(node, "nftables").tell(2, 1)
    assert (found["changed"], found["after"]) == (False, [])
    assert node.run("sh", "-c", "ls -A /etc/podnet 2>/dev/null; true") == ""
