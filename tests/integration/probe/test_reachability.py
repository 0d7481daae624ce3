# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probes prove, and that each proof can fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .conftest import NODE1, NODE2, OUTSIDE, PODS, VXLAN, only, target

if TYPE_CHECKING:
    from .conftest import Fabric

NAT = """
table ip test {
  chain out {
    type nat hook postrouting priority 100;
    %s
  }
}
"""


def test_every_promise_of_a_good_network_is_found_kept(fabric: Fabric) -> None:
    fabric.respond("b", "c")
    started = time.monotonic()
    result = fabric.ask(*(target(pod, family) for pod in "bc" for family in (4, 6)))
    assert result["failures"] == []
    assert not result["changed"]
    assert time.monotonic() - started < 1.5
    assert len(result["results"]) == 4
    for one in result["results"]:
        family = 4 if one["family"] == "ipv4" else 6
        assert one["reachable"]
        assert not one["nat"]
        assert one["source"] == one["source_seen"] == PODS["a"][0 if family == 4 else 1]
        assert one["mtu_ok"]
        assert one["over_mtu_blocked"]
        assert not one["fragmented"]
        assert 0 <= one["rtt_ms"] < 500
        assert not one["plain_on_underlay"]
        wanted = {"type": "vxlan", "vni": 84, "outer_src": NODE1, "outer_dst": NODE2, "port": 4789}
        assert one["encapsulation"] == (wanted if one["to"] == "c" else None)


def test_nat_between_pods_is_detected(fabric: Fabric) -> None:
    fabric.run("node1", "nft", "-f", "-", stdin=NAT % "ip daddr 10.244.2.0/24 masquerade")
    fabric.respond("c")
    result = fabric.ask(target("c"))
    one = only(result)
    assert one["reachable"]
    assert one["nat"]
    assert one["source_seen"] == "10.244.1.0"
    (failure,) = result["failures"]
    assert (
        "by UDP and TCP the receiver saw 10.244.1.0 as the source, wanted the pod's own address 10.244.1.2" in failure
    )


def test_outgoing_nat_is_proven_and_its_absence_detected(fabric: Fabric) -> None:
    fabric.respond("outside")
    wanted = {"name": "outside", "address": OUTSIDE, "source": "node", "encapsulation": {"type": "plain"}}
    fabric.ip("router", f"route add 10.244.1.0/24 via {NODE1}")
    (failure,) = fabric.ask(wanted)["failures"]
    assert "outgoing NAT is missing" in failure
    fabric.run("node1", "nft", "-f", "-", stdin=NAT % 'oifname "eth0" masquerade')
    result = fabric.ask(wanted)
    assert result["failures"] == []
    assert only(result)["nat"]
    assert only(result)["source_seen"] == NODE1
    # One more translation on the way hides the node.
    fabric.run("router", "nft", "-f", "-", stdin=NAT % 'oifname "r3" masquerade')
    assert "a router on the way" in fabric.ask(wanted)["failures"][0]


def test_a_smaller_mtu_behind_the_interface_is_detected(fabric: Fabric) -> None:
    """The peer's bridge takes less than the network promises: a small packet passes, a full one does not."""
    fabric.ip("node2", "link set br0 mtu 1300")
    fabric.respond("c")
    started = time.monotonic()
    result = fabric.ask(target("c", 4), target("c", 6))
    assert time.monotonic() - started < 5
    for one in result["results"]:
        assert one["reachable"]
        assert one["mtu_ok"] is False
        assert one["over_mtu_blocked"] is None
        assert "a packet of 1450 bytes with DF does not pass" in one["failures"][0]


def test_a_smaller_mtu_of_the_underlay_is_detected_though_the_tunnel_hides_it(fabric: Fabric) -> None:
    """A router cuts the tunnel's packets, which have no DF; the pods notice nothing but the price."""
    fabric.ip("router", "link set r1 mtu 1400")
    fabric.run("node1", "ip", "link", "set", "eth0", "mtu", "1500")
    fabric.respond("c")
    one = only(fabric.ask(target("c")))
    assert one["mtu_ok"] is False or one["fragmented"]
    assert one["failures"]


def test_fragments_that_the_node_itself_makes_are_detected(fabric: Fabric) -> None:
    fabric.ip("node1", "link set eth0 mtu 1400")
    fabric.respond("c")
    one = only(fabric.ask(target("c")))
    assert one["mtu_ok"]
    assert one["fragmented"]
    assert "in fragments on eth0" in one["failures"][0]


def test_a_pod_that_may_send_more_than_the_network_takes_is_detected(fabric: Fabric) -> None:
    for node, devices in (("node1", ("vx0", "br0", "va")), ("node2", ("vx0", "br0", "vc"))):
        fabric.ip(node, *(f"link set {device} mtu 1490" for device in devices))
    for pod in "ac":
        fabric.ip(pod, "link set eth0 mtu 1490")
    fabric.respond("c")
    one = only(fabric.ask(target("c")))
    assert one["mtu_ok"]
    assert one["over_mtu_blocked"] is False
    assert any("a packet of 1451 bytes with DF passes" in text for text in one["failures"])


def test_another_vni_is_detected(fabric: Fabric) -> None:
    for number, node in enumerate(("node1", "node2"), 1):
        fabric.ip(
            node,
            "link set vx0 down",
            f"link add vy0 address 02:00:00:00:01:0{number} mtu 1450 type vxlan id 85 dstport 4790 "
            f"local {(NODE1, NODE2)[number - 1]} nolearning",
            f"address add 10.244.{number}.0/32 dev vy0",
            "link set vy0 up",
            f"neigh add 10.244.{3 - number}.0 lladdr 02:00:00:00:01:0{3 - number} dev vy0 nud permanent",
            f"route replace 10.244.{3 - number}.0/24 via 10.244.{3 - number}.0 dev vy0 onlink",
        )
        peer = (NODE2, NODE1)[number - 1]
        fabric.run(node, *f"bridge fdb append 02:00:00:00:01:0{3 - number} dev vy0 dst {peer} self".split())
    fabric.respond("c")
    one = only(fabric.ask(target("c")))
    assert one["reachable"]
    assert (one["encapsulation"]["vni"], one["encapsulation"]["port"]) == (85, 4790)
    assert "left eth0 in vxlan VNI 85" in one["failures"][0]
    assert "wanted vxlan VNI 84" in one["failures"][0]


def test_plain_routing_instead_of_the_tunnel_is_detected(fabric: Fabric) -> None:
    fabric.ip("node1", "route replace 10.244.2.0/24 via 192.0.2.254")
    fabric.ip("node2", "route replace 10.244.1.0/24 via 198.51.100.254")
    fabric.ip("router", f"route add 10.244.1.0/24 via {NODE1}", f"route add 10.244.2.0/24 via {NODE2}")
    fabric.respond("c")
    one = only(fabric.ask(target("c")))
    assert one["reachable"]
    assert one["encapsulation"] is None
    assert one["plain_on_underlay"]
    assert "left eth0 without a tunnel" in one["failures"][0]


def test_a_tunnel_over_another_interface_than_the_one_watched_is_detected(fabric: Fabric) -> None:
    fabric.ip("node1", "link add spare0 type bridge", "link set spare0 up")
    fabric.respond("c")
    one = only(fabric.ask(target("c"), underlay_interface="spare0"))
    assert "not seen on spare0" in one["failures"][0]


def test_a_tunnel_between_pods_of_one_node_is_detected(fabric: Fabric) -> None:
    fabric.respond("c")
    one = only(fabric.ask({**target("c"), "encapsulation": {"type": "local"}}))
    assert "wanted no tunnel" in one["failures"][0]


def test_an_unreachable_pod_is_detected_within_the_deadline(fabric: Fabric) -> None:
    fabric.run("node1", "bridge", "fdb", "delete", "02:00:00:00:00:02", "dev", "vx0", "dst", NODE2, "self")
    fabric.respond("b", "c")
    started = time.monotonic()
    result = fabric.ask(target("c"), target("b"), timeout=1.0)
    assert time.monotonic() - started < 1.6
    lost, found = result["results"]
    assert not lost["reachable"]
    assert lost["nat"] is None
    assert lost["mtu_ok"] is None
    assert found["reachable"]
    (failure,) = result["failures"]
    assert failure.startswith("a -> c (10.244.2.2): not reached within 1 s (UDP: ")


def test_a_protocol_that_is_filtered_is_told_apart(fabric: Fabric) -> None:
    rules = "table ip test { chain f { type filter hook forward priority 0; meta l4proto tcp drop; }; }"
    fabric.run("node2", "nft", "-f", "-", stdin=rules)
    fabric.respond("c")
    one = only(fabric.ask(target("c")))
    assert one["udp"]
    assert not one["tcp"]
    assert not one["reachable"]
    assert "a packet filter on the way drops the other" in one["failures"][0]


def test_a_first_packet_lost_is_asked_again(fabric: Fabric) -> None:
    rules = "table ip test { chain f { type filter hook forward priority 0; limit rate 1/day burst 2 packets drop; }; }"
    fabric.run("node2", "nft", "-f", "-", stdin=rules)
    fabric.respond("c")
    assert fabric.ask(target("c"), timeout=4.0)["failures"] == []


def test_a_responder_of_another_run_does_not_answer(fabric: Fabric) -> None:
    fabric.respond("c")
    assert not only(fabric.ask(target("c"), run="other", timeout=0.5))["reachable"]


def test_a_tunnel_over_ipv6_is_read_for_both_families(fabric: Fabric) -> None:
    ends = {1: "2001:db8:1::1", 2: "2001:db8:2::1"}
    fabric.run("router", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    for number, end in ends.items():
        peer, gateway = 3 - number, end.replace("::1", "::ff")
        fabric.ip("router", f"address add {gateway}/64 dev r{number}")
        fabric.ip(
            f"node{number}",
            f"address add {end}/64 dev eth0",
            f"route add default via {gateway}",
            "link delete vx0",
            f"link add vx0 address 02:00:00:00:00:0{number} mtu 1430 type vxlan id 84 dstport 4789 "
            f"local {end} nolearning",
            f"address add 10.244.{number}.0/32 dev vx0",
            "link set vx0 up",
            f"neigh add 10.244.{peer}.0 lladdr 02:00:00:00:00:0{peer} dev vx0 nud permanent",
            f"neigh add fd00:0:0:{peer}:: lladdr 02:00:00:00:00:0{peer} dev vx0 nud permanent",
            f"route add 10.244.{peer}.0/24 via 10.244.{peer}.0 dev vx0 onlink",
            f"route add fd00:0:0:{peer}::/64 via fd00:0:0:{peer}:: dev vx0 onlink",
        )
        fabric.run(f"node{number}", *f"bridge fdb append 02:00:00:00:00:0{peer} dev vx0 dst {ends[peer]} self".split())
    fabric.respond("c")
    wanted = {**VXLAN, "outer_src": ends[1], "outer_dst": ends[2]}
    asked = [{**target("c", family), "encapsulation": wanted} for family in (4, 6)]
    for pod in "ac":
        fabric.ip(pod, "link set eth0 mtu 1430")
    result = fabric.ask(*asked, mtu=1430)
    assert result["failures"] == []
    assert [one["encapsulation"] for one in result["results"]] == [wanted, wanted]
    # Too big for the underlay by the 20 bytes that IPv6 is longer.
    for node in ("node1", "node2"):
        fabric.ip(node, "link set vx0 mtu 1450")
    for pod in "ac":
        fabric.ip(pod, "link set eth0 mtu 1450")
    result = fabric.ask(*asked)
    assert all(one["failures"] and (one["mtu_ok"] is False or one["fragmented"]) for one in result["results"])


@pytest.mark.slow
def test_hundreds_of_questions_are_asked_at_once(fabric: Fabric) -> None:
    fabric.ip("c", *(f"address add 10.244.2.{last}/24 dev eth0" for last in range(10, 210)))
    fabric.respond("c")
    many = [{**target("c"), "address": f"10.244.2.{last}"} for last in range(10, 210)]
    started = time.monotonic()
    result = fabric.ask(*many, pods="ab", timeout=10.0)
    assert time.monotonic() - started < 13
    assert len(result["results"]) == 400
    assert result["failures"] == []
