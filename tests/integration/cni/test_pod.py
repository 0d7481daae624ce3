# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods are attached, examined, repaired and detached by the real plugins in real namespaces."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.podnet.fabric.tests.integration.cni.node import FakePlugins, Node

FAIL = """[ "$CNI_COMMAND" = ADD ] && echo '{"code": 11, "msg": "not today", "details": "no lease"}' && exit 1"""


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


def test_a_plugin_that_fails_is_named_and_what_came_before_it_is_undone(node: Node, fakes: FakePlugins) -> None:
    fakes.add("first")
    fakes.add("broken", FAIL)
    fakes.add("last")
    bin_dir = str(fakes.directory)
    node.network(plugins=[{"type": "first"}, {"type": "broken"}, {"type": "last"}], bin_dir=bin_dir)
    with pytest.raises(Failed) as caught:
        node.pods("a", "b", bin_dir=bin_dir)
    for name in ("a", "b"):
        assert f"create default/{name}: CNI plugin broken, ADD: not today: no lease [code 11" in caught.value.message
    assert fakes.calls[:5] == ["ADD first", "ADD broken", "DEL last", "DEL broken", "DEL first"]
    assert node.namespaces() == node.ports() == node.taken() == node.records() == []
    fakes.add("broken")
    assert node.pods("a", "b", bin_dir=bin_dir)["operations"] == {"attachments": {"create": 2}}


def test_a_failed_repair_keeps_the_namespace_for_the_next_run(node: Node, fakes: FakePlugins) -> None:
    fakes.add("moody")
    bin_dir = str(fakes.directory)
    node.network(plugins=[{"type": "moody"}], bin_dir=bin_dir)
    node.pods("a", bin_dir=bin_dir)
    node.run("ip", "-n", "a", "link", "delete", "eth0")
    fakes.add("moody", FAIL)
    with pytest.raises(Failed):
        node.pods("a", bin_dir=bin_dir)
    assert node.namespaces() == ["a"]
    assert node.taken() == []
    fakes.add("moody")
    assert node.pods("a", bin_dir=bin_dir)["changed"]
    node.pods("a", state="absent", bin_dir=bin_dir)
    assert node.namespaces() == node.taken() == node.records() == []


def test_what_could_not_be_undone_is_undone_by_the_next_run(node: Node, fakes: FakePlugins) -> None:
    fakes.add("stuck", """[ "$CNI_COMMAND" = CHECK ] || { echo '{"code": 5, "msg": "stuck"}'; exit 1; }""")
    bin_dir = str(fakes.directory)
    node.network(plugins=[{"type": "stuck"}], bin_dir=bin_dir)
    with pytest.raises(Failed, match="undoing it failed too and is tried again on the next run"):
        node.pods("a", bin_dir=bin_dir)
    assert node.records() == ["default_a@podnet.json"]
    fakes.add("stuck")
    assert node.pods("a", bin_dir=bin_dir)["changed"]
    assert len(node.taken()) == 2


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_run_that_is_killed_in_the_middle_is_made_good_by_the_next(
    node: Node, fakes: FakePlugins, command: str
) -> None:
    bin_dir = str(fakes.directory)
    fakes.add("slow")
    node.network(plugins=[{"type": "slow"}], bin_dir=bin_dir)
    if command == "DEL":
        node.pods("a", bin_dir=bin_dir)
    fakes.add("slow", f'[ "$CNI_COMMAND" = {command} ] && sleep 1 && echo "{command} ended" >> {fakes.log}')
    state = {"ADD": "present", "DEL": "absent"}[command]
    params: dict[str, Any] = {"pods": [{"name": "a"}], "bin_dir": bin_dir, "state": state}
    killed = node.start("pod", **params)
    until(lambda: f"{command} slow" in fakes.calls)
    killed.kill()
    assert node.records() == ["default_a@podnet.json"]
    assert node.module("pod", **params)["changed"]
    # The plugin outlived the run that started it; nothing was begun before its end.
    after = fakes.calls[fakes.calls.index(f"{command} slow") :]
    assert after[:3] == [f"{command} slow", f"{command} ended", "DEL slow"]
    assert not node.module("pod", **params)["changed"]
    left = {"ADD": (["a"], 2, 1), "DEL": ([], 0, 0)}[command]
    assert (node.namespaces(), len(node.taken()), len(node.records())) == left
    assert len(node.ports()) == left[2]


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


def test_everything_in_the_way_is_named_with_its_cure_before_anything_changes(node: Node, fakes: FakePlugins) -> None:
    with pytest.raises(Failed, match=r"no configuration list of that name in /etc/cni/net.d; write it first"):
        node.pods("a")
    node.network()
    (fakes.directory / "host-local").unlink()
    fakes.add("bridge", versions='"0.3.1"')
    node.run("ip", "link", "delete", "podnet0")
    pods = [{"name": "a", "netns": "/nowhere"}, {"name": "b", "port_mappings": [{"host_port": 1, "container_port": 2}]}]
    with pytest.raises(Failed) as caught:
        node.module("pod", pods=pods, bin_dir=str(fakes.directory))
    for part in (
        f"CNI plugin host-local is not in {fakes.directory}; install it",
        "does not speak CNI 1.0.0, only 0.3.1",
        "bridge podnet0 does not exist; make it first",
        "pod default/a: /nowhere is no network namespace",
        "pod default/b: no plugin of network podnet has the capability portMappings",
    ):
        assert part in caught.value.message
    assert len(caught.value.result["errors"]) == 5
    assert node.namespaces() == node.records() == []
    assert "pod.json" not in node.run("ls", "/etc/podnet/node.d")


def test_bad_input_is_refused_all_at_once_with_the_path_to_each_value(node: Node) -> None:
    pods: list[dict[str, Any]] = [
        {"name": "Web", "ifname": "an-interface-too-long", "lables": {}},
        {"name": "a", "args": {"X": "1;2"}, "namespace": "my_ns"},
        {"name": "b", "port_mappings": [{"host_port": 70000, "container_port": 80, "protocol": "icmp"}]},
        {"name": "b", "netns": "up/../there"},
    ]
    with pytest.raises(Failed) as caught:
        node.module("pod", pods=pods)
    for path in (
        "pods[0].name:",
        "pods[0].ifname:",
        "pods[0].lables:",
        "pods[1].args.X:",
        "pods[1].namespace:",
        "pods[2].port_mappings[0].host_port:",
        "pods[2].port_mappings[0].protocol:",
        "pods[3].netns:",
        "pods[3]: default/b again",
    ):
        assert path in caught.value.message


def test_two_pods_cannot_share_an_interface(node: Node) -> None:
    node.network()
    with pytest.raises(Failed, match=r"pods .* both want interface eth0 in /run/netns/shared"):
        node.module("pod", pods=[{"name": "a", "netns": "shared"}, {"name": "b", "netns": "shared"}])


def test_it_takes_root_and_says_so(node: Node) -> None:
    with pytest.raises(Failed, match=r"running as user id 65534; .* become: true"):
        node.pods("a", uid=65534)


def test_a_record_holds_what_del_needs_and_is_for_root_alone(node: Node) -> None:
    node.network()
    node.pods("a")
    path = "/run/podnet/attachments/default_a@podnet.json"
    assert node.run("stat", "-c", "%a", path) == "600\n"
    held = json.loads(node.read(path))
    assert held["conflist"] == json.loads(node.read("/etc/cni/net.d/10-podnet.conflist"))
    assert [ip["address"] for ip in held["result"]["ips"]] == node.addresses("a")


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
