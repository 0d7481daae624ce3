# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace is seen as it is, and looking at it leaves it as it was."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.gather import gather
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Firewall, Trial, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.trial import try_features
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Second, Underlay

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.conftest import Namespace

WANTED = Wanted(pools=("10.244.0.0/16", "fd00:10:244::/48"))
_HOST = """\
link add eth0 type veth peer name far0
link add eth1 mtu 9000 type veth peer name far1
address add 192.168.0.11/24 dev eth0
address add fd00:1::11/64 dev eth0 nodad
address add 172.16.0.11/16 dev eth1
link set far0 up
link set far1 up
link set eth0 up
link set eth1 up
route add default via 192.168.0.1
"""


@pytest.fixture
def host(netns: Namespace) -> Namespace:
    """A namespace with two uplinks; the default route leaves by eth0."""
    netns.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
    # Without it link-local addresses are tentative for a second or two, and what was seen before differs from after.
    netns.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    netns.run("ip", "-batch", "-", stdin=_HOST)
    return netns


def found(wanted: Wanted = WANTED) -> dict[str, str]:
    """Check -> what was found, of all findings but information."""
    findings = examine(gather(wanted), wanted)[1]
    return {finding.check: finding.found for finding in findings if finding.severity != "info"}


def test_a_plain_host_is_fine(host: Namespace) -> None:
    assert found() == {}


def test_the_underlay_follows_the_routes(host: Namespace) -> None:
    assert examine(gather(WANTED), WANTED)[0] == Underlay("eth0", "192.168.0.11", 4, 24, 1500, Second("fd00:1::11", 64))
    towards = WANTED._replace(towards=(ip_address("172.16.0.12"),))
    assert examine(gather(towards), towards)[0] == Underlay("eth1", "172.16.0.11", 4, 16, 9000)


def test_looking_changes_nothing(host: Namespace) -> None:
    def state() -> list[str]:
        return [
            host.ip("-details", "link"),
            host.ip("address"),
            host.ip("route", "show", "table", "all"),
            host.ip("-6", "route", "show", "table", "all"),
            host.ip("nexthop"),
            host.run("nft", "list", "ruleset"),
            host.run("sh", "-c", "cat /proc/net/ip_tables_names 2>/dev/null || true"),
        ]

    before = state()
    gather(WANTED)
    assert state() == before


def test_this_kernel_does_what_is_tried(netns: Namespace) -> None:
    tried = try_features(("bridge", "vxlan", "veth"), "/usr/sbin/nft")
    assert tried == {name: Trial(True) for name in ("bridge", "vxlan", "veth", "nexthop", "nftables")}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("geneve", ["external"]), ("ipip", ["external"]), ("ip6tnl", ["external"]), ("wireguard", [])],
)
def test_a_tunnel_works_in_the_trial_where_ip_can_make_it(netns: Namespace, kind: str, arguments: list[str]) -> None:
    made = subprocess.run(
        ["ip", "link", "add", "tried", "type", kind, *arguments], capture_output=True, text=True, check=False
    )
    trial = try_features((kind,), None)[kind]
    assert trial.works is (made.returncode == 0), (trial, made.stderr)
    # The trial had a namespace of its own.
    assert "try-" not in netns.ip("link")


def test_what_the_kernel_lacks_is_told_in_its_words(netns: Namespace) -> None:
    tried = try_features(("no-such-kind",), "/bin/false")
    assert tried["no-such-kind"].works is False
    assert "Operation not supported" in tried["no-such-kind"].reason
    assert tried["nftables"].works is False


def test_a_port_that_a_program_has_is_found(host: Namespace) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("127.0.0.1", 4789))
        assert found() == {"port": "UDP port 4789 is taken by another program"}
    assert found() == {}


def test_a_routing_daemon_is_found_by_its_port(host: Namespace) -> None:
    bgp = WANTED._replace(dataplane="bgp", devices=(), port=None, vni=None)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as daemon:
        daemon.bind(("127.0.0.1", 179))
        assert found(bgp) == {}, "a port that nobody listens on"
        daemon.listen()
        assert found(bgp) == {"port": "TCP port 179 is taken by another program"}
    assert found(bgp) == {}


def test_a_foreign_vxlan_device_is_found_and_ours_is_not(host: Namespace) -> None:
    host.ip("link", "add", "podnet-vx", "type", "vxlan", "id", "84", "dstport", "4789", "dev", "eth0")
    host.ip("link", "set", "podnet-vx", "up")
    assert found() == {"names": "a vxlan device podnet-vx that podnet.fabric has not made"}
    host.ip("link", "set", "podnet-vx", "alias", "podnet:vxlan")
    assert found() == {}
    host.ip("link", "del", "podnet-vx")
    host.ip("link", "add", "flannel.1", "type", "vxlan", "id", "84", "dstport", "4789", "dev", "eth1")
    assert found()["port"] == "flannel.1 has VNI 84 on port 4789 already"


def test_filters_that_drop_are_found_in_both_flavours(host: Namespace) -> None:
    host.run("iptables-nft", "-P", "FORWARD", "DROP")
    host.run("ip6tables-legacy", "-P", "FORWARD", "DROP")
    host.run("ip6tables-legacy", "-A", "FORWARD", "-s", "2001:db8::/32", "-j", "ACCEPT")
    seen = gather(WANTED)
    assert set(seen.dropping) == {
        Firewall("iptables-nft", "ip filter", "FORWARD", "iptables-nft"),
        Firewall("iptables-legacy", "ip6 filter", "FORWARD", "ip6tables-legacy"),
    }
    assert seen.filters == {"nft", "legacy"}
    assert found() == {"packet_filters": "rules in iptables-legacy and in iptables-nft"}


def test_a_table_that_is_only_there_is_no_second_flavour(host: Namespace) -> None:
    host.run("iptables-nft", "-L", "-n")
    host.run("iptables-legacy", "-P", "FORWARD", "DROP")
    assert gather(WANTED).filters == {"legacy"}


@pytest.mark.parametrize("rest", ["counter drop", "reject with icmpx type admin-prohibited"])
def test_a_chain_of_nftables_own_is_opened_by_its_cure(host: Namespace, rest: str) -> None:
    host.run("nft", "add table inet host; add chain inet host forward { type filter hook forward priority 0; }")
    host.run("nft", f"add rule inet host forward ct state established accept; add rule inet host forward {rest}")
    (finding,) = [each for each in examine(gather(WANTED), WANTED)[1] if each.check == "packet_filters"]
    assert finding.severity == "warning"
    assert finding.found.startswith("the nftables chain inet host forward drops what no rule accepts")
    for command in finding.cure.partition(",")[0].split("; "):
        host.run(*command.split())
    shown = host.run("nft", "list", "chain", "inet", "host", "forward")
    assert 'iifname "podnet0" accept' in shown
    assert 'oifname "podnet0" accept' in shown


def test_kernel_settings_are_read_here_and_not_elsewhere(host: Namespace) -> None:
    host.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.conf.all.rp_filter=1")
    assert found() == {
        "disable_ipv6": "net.ipv6.conf.default.disable_ipv6 = 1",
        "rp_filter": "net.ipv4.conf.all.rp_filter = 1, so the filter on podnet-vx and eth0 is strict",
    }


def test_an_uplink_that_lives_on_router_advertisements_is_found(host: Namespace) -> None:
    host.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=1")
    # As the kernel does it at an advertisement.
    host.ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0", "proto", "ra", "expires", "600")
    seen = gather(WANTED)
    assert seen.ra_uplinks == ("eth0",)
    assert "accept_ra" not in found(), "the role bridge mends it, so there is nothing to warn of"


def test_leftovers_of_another_network_are_found(host: Namespace) -> None:
    host.ip("link", "add", "cni0", "type", "bridge")
    host.ip("address", "add", "10.244.1.1/24", "dev", "cni0")
    assert found() == {
        "pools": "10.244.1.1/24 on cni0 overlaps the pool 10.244.0.0/16",
        "other_networks": "devices of a CNI bridge: cni0",
    }


def test_routes_of_others_into_the_pools_are_found_and_ours_are_not(host: Namespace) -> None:
    host.ip("route", "add", "10.244.9.0/24", "via", "192.168.0.9", "proto", "84")
    host.ip("route", "add", "10.0.0.0/8", "via", "192.168.0.9")
    assert found() == {}
    host.ip("route", "add", "blackhole", "10.244.7.64/26", "proto", "80")
    host.ip("-6", "route", "add", "fd00:10:244:7::/64", "via", "fd00:1::9", "proto", "bird")
    errors = [each.found for each in examine(gather(WANTED), WANTED)[1] if each.check == "pools"]
    assert errors == [
        "routes that podnet.fabric has not made lead into the pool 10.244.0.0/16: 10.244.7.64/26 proto 80",
        "routes that podnet.fabric has not made lead into the pool fd00:10:244::/48: "
        "fd00:10:244:7::/64 dev eth0 proto 12",
    ]


def test_what_flannel_and_calico_leave_is_named_with_its_cure(host: Namespace) -> None:
    host.ip("link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "8472", "dev", "eth0")
    host.run("iptables-nft", "-N", "FLANNEL-FWD")
    host.ip("link", "add", "vxlan.calico", "type", "vxlan", "id", "4096", "dstport", "4790", "dev", "eth0")
    host.run("ip6tables-legacy", "-N", "cali-FORWARD")
    told = [each for each in examine(gather(WANTED), WANTED)[1] if each.check == "other_networks"]
    assert {each.severity for each in told} == {"warning"}, "neither collides with us"
    assert [each.found for each in told] == [
        "traces of Calico: device vxlan.calico (vxlan, VNI 4096, port 4790); chain cali-FORWARD (legacy)",
        "traces of flannel: device flannel.1 (vxlan, VNI 1, port 8472); chain FLANNEL-FWD (nft)",
    ]
    assert "ip link del vxlan.calico" in told[0].cure
    assert "ip link del flannel.1" in told[1].cure
    # Where they do collide, the run stops.
    host.ip("route", "add", "10.244.3.0/24", "via", "192.168.0.9", "dev", "eth0")
    host.ip("link", "add", "flannel.84", "type", "vxlan", "id", "84", "dstport", "4789", "dev", "eth0")
    errors = [each.found for each in examine(gather(WANTED), WANTED)[1] if each.severity == "error"]
    assert sorted(errors) == [
        "flannel.84 has VNI 84 on port 4789 already",
        "routes that podnet.fabric has not made lead into the pool 10.244.0.0/16: 10.244.3.0/24 dev eth0 proto 3",
    ]
