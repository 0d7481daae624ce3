# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Geneve and IP in IP on a kernel that has them: prediction, drift, withdrawal, standby and moves in place, kill -9."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.resources import geneve, ipip, vxlan
from tests.integration.kinds import needs_link_kind

from .conftest import shown

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

    from .conftest import Node

GENEVE, IPIP, VXLAN = "podnet-gnv", "podnet-ip4", "podnet-vx"
KINDS: dict[str, tuple[Any, str]] = {"geneve": (geneve.KIND, GENEVE), "ipip": (ipip.KIND, IPIP)}

pytestmark = [needs_link_kind("geneve"), needs_link_kind("ipip"), needs_link_kind("ip6tnl")]


def peer(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"node{number}",
        "underlay": f"192.0.2.{number}",
        "second": f"2001:db8::{number}",
        "mac": f"02:00:00:00:01:{number:02x}",
        "blocks": [f"10.244.{number}.0/24", f"fd00:10:244:{number:x}::/64"],
        **changes,
    }


def params(kind: str, *numbers: int, **changes: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "local": "192.0.2.1",
        "second_local": "2001:db8::1",
        "underlay": "auto",
        "addresses": ["10.244.1.0/32", "fd00:10:244:1::/128"],
        "nexthop_objects": "auto",
        "peers": [peer(number) for number in numbers],
    }
    own: dict[str, Any] = {"mac": "02:00:00:00:01:01", "vni": 84, "port": 6081 if kind == "geneve" else 4789}
    return {**wanted, **({"device6": "podnet-ip6"} if kind == "ipip" else own), **changes}


def ways(node: Node) -> set[str]:
    """The devices of our routes to peers."""
    return {
        entry.get("dev", "")
        for family in ("-4", "-6")
        for entry in node.namespace.ip_json(family, "route", "show", "proto", "84")
        if entry.get("type", "unicast") == "unicast"
    }


@pytest.mark.parametrize("objects", ["auto", "never"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_prediction_is_what_follows_and_withdrawing_leaves_nothing(node: Node, kind: str, objects: str) -> None:
    resource, name = KINDS[kind]
    before = node.snapshot()
    wanted = params(kind, 2, 3, nexthop_objects=objects)
    predicted = node.declare(resource, name, wanted, check=True)
    assert node.snapshot() == before
    real = node.declare(resource, name, wanted)
    assert shown(resource, predicted) == shown(resource, real)
    assert predicted.operations == real.operations
    again = node.declare(resource, name, wanted)
    assert (again.changed, again.operations) == (False, [])
    assert node.withdraw(resource, name).changed
    assert node.snapshot() == before


def test_geneve_puts_the_outer_header_into_the_nexthop(node: Node) -> None:
    node.declare(geneve.KIND, GENEVE, params("geneve", 2))
    (device,) = node.namespace.ip_json("link", "show", GENEVE)
    assert (device["mtu"], device["ifalias"], device["address"]) == (1450, "podnet:geneve", "02:00:00:00:01:01")
    assert device["linkinfo"]["info_data"]["port"] == 6081
    hops = [hop for hop in node.namespace.ip_json("nexthop") if hop["dev"] == GENEVE]
    assert {hop["encap"] for hop in hops} == {"ip"}  # the header's `id` hides the object's in iproute2's JSON
    shown_hops = node.namespace.ip("nexthop")
    assert shown_hops.count("encap ip id 84 src 192.0.2.1 dst 192.0.2.2 ttl 64") == 2, shown_hops
    # Over IPv6 the header is an IPv6 one, and twenty bytes longer.
    six = {"local": "2001:db8::1", "second_local": "192.0.2.1", "peers": [peer(2, underlay="2001:db8::2", second=None)]}
    node.declare(geneve.KIND, GENEVE, params("geneve", **six))
    assert node.namespace.ip("nexthop").count("encap ip6 id 84 src 2001:db8::1 dst 2001:db8::2") == 2
    assert node.namespace.ip_json("link", "show", GENEVE)[0]["mtu"] == 1430


def test_ipip_has_a_device_for_each_family_and_leaves_the_kernels_own_alone(node: Node) -> None:
    node.declare(ipip.KIND, IPIP, params("ipip", 2))
    four, six = (node.namespace.ip_json("link", "show", name)[0] for name in (IPIP, "podnet-ip6"))
    assert (four["linkinfo"]["info_kind"], six["linkinfo"]["info_kind"]) == ("ipip", "ip6tnl")
    # One MTU for both families, which is the one of the wider header.
    assert (four["mtu"], six["mtu"]) == (1460, 1460)
    assert four["linkinfo"]["info_data"]["local"] == "192.0.2.1"
    (way,) = node.namespace.ip_json("route", "get", "10.244.2.9")
    assert (way["dev"], way["gateway"]) == (IPIP, "192.0.2.2")
    assert "encap ip6 id 0 src 2001:db8::1 dst 2001:db8::2" in node.namespace.ip("nexthop")


def test_ipip_refuses_a_family_without_underlay_addresses(node: Node) -> None:
    before = node.snapshot()
    with pytest.raises(InvalidInput) as refused:
        node.declare(ipip.KIND, IPIP, params("ipip", peers=[peer(2), peer(3, second=None)]))
    (finding,) = refused.value.findings
    assert str(finding).startswith("peers[1].blocks: fd00:10:244:3::/64 of node3, while node3 has no IPv6 underlay")
    with pytest.raises(InvalidInput, match="while this node has no IPv6 underlay address; give it one"):
        node.declare(ipip.KIND, IPIP, params("ipip", 2, second_local=""))
    assert node.snapshot() == before


DRIFTS = {
    "geneve": [
        "link del podnet-gnv",
        "link set podnet-gnv down",
        "link set podnet-gnv mtu 1400",
        "neigh del 10.244.2.0 dev podnet-gnv",
        "route del 10.244.2.0/24",
        "-6 route del fd00:10:244:2::/64",
        "nexthop del id 1409286144",
        "nexthop replace id 1409286144 via 10.244.2.0 dev podnet-gnv onlink encap ip id 85 dst 192.0.2.9 proto 84",
        "address del 10.244.1.0/32 dev podnet-gnv",
    ],
    "ipip": [
        "link del podnet-ip4",
        "link del podnet-ip6",
        "link set podnet-ip6 down",
        "route del 10.244.2.0/24",
        "-6 route del fd00:10:244:2::/64",
        "route replace 10.244.2.0/24 via 192.0.2.3 dev podnet-ip4 onlink proto 84",
        "address add 10.9.9.9/32 dev podnet-ip4",
    ],
}


@pytest.mark.parametrize(("kind", "drift"), [(kind, drift) for kind, drifts in DRIFTS.items() for drift in drifts])
def test_one_run_repairs(node: Node, kind: str, drift: str) -> None:
    resource, name = KINDS[kind]
    node.declare(resource, name, params(kind, 2, 3))
    before = node.snapshot()
    node.namespace.ip(*drift.split())
    assert node.snapshot() != before
    assert node.declare(resource, name, params(kind, 2, 3)).operations
    assert node.snapshot() == before


@pytest.mark.parametrize("kind", KINDS)
def test_routes_move_in_place_from_vxlan_and_back(node: Node, kind: str) -> None:
    resource, name = KINDS[kind]
    clean = node.snapshot()
    node.declare(vxlan.KIND, VXLAN, params("vxlan", 2, 3))
    with_vxlan = node.snapshot(ids=False)
    node.declare(resource, name, params(kind, 2, 3, standby=True))
    assert ways(node) == {VXLAN}
    moved = node.declare(resource, name, params(kind, 2, 3))
    assert {operation.verb for operation in moved.operations if operation.facility == "routes"} == {"replace"}
    assert VXLAN not in ways(node)
    retired = node.withdraw(vxlan.KIND, VXLAN)
    assert "routes" not in {operation.facility for operation in retired.operations}
    node.declare(vxlan.KIND, VXLAN, params("vxlan", 2, 3, standby=True))
    node.declare(vxlan.KIND, VXLAN, params("vxlan", 2, 3))
    node.withdraw(resource, name)
    assert node.snapshot(ids=False) == with_vxlan
    node.withdraw(vxlan.KIND, VXLAN)
    assert node.snapshot() == clean


def killed_after(node: Node, resource: Kind, name: str, messages: int, wanted: dict[str, Any]) -> bool:
    """Declare in a child that is killed in place of a message to the kernel; False when it came to its end before."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            batch, left = Netlink.batch, [messages]

            def one_by_one(self: Netlink, whole: list[bytes]) -> list[Any]:
                failures = []
                for position, message in enumerate(whole):
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left[0] -= 1
                    failures += [(position, error) for _zero, error in batch(self, [message])]
                return failures

            Netlink.batch = one_by_one  # type: ignore[method-assign, assignment]
            node.declare(resource, name, wanted)
            status = 0
        finally:
            os._exit(status)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_killed_at_any_message_is_completed_by_the_next_run(node: Node, kind: str) -> None:
    resource, name = KINDS[kind]
    wanted = params(kind, 2)
    node.declare(resource, name, wanted)
    clean = node.snapshot(ids=False)
    messages = 0
    while True:
        node.withdraw(resource, name)
        node.declare(vxlan.KIND, VXLAN, params("vxlan", 2))
        if not killed_after(node, resource, name, messages, wanted):
            break
        node.declare(resource, name, wanted)
        node.withdraw(vxlan.KIND, VXLAN)
        assert node.snapshot(ids=False) == clean, f"killed after {messages} messages"
        messages += 1
    assert messages > 8
