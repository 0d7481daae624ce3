# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which plugins are run, what each is given, and what happens when one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.cni import network
from ansible_collections.podnet.fabric.plugins.module_utils.cni.network import AttachError, Runtime
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import CniError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFLIST = {
    "podnet": {"kind": "cni_network"},
    "cniVersion": "1.0.0",
    "name": "podnet",
    "plugins": [
        {"type": "one", "name": "replaced", "cniVersion": "0.1.0"},
        {"type": "two", "capabilities": {"portMappings": True, "bandwidth": False}},
        {"type": "three"},
    ],
}
RUNTIME = Runtime(
    "default_web",
    "/run/netns/web",
    "eth0",
    (("IgnoreUnknown", "1"), ("MAC", "02:00:00:00:00:01")),
    {"portMappings": [{"hostPort": 80}], "bandwidth": {"ingressRate": 1}, "ips": ["10.0.0.9"]},
)


class Recorder:
    """Stands in for the plugins: each ADD adds its name to the result; the ones listed fail."""

    def __init__(self, *failing: tuple[str, str]) -> None:
        self.calls: list[tuple[str, str]] = []
        self.configs: list[Mapping[str, Any]] = []
        self.variables: list[Mapping[str, str]] = []
        self.failing = failing

    def __call__(
        self, name: str, command: str, config: Mapping[str, Any], variables: Mapping[str, str]
    ) -> dict[str, Any]:
        self.calls.append((name, command))
        self.configs.append(config)
        self.variables.append(variables)
        if (name, command) in self.failing:
            raise CniError(name, command, 7, "no")
        return {"by": [*config.get("prevResult", {}).get("by", []), name]} if command == "ADD" else {}


def test_add_hands_each_plugin_the_result_of_the_one_before() -> None:
    plugins = Recorder()
    assert network.add(CONFLIST, RUNTIME, plugins) == {"by": ["one", "two", "three"]}
    assert plugins.calls == [("one", "ADD"), ("two", "ADD"), ("three", "ADD")]
    assert "prevResult" not in plugins.configs[0]
    assert [config["prevResult"]["by"] for config in plugins.configs[1:]] == [["one"], ["one", "two"]]


def test_name_and_version_of_the_list_replace_those_of_a_plugin() -> None:
    plugins = Recorder()
    network.add(CONFLIST, RUNTIME, plugins)
    assert {(config["name"], config["cniVersion"]) for config in plugins.configs} == {("podnet", "1.0.0")}
    assert not any("podnet" in config for config in plugins.configs)


def test_a_plugin_gets_the_values_of_the_capabilities_that_it_declares_and_no_others() -> None:
    plugins = Recorder()
    network.add(CONFLIST, RUNTIME, plugins)
    assert [config.get("runtimeConfig") for config in plugins.configs] == [
        None,
        {"portMappings": [{"hostPort": 80}]},
        None,
    ]
    assert network.capabilities(CONFLIST) == ("portMappings",)


def test_all_plugins_see_the_same_variables() -> None:
    plugins = Recorder()
    network.add(CONFLIST, RUNTIME, plugins)
    assert (
        plugins.variables
        == [
            {
                "CNI_CONTAINERID": "default_web",
                "CNI_NETNS": "/run/netns/web",
                "CNI_IFNAME": "eth0",
                "CNI_ARGS": "IgnoreUnknown=1;MAC=02:00:00:00:00:01",
            }
        ]
        * 3
    )


@pytest.mark.parametrize("failing", ["one", "two", "three"])
def test_a_failed_add_is_undone_in_reverse_over_the_whole_list(failing: str) -> None:
    plugins = Recorder((failing, "ADD"))
    with pytest.raises(AttachError) as caught:
        network.add(CONFLIST, RUNTIME, plugins)
    assert caught.value.undone
    assert [call for call in plugins.calls if call[1] == "DEL"] == [("three", "DEL"), ("two", "DEL"), ("one", "DEL")]
    assert plugins.calls.index((failing, "ADD")) < plugins.calls.index(("three", "DEL"))


def test_undoing_goes_on_past_a_plugin_that_fails_and_says_what_is_left() -> None:
    plugins = Recorder(("two", "ADD"), ("two", "DEL"))
    with pytest.raises(AttachError, match="undoing it failed too") as caught:
        network.add(CONFLIST, RUNTIME, plugins)
    assert not caught.value.undone
    assert plugins.calls[-1] == ("one", "DEL")


def test_check_asks_in_order_with_the_final_result_and_stops_at_the_first_finding() -> None:
    plugins = Recorder(("two", "CHECK"))
    with pytest.raises(CniError):
        network.check(CONFLIST, RUNTIME, {"by": ["all"]}, plugins)
    assert plugins.calls == [("one", "CHECK"), ("two", "CHECK")]
    assert all(config["prevResult"] == {"by": ["all"]} for config in plugins.configs)


@pytest.mark.parametrize("change", [{"disableCheck": True}, {"disableCheck": "true"}, {"cniVersion": "0.3.1"}])
def test_check_is_not_called_where_the_specification_forbids_it(change: dict[str, Any]) -> None:
    plugins = Recorder()
    network.check({**CONFLIST, **change}, RUNTIME, {}, plugins)
    assert plugins.calls == []


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
def test_check_is_called_from_0_4_0_on(version: str) -> None:
    assert network.has_check({**CONFLIST, "cniVersion": version, "disableCheck": "false"})


def test_delete_runs_in_reverse_with_the_result_of_add() -> None:
    plugins = Recorder()
    network.delete(CONFLIST, RUNTIME, {"by": ["all"]}, plugins)
    assert plugins.calls == [("three", "DEL"), ("two", "DEL"), ("one", "DEL")]
    assert all(config["prevResult"] == {"by": ["all"]} for config in plugins.configs)


def test_delete_without_a_result_leaves_it_out() -> None:
    plugins = Recorder()
    network.delete(CONFLIST, RUNTIME, None, plugins)
    assert not any("prevResult" in config for config in plugins.configs)


def test_delete_stops_at_a_failure_so_that_no_address_is_freed_while_something_points_to_it() -> None:
    plugins = Recorder(("two", "DEL"))
    with pytest.raises(CniError):
        network.delete(CONFLIST, RUNTIME, {}, plugins)
    assert plugins.calls == [("three", "DEL"), ("two", "DEL")]
