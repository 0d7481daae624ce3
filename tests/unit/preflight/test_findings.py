# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does no harm is not told, and what is found comes at once, each with its cure."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine, missing_packages
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    CniDirectory,
    Firewall,
    HeldAddress,
    Interface,
    Seen,
    Trial,
    Wanted,
)

from .hosts import ADDRESS, DOCKER, ETH0, FINE, WANTED, told, with_sysctl


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        pytest.param(
            FINE._replace(interfaces=(ETH0, Interface("podnet0", "bridge", ours=True))), WANTED, id="our-own-bridge"
        ),
        pytest.param(
            FINE._replace(
                interfaces=(ETH0, Interface("former-vx", "vxlan", ours=True, vni=84, port=4789)),
                udp_ports=frozenset({4789}),
            ),
            WANTED,
            id="our-own-tunnel-under-its-former-name",
        ),
        pytest.param(
            FINE._replace(
                interfaces=(ETH0, Interface("podnet-vx", "vxlan", ours=True, vni=84, port=4789)),
                udp_ports=frozenset({4789}),
            ),
            WANTED,
            id="our-own-port",
        ),
        pytest.param(
            FINE._replace(
                interfaces=(ETH0, Interface("vxlan0", "vxlan", up=False, vni=85, port=4789)),
                udp_ports=frozenset({4789}),
            ),
            WANTED,
            id="port-shared-with-another-vni",
        ),
        pytest.param(
            FINE._replace(
                interfaces=(ETH0, Interface("podnet0", "bridge", ours=True)),
                addresses=(ADDRESS, HeldAddress("podnet0", ip_interface("10.244.0.1/24"))),
            ),
            WANTED,
            id="pool-on-our-bridge",
        ),
        pytest.param(
            with_sysctl(net__ipv6__conf__default__disable_ipv6="1", net__ipv6__conf__all__disable_ipv6="1"),
            WANTED._replace(pools=("10.244.0.0/16",)),
            id="ipv6-off-and-not-wanted",
        ),
        pytest.param(
            FINE._replace(interfaces=(ETH0._replace(mtu=1300),)),
            WANTED._replace(pools=("10.244.0.0/16",)),
            id="small-mtu-for-ipv4-alone",
        ),
        pytest.param(
            FINE._replace(processes=frozenset({"NetworkManager"}), leaves_us_alone=frozenset({"NetworkManager"})),
            WANTED,
            id="networkmanager-that-knows",
        ),
        pytest.param(
            FINE._replace(dropping=(Firewall("nftables", "ip6 filter", "FORWARD"),)),
            WANTED._replace(pools=("10.244.0.0/16",)),
            id="filter-of-the-other-family",
        ),
        pytest.param(
            FINE._replace(trials={"nexthop": Trial(False)}),
            WANTED._replace(nexthop_objects="never"),
            id="nexthops-not-wanted",
        ),
    ],
)
def test_what_does_no_harm_is_not_told(seen: Seen, wanted: Wanted) -> None:
    assert told(seen, wanted) == []


def test_all_findings_come_at_once_errors_first() -> None:
    seen = FINE._replace(
        root=False,
        filters=frozenset({"legacy", "nft"}),
        interfaces=(ETH0._replace(mtu=1000, up=False),),
        sysctl={**FINE.sysctl, "net.ipv4.ip_forward": "0"},
    )
    severities = [severity for _check, severity, _found in told(seen)]
    assert severities == ["error"] * 3 + ["warning", "info"]


def test_packages_are_named_once_and_only_where_they_cure() -> None:
    bare = FINE._replace(tools={"ip": None, "nft": None}, cni=CniDirectory())
    assert missing_packages(examine(bare, WANTED)[1]) == [
        "containernetworking-plugins",
        "iproute2",
        "nftables",
    ]
    # Debian's package does not reach another interpreter, nor its plugins another folder.
    elsewhere = bare._replace(tools=FINE.tools, executable="/opt/python/bin/python3")
    assert missing_packages(examine(elsewhere, WANTED._replace(cni_bin_dir="/opt/cni/bin"))[1]) == []


def test_every_finding_has_its_cure() -> None:
    bare = FINE._replace(root=False, tools={"ip": None, "nft": None}, cni=CniDirectory(), addresses=())
    for finding in examine(bare, WANTED)[1]:
        assert finding.wanted
        assert finding.cure
        assert str(finding).startswith(f"{finding.check}: found ")


def test_the_example_names_the_tool_of_the_chain() -> None:
    alone = WANTED._replace(forward_accept="never")
    legacy = FINE._replace(dropping=(Firewall("iptables-legacy", "ip6 filter", "FORWARD", "ip6tables-legacy"),))
    docker = FINE._replace(dropping=(DOCKER,), processes=frozenset({"dockerd"}))
    native = FINE._replace(dropping=(Firewall("nftables", "inet host", "forward"),))
    assert "ip6tables-legacy -I FORWARD -s fd00:10:244::/48" in examine(legacy, alone)[1][0].cure
    assert "iptables-nft -I DOCKER-USER -d 10.244.0.0/16 -o podnet0" in examine(docker, alone)[1][0].cure
    assert "nft insert rule inet host forward iifname podnet0 accept" in examine(native, WANTED)[1][0].cure


def test_firewalld_is_told_what_it_is_not_told_yet() -> None:
    seen = FINE._replace(
        processes=frozenset({"firewalld"}),
        dropping=(Firewall("nftables", "inet firewalld", "filter_FORWARD"),),
        firewalld=frozenset({("interface", "podnet0"), ("source", "10.244.0.0/16"), ("port", "4789/udp")}),
    )
    (finding,) = examine(seen, WANTED)[1]
    assert finding.cure == (
        "firewall-cmd --permanent --zone=trusted --add-interface=podnet-vx; "
        "firewall-cmd --permanent --zone=trusted --add-source=fd00:10:244::/48; "
        "firewall-cmd --reload"
    )
    told_all = seen.firewalld | {("interface", "podnet-vx"), ("source", "fd00:10:244::/48")}
    assert examine(seen._replace(firewalld=told_all), WANTED)[1] == []


def test_bird_is_wanted_by_bgp_alone() -> None:
    bare = FINE._replace(tools={**FINE.tools, "bird": None})
    assert [finding for finding in examine(bare, WANTED)[1] if finding.check == "tools"] == []
    (finding,) = [each for each in examine(bare, WANTED._replace(dataplane="bgp"))[1] if each.check == "tools"]
    assert (finding.cure, finding.package) == ("install bird2", "bird2")


@pytest.mark.parametrize("tool", ["iptables", "ipset"])
@pytest.mark.parametrize(
    "wanted", [WANTED._replace(policy_backend="iptables"), WANTED._replace(service_backend="iptables")]
)
def test_iptables_is_wanted_where_it_enforces_policies_or_handles_services(tool: str, wanted: Wanted) -> None:
    bare = FINE._replace(tools={**FINE.tools, tool: None})
    assert [finding for finding in examine(bare, WANTED)[1] if finding.check == "tools"] == []
    (finding,) = [each for each in examine(bare, wanted)[1] if each.check == "tools"]
    assert (finding.cure, finding.package) == (f"install {tool}", tool)
