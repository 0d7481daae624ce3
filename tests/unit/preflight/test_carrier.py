# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is checked for depends on the dataplane that it will have."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import CARRIERS, kinds_of
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    Finding,
    HeldAddress,
    Interface,
    Seen,
    Trial,
    Wanted,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils import dataplanes, schema

FOUR, SIX = "10.244.0.0/16", "fd00:10:244::/48"
ETH0 = Interface("eth0")


def wanted(dataplane: str, *pools: str, **changes: Any) -> Wanted:
    """What a network with the default names and ports of a dataplane asks."""
    carrier = CARRIERS[dataplane]
    asked = Wanted(dataplane=dataplane, devices=carrier.devices, port=carrier.port, vni=carrier.vni, pools=pools)
    return asked._replace(**changes)


def findings(seen: Seen, asked: Wanted, check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in examine(seen, asked)[1] if finding.check == check]


def told(seen: Seen, asked: Wanted, check: str) -> list[str]:
    """What one check has found."""
    return [finding.found for finding in findings(seen, asked, check)]


def test_defaults_are_those_of_the_variables() -> None:
    assert list(CARRIERS) == list(dataplanes.DATAPLANES)
    defaults = {name: part.get("default") for name, part in schema.variables().items()}
    for name, dataplane in dataplanes.DATAPLANES.items():
        carrier = CARRIERS[name]
        assert carrier.variables == tuple(f"podnet_{setting}" for setting in dataplane.devices)
        assert carrier.devices == tuple(defaults[variable] for variable in carrier.variables)
        assert carrier.port == (dataplane.port and defaults[f"podnet_{dataplane.port}"])
        assert carrier.vni == (dataplane.vni and defaults[f"podnet_{dataplane.vni}"])


@pytest.mark.parametrize(
    ("dataplane", "families", "kinds"),
    [
        ("vxlan", [4, 6], ["vxlan"]),
        ("geneve", [6], ["geneve"]),
        ("ipip", [4], ["ipip"]),
        ("ipip", [6], ["ip6tnl"]),
        ("ipip", [4, 6], ["ipip", "ip6tnl"]),
        ("wireguard", [4], ["wireguard"]),
        ("host_gw", [4, 6], []),
        ("bgp", [4, 6], []),
    ],
)
def test_only_the_kinds_that_are_needed_are_tried(dataplane: str, families: list[int], kinds: list[str]) -> None:
    assert kinds_of(dataplane, families) == kinds


@pytest.mark.parametrize(
    ("feature", "dataplane", "module", "option"),
    [
        ("geneve", "geneve", "geneve", "CONFIG_GENEVE"),
        ("ipip", "ipip", "ipip", "CONFIG_NET_IPIP"),
        ("ip6tnl", "ipip", "ip6_tunnel", "CONFIG_IPV6_TUNNEL"),
        ("wireguard", "wireguard", "wireguard", "CONFIG_WIREGUARD"),
    ],
)
def test_a_kernel_without_the_tunnel_is_told_the_module_and_the_option(
    feature: str, dataplane: str, module: str, option: str
) -> None:
    (finding,) = findings(
        Seen(trials={feature: Trial(False, "Operation not supported")}), wanted(dataplane, FOUR, SIX), "kernel"
    )
    assert (finding.severity, finding.found) == ("error", f"{feature} does not work: Operation not supported")
    assert finding.cure == (
        f"modprobe {module}, or install a kernel that has it ({option}), or set another podnet_dataplane"
    )


def test_every_device_of_the_dataplane_needs_its_name() -> None:
    seen = Seen(interfaces=(ETH0, Interface("podnet-ip6", "ip6tnl"), Interface("podnet-vx", "vxlan")))
    (finding,) = findings(seen, wanted("ipip", FOUR, SIX), "names")
    assert finding.found == "a ip6tnl device podnet-ip6 that podnet.fabric has not made"
    assert "podnet_ipip6_device" in finding.cure


@pytest.mark.parametrize(("dataplane", "port"), [("geneve", 6081), ("wireguard", 51820)])
def test_a_program_on_the_port_is_in_the_way_and_our_own_device_is_not(dataplane: str, port: int) -> None:
    asked = wanted(dataplane, FOUR)
    taken = Seen(interfaces=(ETH0,), udp_ports=frozenset({port}))
    (finding,) = findings(taken, asked, "port")
    assert finding.found == f"UDP port {port} is taken by another program"
    assert f"podnet_{dataplane}_port" in finding.cure
    known = port if dataplane == "geneve" else None
    ours = Interface(asked.devices[0], dataplane, ours=True, port=known)
    assert told(taken._replace(interfaces=(ETH0, ours)), asked, "port") == []


def test_a_device_of_another_kind_on_the_port_is_named_be_it_ours_or_not() -> None:
    asked = wanted("geneve", FOUR, port=4789)
    for ours in (True, False):
        vxlan = Interface("podnet-vx", "vxlan", ours=ours, vni=84, port=4789)
        seen = Seen(interfaces=(ETH0, vxlan), udp_ports=frozenset({4789}))
        assert told(seen, asked, "port") == ["the vxlan device podnet-vx has UDP port 4789 already"]
    # A device that takes the outer header from the route shares its port with nobody.
    other = Interface("gnv0", "geneve", vni=7, port=6081)
    assert told(Seen(interfaces=(ETH0, other)), wanted("geneve", FOUR), "port") == [
        "the geneve device gnv0 has UDP port 6081 already"
    ]
    assert told(Seen(interfaces=(ETH0, other._replace(ours=True))), wanted("geneve", FOUR), "port") == []


def test_a_routing_daemon_of_somebody_else_is_in_the_way_of_bgp() -> None:
    listening = Seen(tcp_ports=frozenset({22, 179}))
    assert told(listening, wanted("bgp", FOUR), "port") == ["TCP port 179 is taken by another program"]
    assert told(listening._replace(dataplanes=("bgp",)), wanted("bgp", FOUR), "port") == []
    assert told(listening, wanted("host_gw", FOUR), "port") == []


@pytest.mark.parametrize(
    ("dataplane", "firewall", "wants", "cure"),
    [
        ("vxlan", "ufw", "pod traffic and UDP port 4789 accepted by it", "ufw allow 4789/udp"),
        ("wireguard", "firewalld", "pod traffic and UDP port 51820 accepted by it", "--add-port=51820/udp"),
        (
            "ipip",
            "firewalld",
            "pod traffic and IP protocol ipencap and IP protocol ipv6 accepted by it",
            "firewall-cmd --permanent --add-protocol=ipencap --add-protocol=ipv6; firewall-cmd --reload",
        ),
        ("bgp", "ufw", "pod traffic and TCP port 179 accepted by it", "ufw allow 179/tcp"),
        ("host_gw", "ufw", "pod traffic accepted by it", "ufw route allow in on podnet0"),
    ],
)
def test_a_firewall_is_told_what_carries_the_packets(dataplane: str, firewall: str, wants: str, cure: str) -> None:
    (finding,) = findings(Seen(processes=frozenset({firewall})), wanted(dataplane, FOUR, SIX), "managers")
    assert finding.wanted == wants
    assert cure in finding.cure


def test_a_manager_is_told_all_devices() -> None:
    seen = Seen(processes=frozenset({"NetworkManager"}))
    (finding,) = findings(seen, wanted("ipip", FOUR), "managers")
    assert finding.wanted == "podnet0, podnet-ip4, podnet-ip6 and the pods' devices unmanaged"
    assert "interface-name:podnet-ip4;interface-name:podnet-ip6;interface-name:veth*" in finding.cure


@pytest.mark.parametrize(("dataplane", "room"), [("vxlan", 1450), ("wireguard", 1440), ("ipip", 1460), ("bgp", 1500)])
def test_the_room_for_pods_is_what_the_dataplane_leaves(dataplane: str, room: int) -> None:
    seen = Seen(interfaces=(ETH0,), addresses=(HeldAddress("eth0", ip_interface("192.0.2.11/24")),))
    asked = wanted(dataplane, FOUR, SIX, interface="eth0")
    assert told(seen, asked._replace(mtu=room), "mtu") == []
    assert told(seen, asked._replace(mtu=room + 1), "mtu") == [f"eth0 has MTU 1500, which leaves {room} for pods"]
