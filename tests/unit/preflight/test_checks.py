# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check against a table of hosts: what is found on them, and nothing on a host that is fine."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.foreign import Network
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

from .hosts import ADDRESS, DOCKER, ETH0, FINE, WANTED, told, with_sysctl


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
