# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes to on-link peers without a tunnel: host_gw, and the direct half of cross_subnet, side by side and in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import purge
from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import host_gw, route, vxlan

from .conftest import shown

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result

    from .conftest import Node

DEVICE = "podnet-vx"
GW = "host_gw"


def peer(number: int, *, direct: bool = True, subnet: int = 2) -> dict[str, Any]:
    return {
        "name": f"node{number}",
        "underlay": f"192.0.{subnet}.{number}",
        "second": f"2001:db8::{number}" if subnet == 2 else None,
        "direct": direct,
        "mac": f"02:00:00:00:01:{number:02x}",
        "blocks": [f"10.244.{number}.0/24", f"fd00:10:244:{number:x}::/64"],
    }


def params(*peers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    wanted = {"local": "192.0.2.1", "second_local": "2001:db8::1", "underlay": "auto", "peers": list(peers)}
    return {**wanted, "nexthop_objects": "auto", **changes}


def tunnel(*peers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    own = {"vni": 84, "port": 4789, "mac": "02:00:00:00:01:01", "addresses": ["10.244.1.0/32", "fd00:10:244:1::/128"]}
    return params(*peers, **own, **changes)


def ways(node: Node) -> dict[str, str]:
    """Destination to device, of our routes to peers."""
    return {
        entry["dst"]: entry.get("dev", "")
        for family in ("-4", "-6")
        for entry in node.namespace.ip_json(family, "route", "show", "proto", "84")
        if entry.get("type", "unicast") == "unicast"
    }


def through(device: str, *numbers: int) -> dict[str, str]:
    return {dst: device for n in numbers for dst in (f"10.244.{n}.0/24", f"fd00:10:244:{n:x}::/64")}


def operations(result: Result) -> set[tuple[str, str]]:
    return {(operation.facility, operation.verb) for operation in result.operations}


@pytest.mark.parametrize("objects", ["auto", "never"])
def test_host_gw_is_routes_and_nothing_else(node: Node, objects: str) -> None:
    before = node.snapshot()
    wanted = params(peer(2), peer(3), nexthop_objects=objects)
    predicted = node.declare(host_gw.KIND, GW, wanted, check=True)
    assert node.snapshot() == before
    real = node.declare(host_gw.KIND, GW, wanted)
    assert shown(host_gw.KIND, predicted) == shown(host_gw.KIND, real)
    assert ways(node) == through("eth0", 2, 3)
    (to_pod,) = node.namespace.ip_json("route", "get", "10.244.3.9")
    (to_pod6,) = node.namespace.ip_json("-6", "route", "get", "fd00:10:244:3::9")
    assert (to_pod["gateway"], to_pod6["gateway"]) == ("192.0.2.3", "2001:db8::3")
    assert not node.declare(host_gw.KIND, GW, wanted).changed
    node.withdraw(host_gw.KIND, GW)
    assert node.snapshot() == before


@pytest.mark.parametrize(
    "drift",
    [
        "route del 10.244.2.0/24",
        "-6 route del fd00:10:244:2::/64",
        "route replace 10.244.2.0/24 via 192.0.2.254 proto 84",
        "nexthop del id 1409286144",
        "route add 10.99.0.0/24 via 192.0.2.2 proto 84",
        "nexthop add id 1409290000 via 192.0.2.9 dev eth0 proto 84",
    ],
)
def test_one_run_repairs_host_gw(node: Node, drift: str) -> None:
    node.declare(host_gw.KIND, GW, params(peer(2), peer(3)))
    before = node.snapshot()
    node.namespace.ip(*drift.split())
    assert node.snapshot() != before
    assert node.declare(host_gw.KIND, GW, params(peer(2), peer(3))).operations
    assert node.snapshot() == before


def test_host_gw_refuses_a_peer_that_is_not_on_link(node: Node) -> None:
    before = node.snapshot()
    node.namespace.ip("route", "add", "192.0.3.0/24", "via", "192.0.2.254")
    with pytest.raises(InvalidInput) as refused:
        node.declare(host_gw.KIND, GW, params(peer(2), {**peer(3, subnet=3), "blocks": ["10.244.3.0/24"]}))
    (finding,) = refused.value.findings
    assert str(finding).startswith(
        "peers[1].direct: the kernel's way to node3 (192.0.3.3) is dst 192.0.3.0/24 via 192.0.2.254 dev eth0 "
        "proto boot; a peer that is on-link on eth0"
    )
    node.namespace.ip("route", "del", "192.0.3.0/24")
    with pytest.raises(InvalidInput, match="has no underlay address of that family"):
        node.declare(host_gw.KIND, GW, params({**peer(2), "second": None}))
    with pytest.raises(
        InvalidInput, match=r"peers\[0\]\.direct: node2 \(192\.0\.2\.2\) is not on the node's own subnet"
    ):
        node.declare(host_gw.KIND, GW, params(peer(2, direct=False)))
    assert node.snapshot() == before


def test_cross_subnet_tunnels_only_where_it_must(node: Node) -> None:
    wanted = tunnel(peer(2), peer(3, direct=False, subnet=3))
    before = node.snapshot()
    node.declare(vxlan.KIND, DEVICE, wanted)
    assert ways(node) == {**through("eth0", 2), **through(DEVICE, 3)}
    assert "192.0.2.2" not in node.namespace.run("bridge", "fdb", "show", "dev", DEVICE)
    assert not node.declare(vxlan.KIND, DEVICE, wanted).changed
    # A peer that has no address of a block's family there is reached by the tunnel in that family.
    node.declare(vxlan.KIND, DEVICE, tunnel({**peer(2), "second": None}))
    assert ways(node) == {"10.244.2.0/24": "eth0", "fd00:10:244:2::/64": DEVICE}
    node.declare(vxlan.KIND, DEVICE, tunnel(peer(2, direct=False)))
    assert ways(node) == through(DEVICE, 2)
    node.withdraw(vxlan.KIND, DEVICE)
    assert node.snapshot() == before


def test_on_standby_the_routes_stay_and_then_move_in_place(node: Node) -> None:
    before = node.snapshot()
    peers = [peer(2), peer(3)]
    node.declare(host_gw.KIND, GW, params(*peers))
    remote = [peer(2, direct=False), peer(3, direct=False)]
    standing = node.declare(vxlan.KIND, DEVICE, tunnel(*remote, standby=True))
    assert ways(node) == through("eth0", 2, 3)
    assert operations(standing) == {(name, "create") for name in ("links", "addresses", "neighbours", "fdb")}
    moved = node.declare(vxlan.KIND, DEVICE, tunnel(*remote))
    assert operations(moved) == {("nexthops", "create"), ("routes", "replace")}
    assert ways(node) == through(DEVICE, 2, 3)
    retired = node.withdraw(host_gw.KIND, GW)
    assert operations(retired) == {("nexthops", "delete")}
    assert ways(node) == through(DEVICE, 2, 3)
    assert not node.declare(vxlan.KIND, DEVICE, tunnel(*remote)).changed
    # And back.
    node.declare(host_gw.KIND, GW, params(*peers, standby=True))
    assert ways(node) == through(DEVICE, 2, 3)
    node.declare(host_gw.KIND, GW, params(*peers))
    node.withdraw(vxlan.KIND, DEVICE)
    assert ways(node) == through("eth0", 2, 3)
    assert not node.declare(host_gw.KIND, GW, params(*peers)).changed
    node.withdraw(host_gw.KIND, GW)
    assert node.snapshot() == before


def test_two_dataplanes_with_the_same_direct_routes_hand_them_over(node: Node) -> None:
    node.declare(host_gw.KIND, GW, params(peer(2)))
    node.declare(vxlan.KIND, DEVICE, tunnel(peer(2), standby=True))
    assert node.declare(vxlan.KIND, DEVICE, tunnel(peer(2))).operations == []
    assert node.withdraw(host_gw.KIND, GW).operations == []
    assert ways(node) == through("eth0", 2)


def test_routes_of_an_operator_and_of_a_dataplane_are_told_apart(node: Node) -> None:
    own = {"dst": "10.77.0.0/16", "via": "192.0.2.2", "dev": "eth0"}
    node.declare(route.KIND, "own", {"routes": [own]})
    node.declare(host_gw.KIND, GW, params(peer(2)))
    assert ways(node) == {"10.77.0.0/16": "eth0", **through("eth0", 2)}
    assert not node.declare(route.KIND, "own", {"routes": [own]}).changed
    # The gateway is the same, and so is the nexthop object; it stays with whoever is left.
    node.withdraw(route.KIND, "own")
    assert ways(node) == through("eth0", 2)
    node.declare(route.KIND, "own", {"routes": [own]})
    node.withdraw(host_gw.KIND, GW)
    assert ways(node) == {"10.77.0.0/16": "eth0"}


@pytest.mark.parametrize("objects", ["auto", "never"])
@pytest.mark.parametrize(("old", "new"), [(vxlan.KIND, host_gw.KIND), (host_gw.KIND, vxlan.KIND)])
def test_a_removal_after_a_move_is_foretold_without_the_routes_that_are_replaced(
    node: Node, old: Kind, new: Kind, objects: str
) -> None:
    names = {vxlan.KIND.name: DEVICE, host_gw.KIND.name: GW}
    wanted = tunnel(peer(2), peer(3), nexthop_objects=objects)
    node.declare(old, names[old.name], wanted)
    with Host() as host:
        found = reconcile(old, {}, host, node.declarations, check=True)
    # What nobody replaces is still foretold.
    told = purge.foretold(found, peer(2)["blocks"])
    assert {route["dst"] for route in shown(old, found)[0]["routes"]} >= set(peer(2)["blocks"] + peer(3)["blocks"])
    assert {route["dst"] for route in shown(old, told)[0]["routes"]} == set(peer(3)["blocks"])
    told = purge.foretold(found, peer(2)["blocks"] + peer(3)["blocks"])
    assert told.changed

    node.declare(new, names[new.name], wanted)
    with Host() as host:
        done = reconcile(old, {}, host, node.declarations)
    assert shown(old, told)[0].get("routes", []) == shown(old, done)[0].get("routes", []) == []
    assert not {operation for operation in operations(told) if operation[0] == "routes"}
    assert operations(told) == operations(done)
