# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong while pods are attached: failing plugins, runs that are killed, input that cannot be used."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.podnet.fabric.tests.integration.cni.node import FakePlugins, Node

FAIL = """[ "$CNI_COMMAND" = ADD ] && echo '{"code": 11, "msg": "not today", "details": "no lease"}' && exit 1"""


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


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
