# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check against a table of hosts: what is found on them, and nothing on a host that is fine."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.foreign import Network
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine, missing_packages
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    CniDirectory,
    Firewall,
    HeldAddress,
    HeldRoute,
    Interface,
    Seen,
    Trial,
    Wanted,
)

WANTED = Wanted(interface="eth0", pools=("10.244.0.0/16", "fd00:10:244::/48"))
ETH0 = Interface("eth0")
ADDRESS = HeldAddress("eth0", ip_interface("192.168.0.11/24"))
DOCKER = Firewall("iptables-nft", "ip filter", "FORWARD", "iptables-nft")
FINE = Seen(
    interfaces=(ETH0,),
    addresses=(ADDRESS,),
    trials={feature: Trial(True) for feature in ("bridge", "vxlan", "veth", "nexthop", "nftables")},
    tools={"ip": "/usr/sbin/ip", "nft": "/usr/sbin/nft", "conntrack": None},
    cni=CniDirectory(
        "/usr/lib/cni",
        {"bridge": "/usr/lib/cni/bridge", "host-local": "/usr/lib/cni/host-local"},
        {"bridge": ("0.4.0", "1.0.0"), "host-local": ("0.4.0", "1.0.0")},
        ("10-podnet.conflist", "87-podman.conflist"),
    ),
    sysctl={
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "2",
        "net.ipv4.conf.eth0.rp_filter": "0",
        "net.ipv6.conf.all.disable_ipv6": "0",
        "net.ipv6.conf.default.disable_ipv6": "0",
        "net.ipv6.conf.eth0.accept_ra": "1",
        "net.ipv4.ip_local_port_range": "32768\t60999",
    },
)


def told(seen: Seen, wanted: Wanted = WANTED) -> list[tuple[str, str, str]]:
    """The findings as (check, severity, what was found)."""
    return [(finding.check, finding.severity, finding.found) for finding in examine(seen, wanted)[1]]


def with_sysctl(**changes: str) -> Seen:
    """The fine host with kernel settings of another value; dots of their names written as two underscores."""
    return FINE._replace(sysctl={**FINE.sysctl, **{name.replace("__", "."): value for name, value in changes.items()}})


def test_nothing_is_found_on_a_host_that_is_fine() -> None:
    assert told(FINE) == []


@pytest.mark.parametrize(
    ("seen", "wanted", "finding"),
    [
        pytest.param(FINE._replace(root=False), WANTED, ("root", "error", "an ordinary user"), id="not-root"),
        pytest.param(
            FINE._replace(trials={"vxlan": Trial(False, "Operation not supported")}),
            WANTED,
            ("kernel", "error", "vxlan does not work: Operation not supported"),
            id="kernel-without-vxlan",
        ),
        pytest.param(
            FINE._replace(trials={"vxlan": Trial(None, "unshare: Operation not permitted")}),
            WANTED,
            ("kernel", "error", "no scratch namespace to try vxlan in: unshare: Operation not permitted"),
            id="container-without-rights",
        ),
        pytest.param(
            FINE._replace(trials={"nexthop": Trial(False, "no such message")}),
            WANTED,
            ("kernel", "info", "no nexthop objects: no such message"),
            id="old-kernel",
        ),
        pytest.param(
            FINE._replace(trials={"nexthop": Trial(False, "no such message")}),
            WANTED._replace(nexthop_objects="always"),
            ("kernel", "error", "no nexthop objects: no such message"),
            id="old-kernel-but-nexthops-demanded",
        ),
        pytest.param(
            FINE._replace(tools={**FINE.tools, "nft": None}), WANTED, ("tools", "error", "no nft on PATH"), id="no-nft"
        ),
        pytest.param(
            FINE._replace(tools={**FINE.tools, "bird": None}),
            WANTED._replace(dataplane="bgp"),
            ("tools", "error", "no bird on PATH"),
            id="no-bird",
        ),
        pytest.param(
            FINE._replace(cni=CniDirectory()),
            WANTED,
            ("cni", "error", "no CNI plugin bridge, host-local in /opt/cni/bin and /usr/lib/cni"),
            id="no-cni-plugins",
        ),
        pytest.param(
            FINE,
            WANTED._replace(cni_version="1.1.0"),
            ("cni", "error", "/usr/lib/cni/bridge speaks CNI 0.4.0, 1.0.0"),
            id="old-cni-plugins",
        ),
        pytest.param(
            FINE._replace(interfaces=(ETH0, Interface("podnet0", "bridge"))),
            WANTED,
            ("names", "error", "a bridge device podnet0 that podnet.fabric has not made"),
            id="bridge-name-taken",
        ),
        pytest.param(
            FINE._replace(ifupdown=frozenset({"podnet0"})),
            WANTED,
            ("names", "error", "podnet0 is configured in /etc/network/interfaces"),
            id="ifupdown-has-our-name",
        ),
        pytest.param(
            FINE._replace(interfaces=(ETH0, Interface("flannel.84", "vxlan", vni=84, port=4789))),
            WANTED,
            ("port", "error", "flannel.84 has VNI 84 on port 4789 already"),
            id="vni-taken",
        ),
        pytest.param(
            FINE._replace(udp_ports=frozenset({4789})),
            WANTED,
            ("port", "error", "UDP port 4789 is taken by another program"),
            id="port-taken",
        ),
        pytest.param(
            FINE,
            WANTED._replace(port=40000),
            ("port", "warning", "port 40000 lies in net.ipv4.ip_local_port_range 32768-60999"),
            id="port-that-programs-get",
        ),
        pytest.param(
            FINE._replace(addresses=(ADDRESS, HeldAddress("cni0", ip_interface("10.244.3.1/24")))),
            WANTED,
            ("pools", "error", "10.244.3.1/24 on cni0 overlaps the pool 10.244.0.0/16"),
            id="pool-in-use",
        ),
        pytest.param(
            FINE._replace(interfaces=(ETH0._replace(up=False),)),
            WANTED,
            ("underlay", "error", "eth0 with 192.168.0.11 is down"),
            id="underlay-down",
        ),
        pytest.param(
            FINE._replace(interfaces=(ETH0._replace(mtu=1300),)),
            WANTED,
            ("mtu", "error", "eth0 has MTU 1300, which leaves 1250 for pods"),
            id="mtu-too-small-for-ipv6",
        ),
        pytest.param(
            FINE,
            WANTED._replace(mtu=1500),
            ("mtu", "error", "eth0 has MTU 1500, which leaves 1450 for pods"),
            id="mtu-too-small-for-what-is-asked",
        ),
        pytest.param(
            with_sysctl(net__ipv6__conf__default__disable_ipv6="1"),
            WANTED,
            ("disable_ipv6", "error", "net.ipv6.conf.default.disable_ipv6 = 1"),
            id="ipv6-switched-off",
        ),
        pytest.param(
            FINE._replace(ra_uplinks=("eth0",)),
            WANTED,
            (
                "accept_ra",
                "info",
                "net.ipv6.conf.eth0.accept_ra = 1, and the IPv6 default route comes by router advertisement",
            ),
            id="router-advertisements",
        ),
        pytest.param(
            with_sysctl(net__ipv4__conf__all__rp_filter="1"),
            WANTED,
            ("rp_filter", "warning", "net.ipv4.conf.all.rp_filter = 1, so the filter on eth0 is strict"),
            id="strict-everywhere-but-loose-by-default",
        ),
        pytest.param(
            FINE._replace(interfaces=(ETH0, Interface("vxlan.calico", "vxlan", vni=4096, port=4789))),
            WANTED,
            ("port", "error", "the vxlan device vxlan.calico, which is up, receives on UDP port 4789 too"),
            id="port-that-our-filter-would-close",
        ),
        pytest.param(
            FINE._replace(processes=frozenset({"NetworkManager"})),
            WANTED,
            ("managers", "warning", "NetworkManager runs and is not told to leave our devices alone"),
            id="networkmanager",
        ),
        pytest.param(
            FINE._replace(processes=frozenset({"firewalld"})),
            WANTED,
            ("managers", "warning", "firewalld is active"),
            id="firewalld",
        ),
        pytest.param(
            FINE._replace(dropping=(DOCKER,)),
            WANTED,
            ("packet_filters", "info", "the iptables-nft chain ip filter FORWARD drops what no rule accepts"),
            id="docker-drops",
        ),
        pytest.param(
            FINE._replace(dropping=(DOCKER,)),
            WANTED._replace(forward_accept="never"),
            ("packet_filters", "warning", "the iptables-nft chain ip filter FORWARD drops what no rule accepts"),
            id="docker-drops-and-iptables-is-left-alone",
        ),
        pytest.param(
            FINE._replace(dropping=(Firewall("nftables", "inet host", "forward"),)),
            WANTED,
            ("packet_filters", "warning", "the nftables chain inet host forward drops what no rule accepts"),
            id="native-chain-drops",
        ),
        pytest.param(
            FINE._replace(networkd_deletes=("ManageForeignRoutes",)),
            WANTED,
            ("managers", "warning", "systemd-networkd deletes what it has not made: ManageForeignRoutes=yes"),
            id="networkd-deletes-routes",
        ),
        pytest.param(
            FINE._replace(routes=(HeldRoute(ip_network("10.244.7.0/24"), "flannel.1", 3),)),
            WANTED,
            (
                "pools",
                "error",
                "routes that podnet.fabric has not made lead into the pool 10.244.0.0/16: "
                "10.244.7.0/24 dev flannel.1 proto 3",
            ),
            id="foreign-route-in-a-pool",
        ),
        pytest.param(
            FINE._replace(filters=frozenset({"legacy", "nft"})),
            WANTED,
            ("packet_filters", "warning", "rules in iptables-legacy and in iptables-nft"),
            id="iptables-mix",
        ),
        pytest.param(
            FINE._replace(networks=(Network("Calico", ("device vxlan.calico", "chain cali-FORWARD (nft)"), None),)),
            WANTED,
            ("other_networks", "warning", "traces of Calico: device vxlan.calico; chain cali-FORWARD (nft)"),
            id="calico-leftovers",
        ),
        pytest.param(
            FINE._replace(cni=FINE.cni._replace(conflists=("05-cilium.conflist", "10-podnet.conflist"))),
            WANTED,
            ("other_networks", "error", "05-cilium.conflist in /etc/cni/net.d"),
            id="another-default-network",
        ),
        pytest.param(
            with_sysctl(net__ipv4__ip_forward="0"),
            WANTED,
            ("forwarding", "info", "net.ipv4.ip_forward = 0"),
            id="not-forwarding",
        ),
    ],
)
def test_a_finding_is_told(seen: Seen, wanted: Wanted, finding: tuple[str, str, str]) -> None:
    assert finding in told(seen, wanted)


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
def test_iptables_is_wanted_where_it_enforces_policies(tool: str) -> None:
    bare = FINE._replace(tools={**FINE.tools, tool: None})
    assert [finding for finding in examine(bare, WANTED)[1] if finding.check == "tools"] == []
    wanted = WANTED._replace(policy_backend="iptables")
    (finding,) = [each for each in examine(bare, wanted)[1] if each.check == "tools"]
    assert (finding.cure, finding.package) == (f"install {tool}", tool)
