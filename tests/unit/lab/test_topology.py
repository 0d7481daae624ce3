# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the lab that is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.lab.topology import Route, Topology, parse

CABLE: dict[str, Any] = {
    "node": "node1",
    "interface": "eth0",
    "addresses": ["fd00:101:0::11/64", "192.0.2.11/24"],
    "mtu": 9000,
    "peer": {"node": "router", "interface": "node1", "bridge": "subnet-a", "addresses": None},
}


def _parse(existing: tuple[str, ...] = (), **params: Any) -> Topology:
    return parse(params, existing)


def _findings(existing: tuple[str, ...] = (), **params: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse(params, existing)
    return [finding.path for finding in caught.value.findings]


def test_a_cable_is_the_same_from_both_ends() -> None:
    (link,) = _parse(nodes=[{"name": "node1"}, {"name": "router"}], links=[CABLE]).links
    assert link.interface.alias == "podnet-lab:router/node1"
    assert link.peer.alias == "podnet-lab:node1/eth0"
    assert link.interface.mtu == link.peer.mtu == 9000
    assert link.interface.master == ""
    assert link.peer.master == "subnet-a"


def test_addresses_are_compared_in_their_canonical_form() -> None:
    (link,) = _parse(nodes=[{"name": "node1"}, {"name": "router"}], links=[CABLE]).links
    assert link.interface.addresses == ("192.0.2.11/24", "fd00:101::11/64")


def test_a_node_is_called_by_its_name_unless_told_otherwise() -> None:
    nodes = _parse(nodes=[{"name": "t-node1"}, {"name": "t-node2", "hostname": "node2"}]).nodes
    assert [node.hostname for node in nodes] == ["t-node1", "node2"]


def test_a_route_takes_its_family_from_the_router() -> None:
    routes = [
        {"to": "default", "via": "fd00::1"},
        {"to": "::/0", "via": "fd00::2"},
        {"to": "10.0.0.0/8", "via": "192.0.2.1"},
    ]
    (node,) = _parse(nodes=[{"name": "node1", "routes": routes}]).nodes
    assert node.routes == (
        Route(4, "10.0.0.0/8", "192.0.2.1"),
        Route(6, "default", "fd00::1"),
        Route(6, "default", "fd00::2"),
    )


def test_settings_are_compared_as_the_kernel_prints_them() -> None:
    (node,) = _parse(nodes=[{"name": "node1", "sysctl": {"net.ipv4.ip_local_port_range": "1024  65000"}}]).nodes
    assert node.sysctl == (("net.ipv4.ip_local_port_range", "1024 65000"),)


def test_a_cable_reaches_a_node_that_is_there_already() -> None:
    assert _parse(("router",), nodes=[{"name": "node1"}], links=[CABLE]).links


def test_all_the_errors_are_told_at_once_each_with_its_path() -> None:
    broken_cable = {
        "node": "node1",
        "interface": "sixteen-letters-",
        "addresses": ["192.0.2.11", "192.0.2.300/24"],
        "mtu": 10,
        "peer": {"node": "nobody", "interface": "a b"},
    }
    broken_node = {
        "name": "node1",
        "sysctl": {"kernel.hostname": "x"},
        "routes": [
            {"to": "default", "via": "router"},
            {"to": "10.0.0.1/8", "via": "192.0.2.1"},
            {"to": "10.0.0.0/8", "via": "fd00::1"},
        ],
    }
    assert _findings(
        nodes=[broken_node, {"name": "node1"}, {"name": "-x"}],
        bridges=[{"node": "nowhere", "name": "b/c"}],
        links=[broken_cable],
    ) == [
        "nodes[0].routes[0].via",
        "nodes[0].routes[1].to",
        "nodes[0].routes[2].via",
        "nodes[0].sysctl.kernel.hostname",
        "nodes[2].name",
        "bridges[0].name",
        "links[0].interface",
        "links[0].peer.interface",
        "links[0].mtu",
        "links[0].addresses[0]",
        "links[0].addresses[1]",
        "nodes[1]",
        "bridges[0].node",
        "links[0].peer.node",
    ]


def test_an_interface_has_one_use() -> None:
    other = {**CABLE, "node": "node2"}
    nodes = [{"name": name} for name in ("node1", "node2", "router")]
    assert _findings(nodes=nodes, links=[CABLE, other]) == ["links"]
    assert _findings(nodes=nodes, links=[CABLE], bridges=[{"node": "router", "name": "node1"}]) == ["links"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", "a b", "0123456789abcdef", "üüüüüüüü"])
def test_names_that_the_kernel_refuses_for_an_interface_are_refused_first(name: str) -> None:
    nodes = [{"name": "node1"}, {"name": "router"}]
    assert _findings(nodes=nodes, links=[{**CABLE, "interface": name}]) == ["links[0].interface"]
