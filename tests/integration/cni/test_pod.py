# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods are attached, examined, repaired and detached by the real plugins in real namespaces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.cni.node import FakePlugins, Node


def test_a_pod_gets_an_address_of_each_family_and_a_way_out(node: Node) -> None:
    node.network()
    result = node.module("pod", pods=[{"name": "web", "labels": {"app": "web"}}])
    (pod,) = result["pods"]
    assert pod["addresses"] == node.addresses("web") == ["10.244.3.2/24", "fd00:10:244:3::2/64"]
    assert pod["gateways"] == ["10.244.3.1", "fd00:10:244:3::1"]
    assert (pod["interface"], pod["netns"], pod["labels"]) == ("eth0", "/run/netns/web", {"app": "web"})
    assert pod["mac"] in node.run("ip", "-n", "web", "link", "show", "dev", "eth0")
    assert "default via 10.244.3.1 dev eth0" in node.run("ip", "-n", "web", "route")
    assert "default via fd00:10:244:3::1 dev eth0" in node.run("ip", "-n", "web", "-6", "route")
    assert "UP" in node.run("ip", "-n", "web", "link", "show", "dev", "lo").split("<")[1].split(">")[0].split(",")
    assert " mtu 1450 " in node.run("ip", "-n", "web", "link", "show", "dev", "eth0")


def test_pods_of_one_node_reach_each_other_by_both_families_under_their_own_addresses(node: Node) -> None:
    node.network()
    a, b = node.pods("a", "b")["pods"]
    for position in (0, 1):
        source, destination = (pod["addresses"][position].split("/")[0] for pod in (a, b))
        assert node.reach("a", "b", destination) == source


def test_ipv6_addresses_can_be_used_at_once(node: Node) -> None:
    node.network()
    node.pods("web")
    assert "tentative" not in node.run("ip", "-n", "web", "-6", "address")


def test_a_second_run_changes_nothing_and_says_the_same(node: Node) -> None:
    node.network()
    first = node.pods("a", "b")
    second = node.pods("a", "b")
    assert first["changed"]
    assert not second["changed"]
    assert second["pods"] == first["pods"]
    assert second["before"] == second["after"] == first["after"]


def test_check_mode_predicts_and_touches_nothing(node: Node) -> None:
    node.network()
    predicted = node.pods("a", check=True)
    assert predicted["changed"]
    assert predicted["pods"] == []
    assert node.namespaces() == node.ports() == node.taken() == node.records() == []
    assert "default/a" in predicted["diff"][0]["after"]
    assert node.pods("a")["after"] == predicted["after"]
    leaving = node.pods("a", state="absent", check=True)
    assert leaving["changed"]
    assert node.namespaces() == ["a"]


def test_check_mode_before_the_network_exists_warns_and_predicts(node: Node) -> None:
    predicted = node.pods("a", check=True)
    assert predicted["changed"]
    assert "no configuration list of that name in /etc/cni/net.d" in str(predicted["warnings"])


def test_detaching_frees_everything_and_twice_is_as_good_as_once(node: Node) -> None:
    node.network()
    node.pods("a", "b")
    assert len(node.taken()) == 4
    assert node.pods("a", state="absent")["changed"]
    assert node.namespaces() == ["b"]
    assert node.taken() == ["10.244.3.3", "fd00:10:244:3::3"]
    assert node.pods("b", state="absent")["changed"]
    assert not node.pods("a", "b", state="absent")["changed"]
    assert node.namespaces() == node.ports() == node.taken() == node.records() == []
    assert node.run("find", "/run/podnet", "-name", "plugins.lock") == ""


def test_the_last_pod_takes_the_folder_of_namespaces_along_when_the_first_one_brought_it(node: Node) -> None:
    node.network()
    node.run("rmdir", "/run/netns")
    node.pods("a", "b")
    node.pods("a", state="absent")
    assert node.namespaces() == ["b"]
    node.pods("b", state="absent")
    node.run("sh", "-c", "test ! -e /run/netns && ! grep 'tmpfs /run/netns ' /proc/self/mounts")
    node.run("mkdir", "/run/netns")
    node.pods("a")
    node.pods("a", state="absent")
    node.run("test", "-d", "/run/netns")


def test_a_namespace_that_was_there_before_stays(node: Node) -> None:
    node.network()
    node.run("ip", "netns", "add", "given")
    node.module("pod", pods=[{"name": "a", "netns": "/run/netns/given"}])
    assert node.addresses("given")
    node.pods("a", state="absent")
    assert node.namespaces() == ["given"]
    assert "eth0" not in node.run("ip", "-n", "given", "link")


def test_detaching_works_when_the_namespace_is_gone_already(node: Node) -> None:
    node.network()
    node.pods("a")
    node.run("ip", "netns", "delete", "a")
    assert node.pods("a", state="absent")["changed"]
    assert node.taken() == node.records() == []


def test_detaching_uses_the_configuration_of_attaching(node: Node) -> None:
    node.network()
    node.pods("a", "b")
    node.network(blocks=[{"cidr": "10.99.0.0/24", "gateway": "10.99.0.1"}])
    node.pods("a", state="absent")
    assert node.taken() == ["10.244.3.3", "fd00:10:244:3::3"]
    node.run("rm", "/etc/cni/net.d/10-podnet.conflist")
    node.pods("b", state="absent")
    assert node.taken() == []


def test_a_changed_network_is_reported_but_cuts_nobody_off(node: Node) -> None:
    node.network()
    node.pods("a")
    node.network(mtu=1400)
    result = node.pods("a")
    assert not result["changed"]
    assert "since these pods were attached: default/a" in str(result["warnings"])


# Pod to what happens to it; PORT stands for its port on the bridge.
DRIFTS = {
    "no-interface": "ip -n no-interface link delete eth0",
    "no-v4": "ip -n no-v4 address flush dev eth0 scope global to 10.244.3.0/24",
    "no-v6": "ip -n no-v6 address flush dev eth0 scope global to fd00:10:244:3::/64",
    "is-down": "ip -n is-down link set eth0 down",
    "no-namespace": "ip netns delete no-namespace",
    "port-down": "ip link set PORT down",
    "no-port": "ip link set PORT nomaster",
}
FOUND_BY_CHECK_ALONE = {
    "no-route": "ip -n no-route route delete default",
    "no-address": "grep -rl no-address /run/podnet/ipam/podnet | xargs rm",
}


@pytest.mark.parametrize("disable_check", [False, True])
def test_drift_is_repaired_where_it_is_and_pods_keep_their_addresses(node: Node, disable_check: bool) -> None:
    drifts = DRIFTS if disable_check else {**DRIFTS, **FOUND_BY_CHECK_ALONE}
    node.network(disable_check=disable_check)
    before = node.pods("untouched", *drifts)
    assert not node.pods("untouched", *drifts)["changed"]
    for name, command in drifts.items():
        interfaces = json.loads(node.read(f"/run/podnet/attachments/default_{name}@podnet.json"))["result"][
            "interfaces"
        ]
        node.run("sh", "-c", command.replace("PORT", interfaces[1]["name"]))
    predicted = node.pods("untouched", *drifts, check=True)
    assert predicted["operations"] == {"attachments": {"recreate": len(drifts)}}
    repaired = node.pods("untouched", *drifts)
    assert repaired["operations"] == predicted["operations"]
    assert repaired["after"] == predicted["after"]
    assert repaired["pods"][0] == before["pods"][0]
    for former, pod in zip(before["pods"], repaired["pods"], strict=True):
        assert node.addresses(pod["name"]) == pod["addresses"] == former["addresses"]
    assert len(node.taken()) == 2 * len(node.ports()) == 2 * len(before["pods"])
    assert not node.pods("untouched", *drifts)["changed"]


def test_labels_are_noted_without_attaching_anew_and_an_interface_is_not(node: Node) -> None:
    node.network()
    before = node.module("pod", pods=[{"name": "a"}])["pods"][0]
    relabelled = node.module("pod", pods=[{"name": "a", "labels": {"tier": "front"}}])
    assert relabelled["operations"] == {"attachments": {"replace": 1}}
    assert relabelled["pods"][0] == {**before, "labels": {"tier": "front"}}
    renamed = node.module("pod", pods=[{"name": "a", "labels": {"tier": "front"}, "ifname": "net1"}])
    assert renamed["operations"] == {"attachments": {"recreate": 1}}
    assert node.addresses("a", "net1")
    assert len(node.taken()) == 2


def test_a_pod_can_ask_for_its_addresses(node: Node) -> None:
    node.network()
    wanted = ["10.244.3.77", "fd00:10:244:3::77"]
    (pod,) = node.module("pod", pods=[{"name": "a", "runtime_config": {"ips": wanted}}])["pods"]
    assert [address.split("/")[0] for address in pod["addresses"]] == wanted


def test_chained_plugins_run_in_order_and_are_detached_in_reverse(node: Node, fakes: FakePlugins) -> None:
    fakes.add("first")
    fakes.add("second")
    bin_dir = str(fakes.directory)
    node.network(plugins=[{"type": "first"}, {"type": "second"}], bin_dir=bin_dir)
    node.pods("a", bin_dir=bin_dir)
    assert fakes.calls[:2] == ["ADD first", "ADD second"]
    assert fakes.calls[2:] == ["CHECK first", "CHECK second"]
    node.pods("a", state="absent", bin_dir=bin_dir)
    assert fakes.calls[4:] == ["DEL second", "DEL first"]


def test_parallel_runs_take_turns(node: Node) -> None:
    node.network()
    runs = [node.start("pod", pods=[{"name": f"p{number}"}]) for number in range(4)]
    addresses = [tuple(run.result()["pods"][0]["addresses"]) for run in runs]
    assert len(set(addresses)) == 4
    assert node.namespaces() == ["p0", "p1", "p2", "p3"]
    assert not node.pods("p0", "p1", "p2", "p3")["changed"]


@pytest.mark.parametrize("disable_check", [False, None])
def test_real_chained_plugins_hold_out_add_check_and_del(node: Node, disable_check: bool | None) -> None:
    """The default turns CHECK off, because portmap's fails for a pod that has a port mapping."""
    mac = "02:00:00:00:00:77"
    node.network(
        plugins=[
            {"type": "tuning", "capabilities": {"mac": True}, "sysctl": {"net.ipv4.conf.all.log_martians": "1"}},
            {"type": "firewall", "backend": "iptables"},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
        disable_check=disable_check,
    )
    ports = [{"host_port": 8080, "container_port": 80}] if disable_check is None else []
    pods = [{"name": "web", "port_mappings": ports, "runtime_config": {"mac": mac}}]
    (pod,) = node.module("pod", pods=pods)["pods"]
    assert pod["mac"] == mac
    assert node.run("ip", "netns", "exec", "web", "cat", "/proc/sys/net/ipv4/conf/all/log_martians") == "1\n"
    assert "10.244.3.2/32" in node.run("iptables-save", "-t", "filter")
    assert ("--dport 8080" in node.run("iptables-save", "-t", "nat")) == bool(ports)
    assert not node.module("pod", pods=pods)["changed"]
    node.module("pod", pods=pods, state="absent")
    assert "10.244.3.2/32" not in node.run("iptables-save")
    assert "--dport 8080" not in node.run("iptables-save")
    assert node.ports() == node.taken() == []


def test_a_record_holds_what_del_needs_and_is_for_root_alone(node: Node) -> None:
    node.network()
    node.pods("a")
    path = "/run/podnet/attachments/default_a@podnet.json"
    assert node.run("stat", "-c", "%a", path) == "600\n"
    held = json.loads(node.read(path))
    assert held["conflist"] == json.loads(node.read("/etc/cni/net.d/10-podnet.conflist"))
    assert [ip["address"] for ip in held["result"]["ips"]] == node.addresses("a")
