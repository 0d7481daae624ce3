# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cables, switches and routes between nodes: made, mended, and left alone when they are right."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, Conflict
from ansible_collections.podnet.fabric.plugins.module_utils.lab import registry

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.lab.conftest import Lab


def _cable(lab: Lab, node: str, number: int, subnet: str = "subnet-a") -> dict[str, Any]:
    return {
        "node": lab.name(node),
        "interface": "eth0",
        "addresses": [f"192.0.2.{number}/24", f"fd00::{number}/64"],
        "mtu": 1400,
        "peer": {"node": lab.name("router"), "interface": node, "bridge": subnet},
    }


def _network(lab: Lab, *nodes: str) -> dict[str, Any]:
    """Two nodes or more on one subnet, with a router that has a second subnet."""
    routes = [{"to": "default", "via": "192.0.2.1"}, {"to": "default", "via": "fd00::1"}]
    router = {"name": lab.name("router"), "sysctl": {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}}
    bridges = [
        {"node": lab.name("router"), "name": "subnet-a", "addresses": ["192.0.2.1/24", "fd00::1/64"]},
        {"node": lab.name("router"), "name": "subnet-b", "addresses": ["198.51.100.1/24"]},
    ]
    return {
        "nodes": [router, *({"name": lab.name(node), "routes": routes} for node in nodes)],
        "bridges": bridges,
        "links": [_cable(lab, node, 11 + index) for index, node in enumerate(nodes)],
    }


def _pings(lab: Lab, node: str, *addresses: str) -> list[str]:
    return [
        address
        for address in addresses
        if ", 0% packet loss" not in lab.run(lab.name(node), "ping", "-c1", "-W2", address, check=False)
    ]


def test_nodes_reach_each_other_and_what_is_behind_the_router(lab: Lab) -> None:
    lab.present(**_network(lab, "one", "two"))
    assert _pings(lab, "one", "192.0.2.12", "fd00::12", "192.0.2.1", "fd00::1", "198.51.100.1") == []


def test_check_mode_predicts_what_the_run_then_makes(lab: Lab) -> None:
    predicted = lab.present(check=True, **_network(lab, "one", "two"))
    assert lab.traces() == []
    made = lab.present(**_network(lab, "one", "two"))
    again = lab.present(**_network(lab, "one", "two"))
    assert predicted.changed
    assert made.changed
    assert not again.changed
    assert predicted.after == made.after == again.before == again.after
    assert predicted.before == made.before == {}


def test_another_node_changes_nothing_but_itself_and_its_port(lab: Lab) -> None:
    lab.present(**_network(lab, "one", "two"))
    pids = {name: lab.record(lab.name(name)).pid for name in ("one", "two", "router")}
    outcome = lab.present(**_network(lab, "one", "two", "three"))
    assert pids == {name: lab.record(lab.name(name)).pid for name in pids}
    assert {name for name in outcome.after if outcome.after[name] != outcome.before.get(name)} == {
        lab.name("three"),
        lab.name("router"),
    }
    assert _pings(lab, "one", "192.0.2.13", "fd00::13") == []
    lab.absent(lab.name("three"))
    # At once, and not when the kernel clears up: the name of the port has to be free again.
    assert "three" not in lab.run(lab.name("router"), "ls", "/sys/class/net")
    assert not lab.present(**_network(lab, "one", "two")).changed
    assert lab.present(**_network(lab, "one", "two", "three")).changed


@pytest.mark.parametrize(
    "damage",
    [
        "ip link delete eth0",
        "ip link set eth0 down",
        "ip link set eth0 mtu 1300",
        "ip address flush dev eth0 scope global",
        "ip address add 192.0.2.99/24 dev eth0",
        "ip route delete default",
        "ip -6 route replace default via fd00::99",
        "hostname other",
    ],
)
def test_damage_is_mended(lab: Lab, damage: str) -> None:
    right = lab.present(**_network(lab, "one", "two")).after
    lab.run(lab.name("one"), "sh", "-c", damage)
    mended = lab.present(**_network(lab, "one", "two"))
    assert mended.changed
    assert mended.before != right
    assert mended.after == right
    assert not lab.present(**_network(lab, "one", "two")).changed
    assert _pings(lab, "one", "192.0.2.12", "198.51.100.1") == []


def test_a_cable_is_laid_anew_when_it_leads_elsewhere(lab: Lab) -> None:
    network = _network(lab, "one", "two")
    lab.present(**network)
    network["links"][0]["peer"]["interface"] = "two"
    network["links"][1]["peer"]["interface"] = "one"
    assert lab.present(**network).changed
    assert not lab.present(**network).changed
    assert _pings(lab, "one", "192.0.2.12") == []


def test_a_dead_node_is_made_again_with_its_cables(lab: Lab) -> None:
    lab.present(**_network(lab, "one", "two"))
    record = lab.record(lab.name("one"))
    os.kill(record.pid, signal.SIGKILL)
    while registry.is_alive(record):
        pass
    assert lab.present(**_network(lab, "one", "two")).changed
    assert _pings(lab, "one", "192.0.2.12", "fd00::12") == []


def test_an_interface_of_somebody_else_is_not_replaced(lab: Lab) -> None:
    lab.make("one", "router")
    lab.run(lab.name("one"), "ip", "link", "add", "eth0", "type", "bridge")
    with pytest.raises(Conflict, match=r"one has an interface eth0 \(bridge\)"):
        lab.present(**_network(lab, "one"))


def test_every_refusal_of_the_kernel_is_told(lab: Lab) -> None:
    network = _network(lab, "one", "two")
    network["nodes"][1]["routes"] = [
        {"to": "default", "via": "203.0.113.1"},
        {"to": "10.0.0.0/8", "via": "203.0.113.2"},
    ]
    with pytest.raises(ApplyError) as caught:
        lab.present(**network)
    assert lab.name("one") in str(caught.value)
    assert str(caught.value).count("Nexthop has invalid gateway") == 2


def test_a_setting_that_a_namespace_lacks_is_told(lab: Lab) -> None:
    with pytest.raises(ApplyError, match=r"net\.no\.such"):
        lab.present(nodes=[{"name": lab.name("one"), "sysctl": {"net.no.such": 1}}])
