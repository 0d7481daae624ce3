# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies and services of an inventory, on a lab: who reaches whom, as pods come and documents change."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs

from .cluster import POLICY, PORT, SERVICE, STATED, Cluster
from .test_site import FIFTH, NODES, Site, differences

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    site = Site(f"p{os.getpid() % 100000}-", tmp_path_factory.mktemp("site"))
    made = Cluster(site)
    try:
        site.play("lab")
        site.play("site")
        for name in ("web", "db", "side", "other"):
            made.attach(name)
        made.listen("db")
        yield made
    finally:
        for process in made.listening:
            process.kill()
            process.wait()
        site.play("lab", *FIFTH, "-e", "lab_state=absent", check=False)


def test_without_policies_everybody_reaches_everybody(cluster: Cluster) -> None:
    for source in ("web", "side", "other"):
        assert cluster.reaches(source) == {True}, source


def test_a_policy_is_shown_before_it_holds(cluster: Cluster) -> None:
    before = cluster.site.pictures()
    shown = cluster.play([POLICY], "--check", "--diff")
    assert shown.changed() == dict.fromkeys(NODES, 1)
    assert "policy-ingress4" in shown.output
    assert differences(before, cluster.site.pictures()) == {}
    assert cluster.reaches("other") == {True}


def test_a_policy_holds_for_pods_of_other_nodes_and_of_the_same(cluster: Cluster) -> None:
    assert cluster.play([POLICY]).changed() == dict.fromkeys(NODES, 1)
    assert cluster.reaches("web") == {True}
    assert cluster.reaches("web", port=PORT + 1) == {False}
    assert cluster.reaches("other") == {False}
    assert cluster.reaches("side") == {False}  # over the bridge
    assert cluster.reaches("node2") == {True}  # probes of the node itself
    assert cluster.reaches("node3") == {False}
    assert cluster.play([POLICY]).changed() == dict.fromkeys(NODES, 0)
    rows = [line.strip().strip('",').split() for line in cluster.site.play("policy_counters").output.splitlines()]
    counted = {tuple(row[1:4]): int(row[4]) for row in rows if row[:1] == ["node2"] and len(row) == 6}
    assert counted["allowed", "shop/database", "Ingress"] > 0
    assert counted["denied", "shop/db", "Ingress"] > 0
    # Whose packets come out of which interface the attachments have told.
    told = cluster.site.inside("node2", "nft", "list", "table", "bridge", "podnet")
    assert all(address in told for name in ("db", "side") for address in cluster.addresses[name]), told


def test_a_pod_that_comes_later_is_an_element_of_a_set(cluster: Cluster) -> None:
    cluster.attach("late")
    assert cluster.reaches("late") == {False}
    run = cluster.play([POLICY])
    assert run.results["Declare the policies", "node2"]["operations"] == {"nftables": {"replace": 2}}
    assert cluster.reaches("late") == {True}


def test_nodes_are_told_of_a_pod_that_comes_later_and_goes(cluster: Cluster) -> None:
    def tell(*arguments: str) -> Any:
        run = cluster.site.play("policy_endpoints", "-e", json.dumps({"podnet_endpoints": STATED}), *arguments)
        assert run.status == 0
        return run

    cluster.attach("last")
    assert tell("--check", "--diff").changed() == {**dict.fromkeys(NODES, 1), "node4": 0}
    assert cluster.reaches("last") == {False}
    assert tell().changed() == {**dict.fromkeys(NODES, 1), "node4": 0}
    assert cluster.reaches("last") == {True}
    assert tell().changed() == dict.fromkeys(NODES, 0)
    cluster.attach("last", state="absent")
    # Its node has not been asked.
    assert tell("--limit", "node1,node2").changed() == {"node1": 0, "node2": 0}
    gone = tell("--diff")
    assert gone.changed() == {**dict.fromkeys(NODES, 1), "node4": 0}
    assert '-{"addresses":' in gone.output
    # Nothing is left for who declares all anew.
    assert cluster.play([POLICY]).changed() == dict.fromkeys(NODES, 0)
    for node in NODES:
        assert "told" not in cluster.site.inside(node, "ls", "/etc/podnet")


def test_pods_of_nodes_that_are_not_asked_stay_known(cluster: Cluster) -> None:
    assert cluster.play([POLICY], "--limit", "node2").changed() == {"node2": 0}
    assert cluster.reaches("web") == {True}


def test_the_other_backend_takes_over_and_gives_back(cluster: Cluster) -> None:
    other = ("-e", "podnet_policy_backend=ebpf")
    assert cluster.play([POLICY], *other).changed() == dict.fromkeys(NODES, 1)
    assert "policy-" not in cluster.site.inside("node2", "nft", "list", "table", "inet", "podnet")
    assert cluster.reaches("web") == {True}
    assert cluster.reaches("web", port=PORT + 1) == {False}
    assert cluster.reaches("other") == {False}
    assert cluster.reaches("side") == {False}
    assert cluster.reaches("node2") == {True}
    assert cluster.reaches("node3") == {False}
    assert cluster.play([POLICY], *other).changed() == dict.fromkeys(NODES, 0)
    assert cluster.play([POLICY]).changed() == dict.fromkeys(NODES, 1)
    assert "podnet" not in cluster.site.inside("node2", "ls", "/sys/fs/bpf")
    assert cluster.reaches("side") == {False}


def test_a_policy_of_a_node_holds_for_nodes_and_pods_and_closes_nobody_out(cluster: Cluster) -> None:
    """node2 is open on 5432 to node1 and to pods of its own; the network between the nodes goes on."""
    cluster.listen_on("node2")
    own = ["192.168.101.12", "fd00:101::12"]
    assert all(cluster.reaches(source, address) == {True} for source in ("node3", "other") for address in own)
    select = {"kubernetes.io/hostname": "node2"}
    allowed: list[dict[str, Any]] = [
        {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "node1"}}},
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "other"}}},
    ]
    policy = {
        "metadata": {"name": "node2"},
        "spec": {
            "podSelector": {"matchLabels": select},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": allowed, "ports": [{"port": PORT}]}],
        },
    }
    given = ("-e", json.dumps({"podnet_host_policies": [policy]}))
    assert cluster.play([POLICY], *given).changed() == dict.fromkeys(NODES, 1)
    # The inventory tells of one address of a node; a pod of another node comes by that node's.
    assert cluster.reaches("node1", own[0]) == {True}
    for address in own:
        assert cluster.reaches("side", address) == {True}
        assert cluster.reaches("side", address, PORT + 1) == {False}
        assert cluster.reaches("other", address) == {False}
        assert cluster.reaches("node3", address) == {False}
    # What is carried for pods is none of the node's own.
    assert cluster.reaches("web") == {True}
    assert cluster.site.play("verify").status == 0
    assert cluster.play([POLICY], *given).changed() == dict.fromkeys(NODES, 0)
    assert cluster.play([POLICY]).changed() == dict.fromkeys(NODES, 1)
    assert cluster.reaches("node3", own[0]) == {True}


def test_bad_policies_are_refused_as_a_whole(cluster: Cluster) -> None:
    before = cluster.site.pictures()
    bad = json.loads(json.dumps(POLICY))
    bad["spec"]["ingress"][0]["from"] = [
        {"podSelector": {}},
        {"ipBlock": {"cidr": "10.8.0.0/16", "except": ["10.9.0.0/16"]}},
    ]
    bad["spec"]["ingress"][0]["ports"] = [{"port": 70000}]
    run = cluster.play([POLICY, bad], check=False)
    assert run.status != 0
    path = "podnet_policies[1].spec.ingress[0]"
    assert f"{path}.from[1].ipBlock.except[0]: 10.9.0.0/16 is not inside 10.8.0.0/16" in run.output
    assert f"{path}.ports[0].port: 70000 is not allowed; give a whole number from 1 to 65535" in run.output
    assert "podnet_policies[1].metadata: shop/database again; podnet_policies[0] is that already" in run.output
    assert differences(before, cluster.site.pictures()) == {}


def test_policies_that_are_taken_away_leave_nothing(cluster: Cluster) -> None:
    assert cluster.play([]).changed() == dict.fromkeys(NODES, 1)
    assert cluster.reaches("other") == {True}
    for node in NODES:
        assert "policy-" not in cluster.site.inside(node, "nft", "list", "table", "inet", "podnet")
        assert "policy.json" not in cluster.site.inside(node, "ls", "/etc/podnet/node.d")


def test_a_service_gets_addresses_and_leads_to_its_pods(cluster: Cluster) -> None:
    before = cluster.site.pictures()
    shown = cluster.serve([SERVICE], "--check", "--diff")
    # The ledger is written on behalf of the first.
    first = {**dict.fromkeys(NODES, 1), "node1": 2}
    assert shown.changed() == first
    assert "10.96.1.1 . tcp . 80 : goto service-frontends4-1" in shown.output
    assert differences(before, cluster.site.pictures()) == {}
    assert cluster.reaches("web", "10.96.1.1", 80) == {False}

    assert cluster.serve([SERVICE]).changed() == first
    # The addresses come out of the ledger, and are the same on all nodes.
    for address in ("10.96.1.1", "fd00:10:96::101"):
        assert cluster.reaches("web", address, 80) == {True}
        assert cluster.reaches("side", address, 80) == {True}  # over the bridge
        assert cluster.reaches("db", address, 80) == {True}  # itself
        assert cluster.reaches("web", address, 81) == {False}
    assert cluster.reaches("node3", "192.168.101.11", 30086) == {True}
    again = cluster.serve([SERVICE])
    assert again.changed() == dict.fromkeys(NODES, 0)


def test_single_services_are_told_to_all_nodes(cluster: Cluster) -> None:
    more = json.loads(json.dumps(SERVICE))
    more["spec"]["ports"] = [{"name": str(port), "port": port, "targetPort": "postgres"} for port in (80, 81)]
    other = {
        "metadata": {"name": "other", "namespace": "shop"},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 80, "targetPort": PORT}]},
    }
    names = ["shop/db", "shop/other"]
    every = {**dict.fromkeys(NODES, 1), "node1": 2}
    shown = cluster.update([more, other], names, "--check", "--diff")
    assert shown.changed() == every
    assert '"address": "10.96.1.1"' in shown.output.replace("\\", "")
    assert cluster.reaches("web", "10.96.1.1", 81) == {False}
    assert cluster.update([more, other], names).changed() == every
    for address in ("10.96.1.1", "fd00:10:96::101"):
        assert cluster.reaches("web", address, 80) == {True}
        assert cluster.reaches("web", address, 81) == {True}
    assert cluster.update([more, other], names).changed() == dict.fromkeys(NODES, 0)
    # The service's pod is at a node that is not asked.
    assert cluster.update([more, other], names, "--limit", "node1").changed() == {"node1": 0}
    assert cluster.reaches("web", "10.96.1.1", 81) == {True}
    # One is as it was, one has left the inventory.
    left = cluster.update([SERVICE], names)
    assert left.changed() == {**dict.fromkeys(NODES, 2), "node1": 3}
    assert cluster.reaches("web", "10.96.1.1", 80) == {True}
    assert cluster.reaches("web", "10.96.1.1", 81) == {False}
    # Nothing is left for who declares all anew.
    assert cluster.serve([SERVICE]).changed() == dict.fromkeys(NODES, 0)
    for node in NODES:
        assert "told" not in cluster.site.inside(node, "ls", "/etc/podnet")


@pytest.mark.skipif(not programs.has_tcx(), reason="services by eBPF take Linux 6.6")
def test_the_same_services_by_ebpf_do_without_nftables_for_pods(cluster: Cluster) -> None:
    by_ebpf = ("-e", "podnet_service_backend=ebpf")
    assert cluster.serve([SERVICE], *by_ebpf).changed() == dict.fromkeys(NODES, 1)
    for node in NODES:
        for family in "46":
            cluster.site.inside(node, "nft", "flush", "map", "inet", "podnet", f"service-frontends{family}")
    for address in ("10.96.1.1", "fd00:10:96::101"):
        for source in ("web", "side", "db"):
            assert cluster.reaches(source, address, 80) == {True}
    assert cluster.reaches("node3", "192.168.101.11", 30086) == {True}


@pytest.mark.skipif(not programs.has_tcx(), reason="programs of services take Linux 6.6")
def test_policies_by_ebpf_warn_until_services_have_followed(cluster: Cluster) -> None:
    def warned() -> bool:
        results = cluster.play([POLICY], *judged).results
        return any(
            "podnet.fabric.services" in each for each in results["Declare the policies", "node1"].get("warnings", ())
        )

    judged = ("-e", "podnet_policy_backend=ebpf")
    cluster.serve([SERVICE])
    assert warned()
    assert cluster.serve([SERVICE], *judged).changed() == dict.fromkeys(NODES, 1)
    assert not warned()
    assert cluster.reaches("web", "10.96.1.1", 80) == {True}
    # As it was for what comes after.
    cluster.play([])
    assert cluster.serve([SERVICE]).changed() == dict.fromkeys(NODES, 1)


def test_bad_services_are_refused_as_a_whole(cluster: Cluster) -> None:
    before = cluster.site.pictures()
    bad = json.loads(json.dumps(SERVICE))
    bad["spec"].update(type="Port", ports=[{"port": 0}])
    run = cluster.serve([SERVICE, bad], check=False)
    assert run.status != 0
    assert "podnet_services[1].spec.type: 'Port'; give ClusterIP" in run.output
    assert "podnet_services[1].spec.ports[0].port: 0 is not allowed; give a whole number from 1" in run.output
    assert "podnet_services[1].metadata: shop/db again; podnet_services[0] is that already" in run.output
    assert differences(before, cluster.site.pictures()) == {}


def test_services_move_to_iptables(cluster: Cluster) -> None:
    assert cluster.serve([SERVICE], "-e", "podnet_service_backend=iptables").changed() == dict.fromkeys(NODES, 1)
    for address in ("10.96.1.1", "fd00:10:96::101"):
        assert cluster.reaches("web", address, 80) == {True}
        assert cluster.reaches("db", address, 80) == {True}  # itself
        assert cluster.reaches("web", address, 81) == {False}
    assert cluster.reaches("node3", "192.168.101.11", 30086) == {True}
    for node in NODES:
        assert "service-" not in cluster.site.inside(node, "nft", "list", "table", "inet", "podnet")
        assert "PODNET-SERVICE-LOOKUP" in cluster.site.inside(node, "iptables-save")


def test_a_dead_backend_is_out_until_it_is_back(cluster: Cluster) -> None:
    probe = {"tcpSocket": {}, "periodSeconds": 1, "failureThreshold": 2}
    checked = {
        "metadata": {"name": "checked", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.1.7", "ports": [{"port": 80, "targetPort": PORT}], "readinessProbe": probe},
    }
    listed = {
        "metadata": {"name": "checked-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "checked"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [cluster.addresses[name][0]]} for name in ("db", "other")],
        "ports": [{"port": PORT}],
    }
    given = ("-e", json.dumps({"podnet_endpoint_slices": [listed]}))
    cluster.serve([SERVICE, checked], *given)
    dead = f"service shop/checked: backend {cluster.addresses['other'][0]}:{PORT} is out: Connection refused"
    note = "/run/podnet/service-health.json"

    before = cluster.site.pictures()
    shown = cluster.site.play("health", "--check", "--diff")
    assert shown.changed() == dict.fromkeys(NODES, 1)
    assert f"+{dead}" in shown.output
    assert differences(before, cluster.site.pictures()) == {}
    assert cluster.site.inside("node1", "sh", "-c", f"ls {note} || true") == ""

    assert cluster.site.play("health").changed() == dict.fromkeys(NODES, 1)
    assert cluster.site.play("health").changed() == dict.fromkeys(NODES, 0)
    assert all(cluster.reaches(pod, "10.96.1.7", 80) == {True} for pod in ("web", "side") for _each in range(10))
    status = cluster.site.play("status")
    assert status.status == 0
    assert dead in status.output
    again = cluster.serve([SERVICE, checked], *given)
    assert again.changed() == dict.fromkeys(NODES, 0)
    assert dead in again.results["Declare the services", "node1"]["warnings"]

    cluster.listen("other")
    program = ("/usr/local/sbin/podnet-node", "health", "--now")
    waiting = f"until {' '.join(program)} | grep -q ' 0 backends fail'; do sleep 0.5; done"
    for node in NODES:
        cluster.site.inside(node, "timeout", "30", "sh", "-c", waiting)
    assert cluster.site.inside("node1", *program) == "2 checks, 0 backends fail\n"
    assert cluster.site.play("status").status == 0
    cluster.serve([SERVICE])
    assert cluster.site.inside("node1", *program) == "0 checks, 0 backends fail\n"
    assert cluster.site.inside("node1", "sh", "-c", f"ls {note} || true") == ""


def test_services_that_are_taken_away_leave_nothing(cluster: Cluster) -> None:
    assert cluster.serve([]).changed() == {**dict.fromkeys(NODES, 1), "node1": 2}
    assert cluster.reaches("web", "10.96.1.1", 80) == {False}
    for node in NODES:
        assert "service-" not in cluster.site.inside(node, "nft", "list", "table", "inet", "podnet")
        assert "PODNET-SERVICE" not in cluster.site.inside(node, "iptables-save")
        assert "podnet-service" not in cluster.site.inside(node, "ipset", "list", "-n")
        assert "service.json" not in cluster.site.inside(node, "ls", "/etc/podnet/node.d")
        assert "podnet" not in cluster.site.inside(node, "ls", "/sys/fs/bpf")
