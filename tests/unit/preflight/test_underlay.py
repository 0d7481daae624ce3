# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The underlay is the right one of a node's addresses, or the operator is told why it cannot be told."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    Finding,
    HeldAddress,
    Interface,
    Seen,
    Wanted,
)
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Second, Underlay, choose

LAN = HeldAddress("eth0", ip_interface("192.168.0.11/24"))
LAN6 = HeldAddress("eth0", ip_interface("fd00:1::11/64"))
SAN = HeldAddress("eth1", ip_interface("172.16.0.11/16"))
DOCKER = HeldAddress("docker0", ip_interface("172.17.0.1/16"))
SEEN = Seen(
    interfaces=(
        Interface("lo", mtu=65536),
        Interface("eth0"),
        Interface("eth1", mtu=9000),
        Interface("docker0", "bridge"),
        Interface("podnet0", "bridge", ours=True),
    ),
    addresses=(HeldAddress("lo", ip_interface("127.0.0.1/8"), usable=False), LAN, LAN6, SAN, DOCKER),
)
PEER_A, PEER_B = ip_address("192.168.0.12"), ip_address("172.16.0.13")
ALL = "192.168.0.11/24 on eth0, fd00:1::11/64 on eth0, 172.16.0.11/16 on eth1"
ANYWHERE, ANYWHERE6 = ip_address("240.0.0.1"), ip_address("100::1")


def chosen(seen: Seen, **request: object) -> Underlay:
    """The underlay, where there is one."""
    choice = choose(seen, Wanted(**request))  # type: ignore[arg-type]
    assert isinstance(choice, Underlay), choice
    return choice


def refused(seen: Seen, **request: object) -> str:
    """What was found, where there is none."""
    choice = choose(seen, Wanted(**request))  # type: ignore[arg-type]
    assert isinstance(choice, Finding), choice
    assert choice.severity == "error"
    return choice.found


def test_an_address_tells_its_interface() -> None:
    assert chosen(SEEN, address="172.16.0.11") == Underlay("eth1", "172.16.0.11", 4, 16, 9000)


def test_an_interface_tells_its_address_and_ipv4_goes_first() -> None:
    assert chosen(SEEN, interface="eth0") == Underlay("eth0", "192.168.0.11", 4, 24, 1500, Second("fd00:1::11", 64))


def test_an_interface_with_ipv6_alone_will_do() -> None:
    underlay = chosen(SEEN._replace(addresses=(LAN6,)), interface="eth0")
    assert (underlay.address, underlay.family, underlay.second) == ("fd00:1::11", 6, None)


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param(HeldAddress("eth0", ip_interface("192.168.0.99/32")), id="virtual-ip"),
        pytest.param(HeldAddress("eth0", ip_interface("192.168.0.12/24"), secondary=True), id="secondary"),
        pytest.param(HeldAddress("eth0", ip_interface("10.0.0.1/24"), usable=False), id="deprecated"),
    ],
)
def test_an_address_that_cannot_be_meant_is_passed_over(beside: HeldAddress) -> None:
    assert chosen(SEEN._replace(addresses=(beside, LAN)), interface="eth0").address == "192.168.0.11"


def test_the_route_to_the_peers_decides() -> None:
    seen = SEEN._replace(sources={PEER_B: SAN.address.ip, ANYWHERE: LAN.address.ip})
    assert chosen(seen, towards=(PEER_B,)).interface == "eth1"


def test_without_peers_the_default_route_decides() -> None:
    seen = SEEN._replace(sources={ANYWHERE: LAN.address.ip, ANYWHERE6: LAN6.address.ip})
    assert chosen(seen).address == "192.168.0.11"


def test_a_node_alone_with_itself_takes_the_default_route() -> None:
    seen = SEEN._replace(sources={LAN.address.ip: LAN.address.ip, ANYWHERE: SAN.address.ip})
    assert chosen(seen, towards=(LAN.address.ip,)).interface == "eth1"


def test_without_any_route_the_only_address_is_it() -> None:
    assert chosen(SEEN._replace(addresses=(LAN, DOCKER))).address == "192.168.0.11"


def test_peers_behind_different_addresses_are_ambiguous() -> None:
    seen = SEEN._replace(sources={PEER_A: LAN.address.ip, PEER_B: SAN.address.ip})
    assert refused(seen, towards=(PEER_A, PEER_B)) == (
        "different source addresses towards the peers: 172.16.0.13 from 172.16.0.11, 192.168.0.12 from 192.168.0.11"
    )


@pytest.mark.parametrize(
    ("seen", "request_", "found"),
    [
        (SEEN, {"interface": "eth7"}, "no interface eth7 (there are: eth0, eth1, docker0, podnet0)"),
        (
            SEEN,
            {"address": "10.9.9.9"},
            f"10.9.9.9 on no interface (there are: {ALL})",
        ),
        (
            SEEN,
            {"interface": "eth0", "address": "172.16.0.11"},
            "172.16.0.11 on 172.16.0.11/16 on eth1, not on eth0",
        ),
        (
            SEEN._replace(addresses=(LAN, LAN._replace(interface="eth1"))),
            {"address": "192.168.0.11"},
            "192.168.0.11 on several interfaces: 192.168.0.11/24 on eth0, 192.168.0.11/24 on eth1",
        ),
        (
            SEEN._replace(addresses=(LAN, SAN._replace(interface="eth0"))),
            {"interface": "eth0"},
            "several addresses on eth0: 192.168.0.11/24 on eth0, 172.16.0.11/16 on eth0",
        ),
        (SEEN, {"interface": "podnet0"}, "no usable address on podnet0"),
        (
            SEEN._replace(addresses=(HeldAddress("podnet0", ip_interface("10.244.0.1/24")),)),
            {"address": "10.244.0.1"},
            "10.244.0.1/24 on podnet0, a device of the pod network",
        ),
        (
            SEEN,
            {},
            f"no route that tells which address to use (there are: {ALL})",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_was_seen(seen: Seen, request_: dict[str, str], found: str) -> None:
    assert refused(seen, **request_) == found


def second(*addresses: str, wanted: str = "auto", **flags: bool) -> Second | None:
    """The second address of a node with 192.168.0.11/24 and these on eth0."""
    held = tuple(HeldAddress("eth0", ip_interface(text), **flags) for text in addresses)
    return chosen(SEEN._replace(addresses=(LAN, *held)), interface="eth0", second=wanted).second


def test_the_second_address_is_of_the_other_family_on_the_same_interface() -> None:
    assert second("fd00:1::11/64") == Second("fd00:1::11", 64)
    assert second() is None
    elsewhere = HeldAddress("eth1", ip_interface("fd00:2::11/64"))
    assert chosen(SEEN._replace(addresses=(LAN, elsewhere)), interface="eth0").second is None
    six = chosen(SEEN, address="fd00:1::11")
    assert (six.address, six.second) == ("fd00:1::11", Second("192.168.0.11", 24))


def test_of_several_second_addresses_the_same_one_is_taken_whatever_their_order() -> None:
    assert second("fd00:1::12/64", "2001:db8::11/64", "fd00:1::11/64") == Second("2001:db8::11", 64)
    assert second("fd00:1::11/64", "fd00:1::12/64", "2001:db8::11/64") == Second("2001:db8::11", 64)
    # A host address gives way to one that has a subnet.
    assert second("2001:db8::5/128", "fd00:1::12/64") == Second("fd00:1::12", 64)


def test_a_second_address_that_does_not_last_is_passed_over() -> None:
    assert second("2001:db8::11/64", usable=False) is None
    assert second("2001:db8::11/64", secondary=True) is None


def test_the_operator_has_the_last_word_on_the_second_address() -> None:
    assert second("fd00:1::11/64", wanted="none") is None
    assert second("2001:db8::11/64", "fd00:1::12/64", wanted="fd00:1::12") == Second("fd00:1::12", 64)
    # Even a temporary one.
    assert second("2001:db8::11/64", wanted="2001:db8::11", secondary=True) == Second("2001:db8::11", 64)
    for wanted in ("fd00:1::99", "192.168.0.11", "172.16.0.11"):
        assert refused(SEEN, interface="eth0", second=wanted) == (
            f"{wanted} not among the addresses of the other family on eth0 (there are: fd00:1::11/64 on eth0)"
        )
