# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands bring a node's interfaces and routes to what they have to be."""

from __future__ import annotations

from ansible_collections.podnet.fabric.plugins.module_utils.lab.topology import Interface, Route
from ansible_collections.podnet.fabric.plugins.module_utils.lab.wiring import (
    Device,
    settle_device,
    settle_routes,
    stable_mac,
)

WANTED = Interface("eth0", "podnet-lab:router/node1", ("192.0.2.11/24", "fd00::11/64"), 1400, "")
SETTLED = Device("eth0", "veth", WANTED.alias, True, 1400, "", ("192.0.2.11/24", "fd00::11/64"))


def test_nothing_is_done_where_all_is_right() -> None:
    assert settle_device(WANTED, SETTLED) == []


def test_a_new_interface_gets_everything_and_waits_for_no_duplicate() -> None:
    fresh = SETTLED._replace(up=False, mtu=1500, addresses=())
    assert settle_device(WANTED, fresh) == [
        "link set dev eth0 mtu 1400",
        "link set dev eth0 up",
        "address add 192.0.2.11/24 dev eth0",
        "address add fd00::11/64 dev eth0 nodad",
    ]


def test_a_foreign_address_goes_before_ours_comes() -> None:
    moved = SETTLED._replace(addresses=("192.0.2.12/24", "fd00::11/64"))
    assert settle_device(WANTED, moved) == [
        "address del 192.0.2.12/24 dev eth0",
        "address add 192.0.2.11/24 dev eth0",
    ]


def test_a_port_is_plugged_and_unplugged() -> None:
    port = WANTED._replace(master="subnet-a")
    assert settle_device(port, SETTLED) == ["link set dev eth0 master subnet-a"]
    assert settle_device(WANTED, SETTLED._replace(master="subnet-a")) == ["link set dev eth0 nomaster"]


def test_only_missing_routes_are_set() -> None:
    there, missing = Route(4, "default", "192.0.2.1"), Route(6, "default", "fd00::1")
    assert settle_routes([there, missing], frozenset([there])) == ["route replace default via fd00::1 proto static"]


def test_a_bridge_has_one_lasting_unicast_address_of_its_own() -> None:
    mac = stable_mac("router", "subnet-a")
    assert mac == stable_mac("router", "subnet-a") != stable_mac("router", "subnet-b")
    assert int(mac[:2], 16) & 0b11 == 0b10
