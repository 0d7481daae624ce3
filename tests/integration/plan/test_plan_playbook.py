# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan in real runs of Ansible, on hosts that nobody can reach."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text
from ansible_collections.podnet.fabric.tests.integration.plan.project import COLLECTION, Project

PLAN_PLAYBOOK = COLLECTION / "playbooks" / "plan.yml"


def nodes(*numbers: int) -> dict[str, dict[str, Any]]:
    """Hosts of the inventory."""
    return {f"node{number}": {"ansible_host": f"192.0.2.{number}"} for number in numbers}


def blocks(plan: dict[str, Any]) -> dict[str, list[str]]:
    """Each node's blocks."""
    return {name: [block["cidr"] for block in node["blocks"]] for name, node in plan["nodes"].items()}


def test_the_second_run_changes_nothing(project: Project) -> None:
    project.inventory(nodes(1, 2))
    play = project.play()
    assert project.run(play).changed["node1"] == 1
    before, plan = project.ledger.read_bytes(), project.plan()
    second = project.run(play, "--diff")
    assert (second.status, second.changed["node1"]) == (0, 0)
    assert (project.ledger.read_bytes(), project.plan()) == (before, plan)


def test_check_mode_predicts_the_plan_and_shows_the_ledger_it_does_not_write(project: Project) -> None:
    project.inventory(nodes(1, 2))
    play = project.play()
    check = project.run(play, "--check", "--diff")
    assert (check.status, check.changed["node1"]) == (0, 1)
    assert '+    "10.244.1.0/24": {"pool": "default", "node": "node2", "order": 0},' in check.output
    assert [path.name for path in project.folder.iterdir() if "ledger" in path.name] == []
    predicted = project.plan()
    assert project.run(play).status == 0
    assert project.plan() == predicted


def test_a_node_that_leaves_and_comes_back(project: Project) -> None:
    play = project.play()
    project.inventory(nodes(1, 2, 3))
    assert project.run(play).status == 0
    first = blocks(project.plan())
    project.inventory(nodes(1, 3, 4))
    without = project.run(play, "--diff")
    assert '-    "10.244.1.0/24": {"pool": "default", "node": "node2", "order": 0},' in without.output
    assert '"node": "node2", "order": 0, "released": "' in without.output
    now = blocks(project.plan())
    assert now == {"node1": first["node1"], "node3": first["node3"], "node4": ["10.244.3.0/24", "fd00:10:244:3::/64"]}
    project.inventory(nodes(1, 2, 3, 4))
    assert project.run(play).status == 0
    assert blocks(project.plan()) == {**first, **now}


def test_a_renamed_node_keeps_blocks_and_hardware_addresses(project: Project) -> None:
    project.inventory(nodes(1, 2))
    assert project.run(project.play()).status == 0
    before, ledger = project.plan()["nodes"], project.ledger.read_bytes()
    other = {"web": {"ansible_host": "192.0.2.2"}}
    project.inventory({**nodes(1), **other})
    play = project.play(module_defaults={"podnet.fabric.plan": {"renamed": {"node2": "web"}}})
    check = project.run(play, "--check", "--diff")
    assert '+    "10.244.1.0/24": {"pool": "default", "node": "web", "order": 0, "identity": "node2"},' in check.output
    assert project.ledger.read_bytes() == ledger
    expected = {"node1": before["node1"], "web": {**before["node2"], "name": "web"}}
    assert project.plan()["nodes"] == expected
    assert project.run(play).changed["node1"] == 1
    assert project.plan()["nodes"] == expected
    # A new node under the former name is another one.
    project.inventory({**nodes(1), **other, "node2": {"ansible_host": "192.0.2.9"}})
    assert project.run(project.play()).status == 0
    macs = [node["vtep_mac"] for node in project.plan()["nodes"].values()]
    assert len(set(macs)) == 3


def test_hosts_that_are_no_nodes_any_more_are_left_out(project: Project) -> None:
    project.inventory(nodes(1, 2, 3), removed=["node2"])
    assert project.run(project.play()).status == 0
    assert list(project.plan()["nodes"]) == ["node1", "node3"]
    expected = {"expected": ["node1", "node2", "node4"]}
    refused = project.run(project.play(module_defaults={"podnet.fabric.plan": expected}))
    assert "2 errors in the inventory; nothing has been changed:" in refused.output
    assert "node: found 'node2', a host of the group podnet_removed, wanted a node" in refused.output


def test_plan_yml_prints_the_plan_and_writes_nothing(project: Project) -> None:
    project.inventory(nodes(1, 2), podnet_cluster="shown")
    run = project.run(PLAN_PLAYBOOK)
    assert (run.status, run.changed) == (0, {"node1": 0})
    assert "cluster shown: 2 nodes, vxlan, VNI 84, UDP port 4789" in run.output
    assert "node2  192.0.2.2  auto               10.244.1.0/24" in run.output
    assert not project.ledger.exists()


def test_a_limit_leaves_the_plan_whole(project: Project) -> None:
    project.inventory(nodes(1, 2, 3))
    assert project.run(project.play(), "--limit", "node2").status == 0
    assert list(project.plan()["nodes"]) == ["node1", "node2", "node3"]


def test_every_error_at_once_and_no_ledger(project: Project) -> None:
    project.inventory(
        {**nodes(1), "node2": {"ansible_host": "node2.example"}}, podnet_vxlan_vni=0, podnet_mtu="{{ nix }}"
    )
    run = project.run(project.play(), "-e", "podnet_bridge_name=a234567890123456")
    assert run.status != 0
    assert run.output.count("4 errors in the inventory; nothing has been changed:") >= 1
    for line in (
        "podnet_mtu (node1 and node2): found a value that cannot be worked out: 'nix' is undefined, wanted a value; "
        "correct the expression",
        "podnet_bridge_name: found 'a234567890123456' (16 bytes), wanted an interface name (at most 15 bytes; no '/', "
        "':' or white space); choose a shorter name",
        "podnet_vxlan_vni: found 0, wanted a whole number from 1 to 16777215; choose a VNI that nothing else on the "
        "underlay uses",
        "podnet_underlay.address (node2): found no address (ansible_host is the name 'node2.example'), wanted the "
        "node's IP address on the underlay; set ansible_host to an IP address, or podnet_underlay.address",
    ):
        assert line in run.output
    assert [path.name for path in project.folder.iterdir() if "ledger" in path.name] == []


def test_a_damaged_ledger_stays_as_it_is(project: Project) -> None:
    project.inventory(nodes(1))
    project.ledger.write_text('{"format": 99}', encoding="utf-8")
    for arguments in ([], ["--check"]):
        run = project.run(project.play(), *arguments)
        assert run.status != 0
        assert (
            f"{project.ledger}: found format 99, of a newer version, wanted format {ledger_text.FORMAT}; run a "
            "podnet.fabric at " in run.output
        )
        assert project.ledger.read_text(encoding="utf-8") == '{"format": 99}'


def test_templates_play_variables_and_facts_as_variables(project: Project) -> None:
    inventory = nodes(1, 2)
    inventory["node2"]["ansible_host"] = "{{ lab_network }}.22"
    project.inventory(inventory, lab_network="192.0.2", podnet_mtu="{{ 1400 + lab_extra }}", lab_extra=1)
    again = {"name": "Plan again", "podnet.fabric.plan": {"allocate": False}, "run_once": True}
    seen = {
        "name": "See what each host sees",
        "ansible.builtin.assert": {
            "that": [
                "(plan | podnet.fabric.node(inventory_hostname)).name == inventory_hostname",
                "(plan | podnet.fabric.peers(inventory_hostname)) | map(attribute='name') | list == [other]",
                "(plan | podnet.fabric.pools) | map(attribute='name') | list == ['default', 'default6']",
            ]
        },
        "vars": {
            "plan": "{{ ansible_facts['podnet_plan'] }}",
            "other": "{{ {'node1': 'node2', 'node2': 'node1'}[inventory_hostname] }}",
        },
    }
    run = project.run(project.play(again, seen, vars={"podnet_vxlan_vni": "{{ 42 * 2 + lab_extra }}"}))
    assert run.status == 0, run.output
    plan = project.plan()
    assert (plan["mtu"], plan["settings"]["vxlan_vni"]) == (1401, 85)
    assert plan["nodes"]["node2"]["underlay"]["address"] == "192.0.2.22"


def test_without_a_group_podnet_all_hosts_are_nodes(project: Project) -> None:
    project.inventory({})
    content = (project.folder / "hosts.yml").read_text(encoding="utf-8").replace("podnet:", "machines:")
    content = content.replace("hosts: {}", f"hosts: {json.dumps(nodes(1, 2))}")
    (project.folder / "hosts.yml").write_text(content, encoding="utf-8")
    assert project.run(project.play()).status == 0
    assert list(project.plan()["nodes"]) == ["node1", "node2"]


def told(number: int, subnet: int) -> dict[str, Any]:
    """What a node says of its underlay."""
    second = {"address": f"2001:db8:{subnet}::{number}", "prefixlen": 64}
    return {"interface": "eth0", "address": f"192.0.{subnet}.{number}", "prefixlen": 24, "mtu": 1500, "second": second}


# As the role preflight has it between the first plan and the second one.
TELL = {
    "name": "Tell what the nodes would",
    "ansible.builtin.set_fact": {"podnet_node": {"underlay": "{{ told }}"}, "cacheable": True},
}
AGAIN = {"name": "Plan again", "podnet.fabric.plan": {}, "run_once": True}


def test_subnets_decide_once_the_nodes_have_been_asked(project: Project) -> None:
    hosts = {
        f"node{number}": {"ansible_host": f"192.0.{subnet}.{number}", "told": told(number, subnet)}
        for number, subnet in ((1, 2), (2, 2), (3, 3))
    }
    project.inventory(hosts, podnet_dataplane="host_gw")
    run = project.run(project.play(TELL, AGAIN))
    assert run.status != 0
    assert (
        "podnet_dataplane: found host_gw with node1 and node2 in 192.0.2.0/24 and 2001:db8:2::/64 but node3 in "
        "192.0.3.0/24 and 2001:db8:3::/64, wanted all nodes in one subnet"
    ) in run.output

    project.inventory(hosts, podnet_dataplane="geneve", podnet_encapsulation="cross_subnet")
    seen = {
        "name": "See what a node sees",
        "ansible.builtin.assert": {
            "that": [
                "peers | map(attribute='direct') | list == [true, false]",
                "peers | map(attribute='second') | list == ['2001:db8:2::1', '2001:db8:3::3']",
                "dataplane.port == 6081 and dataplane.devices == ['podnet-gnv'] and dataplane.overhead == 50",
            ]
        },
        "vars": {
            "peers": "{{ ansible_facts['podnet_plan'] | podnet.fabric.peers('node2') }}",
            "dataplane": "{{ ansible_facts['podnet_plan'] | podnet.fabric.dataplane }}",
        },
    }
    run = project.run(project.play(TELL, AGAIN, seen))
    assert run.status == 0, run.output
    assert project.plan()["nodes"]["node3"]["subnets"] == ["192.0.3.0/24", "2001:db8:3::/64"]
