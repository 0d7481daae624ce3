# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VXLAN kind on a real kernel: idempotence, prediction, drift, ownership, peers that come and go, kill -9."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.vxlan import KIND

from .conftest import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Node

DEVICE = "podnet-vx"


def peer(number: int) -> dict[str, Any]:
    return {
        "name": f"node{number}",
        "underlay": f"192.0.2.{number}",
        "mac": f"02:00:00:00:01:{number:02x}",
        "blocks": [f"10.244.{number}.0/24", f"fd00:10:244:{number:x}::/64"],
    }


def params(*numbers: int, **changes: Any) -> dict[str, Any]:
    wanted = {
        "vni": 84,
        "port": 4789,
        "local": "192.0.2.1",
        "underlay": "auto",
        "mac": "02:00:00:00:01:01",
        "addresses": ["10.244.1.0/32", "fd00:10:244:1::/128"],
        "nexthop_objects": "auto",
        "peers": [peer(number) for number in numbers],
    }
    return {**wanted, **changes}


def counts(result: Any) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for operation in result.operations:
        found[operation.facility, operation.verb] = found.get((operation.facility, operation.verb), 0) + 1
    return found


def test_the_prediction_is_what_follows_and_a_second_run_changes_nothing(node: Node) -> None:
    before = node.snapshot()
    predicted = node.declare(KIND, DEVICE, params(2, 3), check=True)
    assert node.snapshot() == before
    assert not node.declarations.directory.exists()
    real = node.declare(KIND, DEVICE, params(2, 3))
    assert shown(KIND, predicted) == shown(KIND, real)
    assert predicted.operations == real.operations
    again = node.declare(KIND, DEVICE, params(2, 3))
    assert (again.changed, again.operations) == (False, [])
    (device,) = node.namespace.ip_json("link", "show", DEVICE)
    assert (device["mtu"], device["ifalias"], device["address"]) == (1450, "podnet:vxlan", "02:00:00:00:01:01")
    data = device["linkinfo"]["info_data"]
    assert (data["id"], data["port"], data["local"], data["link"], data["learning"]) == (
        84,
        4789,
        "192.0.2.1",
        "eth0",
        False,
    )


def test_withdrawing_leaves_the_host_as_it_was(node: Node) -> None:
    before = node.snapshot()
    node.declare(KIND, DEVICE, params(2, 3, 4))
    assert node.snapshot() != before
    assert node.withdraw(KIND, DEVICE).changed
    assert node.snapshot() == before
    assert not node.declarations.directory.exists()
    assert not node.withdraw(KIND, DEVICE).changed


def test_a_fifth_node_is_one_entry_of_each_sort_and_family(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3, 4))
    before = node.snapshot()
    assert counts(node.declare(KIND, DEVICE, params(2, 3, 4, 5))) == {
        ("neighbours", "create"): 2,
        ("fdb", "create"): 1,
        ("nexthops", "create"): 2,
        ("routes", "create"): 2,
    }
    assert counts(node.declare(KIND, DEVICE, params(2, 3, 4))) == {
        ("neighbours", "delete"): 2,
        ("fdb", "delete"): 1,
        ("nexthops", "delete"): 2,
        ("routes", "delete"): 2,
    }
    assert node.snapshot() == before


def drifts() -> dict[str, list[str]]:
    return {
        "an FDB entry is deleted": ["bridge fdb del 02:00:00:00:01:02 dev podnet-vx dst 192.0.2.2 self"],
        "an FDB entry points elsewhere": ["bridge fdb replace 02:00:00:00:01:02 dev podnet-vx dst 192.0.2.9 self"],
        "an FDB entry is added": ["bridge fdb append 00:00:00:00:00:00 dev podnet-vx dst 192.0.2.9 self"],
        "a neighbour is deleted": ["ip neigh del 10.244.2.0 dev podnet-vx"],
        "a neighbour has another MAC": [
            "ip neigh replace fe80::ff:fe00:102 lladdr 02:00:00:00:09:09 dev podnet-vx nud permanent"
        ],
        "a neighbour is added": ["ip neigh add 10.9.9.9 lladdr 02:00:00:00:09:09 dev podnet-vx nud permanent"],
        "a route is deleted": ["ip route del 10.244.2.0/24"],
        "a route is changed": ["ip route replace 10.244.2.0/24 via 192.0.2.254 proto 84"],
        "an IPv6 route is deleted": ["ip -6 route del fd00:10:244:2::/64"],
        "a route of ours is added": ["ip route add 10.99.0.0/24 via 10.244.2.0 dev podnet-vx onlink proto 84"],
        "a nexthop object is deleted, and its routes with it": ["ip nexthop del id 1409286144"],
        "an address is deleted": ["ip address del 10.244.1.0/32 dev podnet-vx"],
        "an address is added": ["ip address add 10.9.9.9/32 dev podnet-vx"],
        "the device is down": ["ip link set podnet-vx down"],
        "the device is deleted": ["ip link del podnet-vx"],
        "the device has another VNI": [
            "ip link del podnet-vx",
            "ip link add podnet-vx type vxlan id 85 local 192.0.2.1 dev eth0 dstport 4789 nolearning",
            "ip link set podnet-vx alias podnet:vxlan",
        ],
        "the device has another MTU, MAC and alias": [
            "ip link set podnet-vx mtu 1400 address 02:00:00:00:09:09",
            "ip link set podnet-vx alias ''",
        ],
    }


@pytest.mark.parametrize("drift", drifts())
def test_one_run_repairs(node: Node, drift: str) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    before = node.snapshot()
    for command in drifts()[drift]:
        node.namespace.run(*[word.strip("'") for word in command.split()])
    assert node.snapshot() != before
    assert node.declare(KIND, DEVICE, params(2, 3)).operations
    assert node.snapshot() == before
    assert node.declare(KIND, DEVICE, params(2, 3)).operations == []


def test_a_foreign_route_beside_ours_stays(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    node.namespace.ip("route", "add", "10.244.2.0/24", "via", "192.0.2.254", "metric", "50")
    node.namespace.ip("route", "append", "10.244.3.0/24", "via", "192.0.2.254")
    foreign = node.snapshot()
    node.namespace.ip("route", "del", "10.244.2.0/24", "proto", "84")
    assert node.declare(KIND, DEVICE, params(2, 3)).operations
    assert node.snapshot() == foreign


def test_a_foreign_route_in_the_way_is_named_and_nothing_changes(node: Node) -> None:
    node.namespace.ip("route", "add", "10.244.2.0/24", "via", "192.0.2.254")
    node.namespace.ip("-6", "route", "add", "fd00:10:244:3::/64", "via", "2001:db8::fe", "dev", "eth0")
    before = node.snapshot()
    with pytest.raises(Conflict) as refused:
        node.declare(KIND, DEVICE, params(2, 3))
    assert refused.value.conflicts == [
        f"route {route} proto boot exists and is not ours; remove it or give it another metric"
        for route in (
            "10.244.2.0/24 via 192.0.2.254 dev eth0",
            "fd00:10:244:3::/64 via 2001:db8::fe dev eth0 metric 1024",
        )
    ]
    assert node.snapshot() == before
    assert not node.declarations.directory.exists()


def test_a_foreign_route_that_covers_the_blocks_of_peers_is_no_hindrance(node: Node) -> None:
    node.namespace.ip("-6", "route", "add", "default", "via", "2001:db8::fe", "dev", "eth0")
    node.namespace.ip("-6", "route", "add", "fd00:10:244::/56", "via", "2001:db8::fe", "dev", "eth0")
    node.declare(KIND, DEVICE, params(2, 3))
    (route,) = node.namespace.ip_json("-6", "route", "get", "fd00:10:244:3::9")
    assert (route["dev"], route["gateway"]) == (DEVICE, "fe80::ff:fe00:103")
    assert not node.declare(KIND, DEVICE, params(2, 3)).changed


def test_a_foreign_device_in_the_way_is_named_and_nothing_changes(node: Node) -> None:
    node.namespace.ip("link", "add", "vx9", "type", "vxlan", "id", "84", "dstport", "4789")
    node.namespace.ip("link", "add", DEVICE, "type", "bridge")
    before = node.snapshot()
    with pytest.raises(Conflict) as refused:
        node.declare(KIND, DEVICE, params(2))
    first, second = refused.value.conflicts
    assert first.startswith("interface podnet-vx exists and is not ours (kind bridge, alias none)")
    assert second.startswith("VXLAN device vx9 is not ours and holds VNI 84 on port 4789 already")
    assert node.snapshot() == before


def test_a_declaration_of_version_0_1_0_is_understood(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2))
    path = node.declarations.path("vxlan")
    old = [line for line in path.read_text().splitlines() if '"second_local"' not in line and '"standby"' not in line]
    path.write_text("\n".join(old).replace("}\n ],\n", "}\n ]\n") + "\n")
    assert node.declarations.read("vxlan")[DEVICE]["port"] == 4789
    result = node.declare(KIND, DEVICE, params(2))
    assert (result.changed, result.operations) == (True, [])  # the file says more now


def test_an_immutable_attribute_makes_the_device_anew_and_everything_on_it(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    predicted = node.declare(KIND, DEVICE, params(2, 3, vni=85), check=True)
    real = node.declare(KIND, DEVICE, params(2, 3, vni=85))
    assert counts(real)["links", "recreate"] == 1
    assert shown(KIND, predicted) == shown(KIND, real)
    assert not node.declare(KIND, DEVICE, params(2, 3, vni=85)).changed


def test_a_renamed_device_takes_over_the_vni(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    with Host() as host:
        item = KIND.normalise("other-vx", params(2, 3), None, host)
    with Host() as host:
        reconcile(KIND, {"other-vx": item}, host, node.declarations)
    assert [link["ifname"] for link in node.namespace.ip_json("link", "show", "type", "vxlan")] == ["other-vx"]


def test_without_nexthop_objects_routes_carry_their_gateways(node: Node) -> None:
    result = node.declare(KIND, DEVICE, params(2, 3, nexthop_objects="never"))
    assert ("nexthops", "create") not in counts(result)
    (route,) = node.namespace.ip_json("route", "show", "10.244.2.0/24")
    assert (route["gateway"], route["dev"], route["flags"]) == ("10.244.2.0", DEVICE, ["onlink"])
    # Moving on to objects and back leaves nothing behind.
    assert counts(node.declare(KIND, DEVICE, params(2, 3)))["routes", "replace"] == 4
    node.declare(KIND, DEVICE, params(2, 3, nexthop_objects="never"))
    assert [entry["id"] for entry in node.namespace.ip_json("nexthop")] == [7]


def test_an_ipv6_underlay_costs_twenty_bytes_more(node: Node) -> None:
    peers = [{**peer(2), "underlay": "2001:db8::2"}]
    node.declare(KIND, DEVICE, params(local="2001:db8::1", peers=peers))
    (device,) = node.namespace.ip_json("link", "show", DEVICE)
    assert (device["mtu"], device["linkinfo"]["info_data"]["local6"]) == (1430, "2001:db8::1")
    assert not node.declare(KIND, DEVICE, params(local="2001:db8::1", peers=peers)).changed


def test_every_wrong_value_is_named_at_once_and_nothing_changes(node: Node) -> None:
    before = node.snapshot()
    wrong = [
        {**peer(2), "mac": "ff:ff:ff:ff:ff:ff", "colour": "red"},
        {**peer(3), "blocks": ["10.244.3.1/24"]},
        {**peer(4), "underlay": "192.0.2.1"},
        {**peer(5), "underlay": "2001:db8::5"},
        {**peer(6), "blocks": peer(5)["blocks"]},
        "node7",
    ]
    with pytest.raises(InvalidInput) as refused:
        node.declare(
            KIND,
            "a-name-of-16-byt",
            params(vni=1 << 24, port=0, underlay="eth9", mtu=1451, addresses=["x"], peers=wrong),
        )
    assert [str(finding) for finding in refused.value.findings] == [
        "name: a-name-of-16-byt has 16 bytes; an interface name has at most 15",
        "vni: 16777216 is not allowed; give a whole number from 1 to 16777215",
        "port: 0 is not allowed; give a whole number from 1 to 65535",
        "underlay: interface eth9 does not exist on this node; found are cable, eth0, foreign, lo",
        "peers[0].colour: unknown; known are blocks, direct, mac, name, second, underlay",
        "peers[0].mac: 'ff:ff:ff:ff:ff:ff' is no unicast MAC address; write it as 02:00:5e:10:00:01",
        "peers[1].blocks[0]: 10.244.3.1/24 has bits set right of its prefix length; give the network's own address",
        "peers[2].underlay: 192.0.2.1; this is the node's own address (local)",
        "peers[3].underlay: 2001:db8::5; the node's own 192.0.2.1 is of the other family",
        "peers[4].blocks[0]: 10.244.5.0/24; the same as peers[3].blocks[0]",
        "peers[4].blocks[1]: fd00:10:244:5::/64; the same as peers[3].blocks[1]",
        "peers[5]: 'node7'; give a peer with name, underlay, mac, blocks",
        "addresses[0]: 'x' is no prefix; write it as 10.244.1.0/24 or fd00:10:244:1::/64",
    ]
    with pytest.raises(InvalidInput, match="mtu: 1451 is not allowed; give a whole number from 1280 to 1450"):
        node.declare(KIND, DEVICE, params(mtu=1451))
    with pytest.raises(InvalidInput, match=r"local: 192\.0\.2\.99 is on no interface of this node"):
        node.declare(KIND, DEVICE, params(local="192.0.2.99"))
    assert node.snapshot() == before
    assert not node.declarations.directory.exists()


class Killer:
    """Ends the process, without any clean-up, in place of the n-th message to the kernel that changes something."""

    def __init__(self, after: int) -> None:
        self.left = after

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            return function(*args, **kwargs)

        return wrapped


def killed_after(node: Node, messages: int, wanted: dict[str, Any]) -> bool:
    """Declare in a child that is killed after so many messages; False when it came to its end before."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            killer = Killer(messages)
            batch = Netlink.batch

            def one_by_one(self: Netlink, whole: list[bytes]) -> list[Any]:
                return [(n, e) for n, one in enumerate(whole) for _n, e in killer.before(batch)(self, [one])]

            Netlink.batch = one_by_one  # type: ignore[method-assign, assignment]
            node.declare(KIND, DEVICE, wanted)
            status = 0
        finally:
            os._exit(status)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("start", ["nothing", "another VNI and other peers"])
def test_a_run_killed_at_any_message_is_completed_by_the_next(node: Node, start: str) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    clean = node.snapshot(ids=False)
    messages = 0
    while True:
        node.withdraw(KIND, DEVICE)
        if start != "nothing":
            node.declare(KIND, DEVICE, params(3, 4, vni=85))
        if not killed_after(node, messages, params(2, 3)):
            break
        node.declare(KIND, DEVICE, params(2, 3))
        assert node.snapshot(ids=False) == clean, f"killed after {messages} messages"
        assert not node.declare(KIND, DEVICE, params(2, 3)).changed
        messages += 1
    assert messages > 12
