# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken from Ansible's variables, and at what cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.podnet.fabric.plugins.plugin_utils import hostvars


class Inventory:
    """Stands for HostVars: raw_get gives values as they are, [] templated ones; both count their calls."""

    def __init__(self, hosts: dict[str, dict[str, Any]]) -> None:
        self.hosts = hosts
        self.calls: Counter[str] = Counter()

    def raw_get(self, name: str) -> dict[str, Any]:
        self.calls["raw"] += 1
        return self.hosts[name]

    def __getitem__(self, name: str) -> Any:
        self.calls["templated"] += 1
        return Templated(self.hosts[name])


class Templated:
    """Stands for HostVarsVars."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = variables

    def __getitem__(self, name: str) -> Any:
        return template(self.variables[name])


def template(value: Any) -> Any:
    """Stands for the templating: {{ n }} becomes 1400, {{ nix }} fails."""
    if value == "{{ nix }}":
        raise AnsibleError("'nix' is undefined")
    return 1400 if value == "{{ n }}" else value


def task_vars(inventory: Inventory, **extra: Any) -> dict[str, Any]:
    """The variables of a task that runs on the first host."""
    first = next(iter(inventory.hosts))
    return {
        **inventory.hosts[first],
        "hostvars": inventory,
        "groups": {"all": list(inventory.hosts)},
        "inventory_hostname": first,
        **extra,
    }


def test_the_nodes_are_the_group_podnet_or_all_hosts() -> None:
    assert hostvars.node_names({"all": ["a", "b"], "podnet": ["b"]}) == ["b"]
    assert hostvars.node_names({"all": ["a", "b"]}) == ["a", "b"]
    assert hostvars.node_names({"all": ["a"], "podnet": []}) == []


def test_variables_addresses_and_facts_of_each_node() -> None:
    told = {"underlay": {"address": "192.0.2.1"}}
    first = {"podnet_mtu": "{{ n }}", "other": 1, "ansible_host": "192.0.2.1", "ansible_facts": {"podnet_node": told}}
    inventory = Inventory({"a": first, "b": {"podnet_mtu": 1400, "podnet_pools": [{"name": "x"}]}})
    hosts, problems = hostvars.gather(task_vars(inventory), template)
    assert problems == []
    assert [(host.name, dict(host.variables), host.ansible_host, host.facts) for host in hosts] == [
        ("a", {"podnet_mtu": 1400}, "192.0.2.1", told),
        ("b", {"podnet_mtu": 1400, "podnet_pools": [{"name": "x"}]}, "", {}),
    ]


def test_facts_that_are_injected_as_variables_are_not_the_operators() -> None:
    plan: dict[str, Any] = {"podnet_plan": {}, "podnet_node": {}}
    inventory = Inventory({"a": {**plan, "ansible_facts": plan}})
    assert dict(hostvars.gather(task_vars(inventory), template)[0][0].variables) == {}


def test_what_play_and_role_say() -> None:
    inventory = Inventory({"a": {"podnet_mtu": 1400}, "b": {"podnet_mtu": 1400, "podnet_cluster": "own"}, "c": {}})
    said = {"podnet_mtu": 1300, "podnet_cluster": "role", "podnet_vxlan_port": "{{ n }}"}
    hosts, _problems = hostvars.gather(task_vars(inventory, **said), template)
    assert [dict(host.variables) for host in hosts] == [
        {"podnet_cluster": "role", "podnet_vxlan_port": 1400, "podnet_mtu": 1300},
        {"podnet_cluster": "own", "podnet_vxlan_port": 1400, "podnet_mtu": 1300},
        {"podnet_cluster": "role", "podnet_vxlan_port": 1400, "podnet_mtu": 1300},
    ]


def test_values_that_cannot_be_worked_out_are_told_once_with_their_hosts() -> None:
    inventory = Inventory(
        {**{f"n{number}": {"podnet_mtu": "{{ nix }}"} for number in range(5)}, "z": {"podnet_mtu": 1400}}
    )
    hosts, problems = hostvars.gather(task_vars(inventory), template)
    assert [str(problem) for problem in problems] == [
        "podnet_mtu (n0, n1, n2 and 2 more): found a value that cannot be worked out: 'nix' is undefined, wanted a "
        "value; correct the expression"
    ]
    assert all(not host.variables for host in hosts)


def test_each_host_is_asked_for_once_and_templated_only_when_needed() -> None:
    inventory = Inventory({f"n{number}": {"podnet_mtu": 1400, "ansible_host": "192.0.2.1"} for number in range(100)})
    hostvars.gather(task_vars(inventory), template)
    assert inventory.calls == {"raw": 101}
    inventory = Inventory({f"n{number}": {"podnet_a": "{{ n }}", "podnet_b": "{{ n }}"} for number in range(100)})
    hostvars.gather(task_vars(inventory), template)
    assert inventory.calls == {"raw": 101, "templated": 100}


def test_the_folder_is_that_of_the_first_node_wherever_the_task_runs() -> None:
    inventory = Inventory({"a": {"inventory_dir": "/one"}, "b": {"inventory_dir": "/two"}})
    assert hostvars.inventory_folder(task_vars(inventory, inventory_hostname="b")) == "/one"
    assert hostvars.inventory_folder(task_vars(Inventory({"a": {"inventory_dir": None}}))) is None
