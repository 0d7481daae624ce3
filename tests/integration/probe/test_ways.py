# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way that packets can take from node to node is told from the others by what the underlay sees of it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import capture, namespace
from ansible_collections.podnet.fabric.tests.integration.kinds import needs_link_kind

from .conftest import NODE1, NODE2, only, target

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Fabric

ENDS = {1: NODE1, 2: NODE2}
SIX = {1: "2001:db8:1::1", 2: "2001:db8:2::1"}
MTU = 1440  # what WireGuard over IPv4 leaves, and less than what the others do
DIRECT = {"type": "direct"}


def _route_plainly(fabric: Fabric) -> None:
    """Without a tunnel, by the router."""
    fabric.ip("node1", "route replace 10.244.2.0/24 via 192.0.2.254")
    fabric.ip("node2", "route replace 10.244.1.0/24 via 198.51.100.254")
    fabric.ip("router", f"route add 10.244.1.0/24 via {NODE1}", f"route add 10.244.2.0/24 via {NODE2}")


def test_a_direct_way_is_proven_and_its_mtu_is_that_of_the_pods(fabric: Fabric) -> None:
    _route_plainly(fabric)
    fabric.respond("c")
    result = fabric.ask({**target("c"), "encapsulation": DIRECT})
    assert result["failures"] == []
    one = only(result)
    assert (one["expected"], one["encapsulation"], one["plain_on_underlay"]) == ("direct", None, True)
    # The underlay would take 50 bytes more.
    assert one["over_mtu_blocked"]


def test_a_tunnel_instead_of_the_direct_way_is_detected(fabric: Fabric) -> None:
    fabric.respond("c")
    one = only(fabric.ask({**target("c"), "encapsulation": DIRECT}))
    assert one["reachable"]
    assert "left eth0 in vxlan VNI 84" in one["failures"][0]
    assert "wanted no tunnel; the direct route to it is missing" in one["failures"][0]


def test_a_direct_way_over_another_interface_is_detected(fabric: Fabric) -> None:
    _route_plainly(fabric)
    fabric.ip("node1", "link add spare0 type bridge", "link set spare0 up")
    fabric.respond("c")
    one = only(fabric.ask({**target("c"), "encapsulation": DIRECT}, underlay_interface="spare0"))
    assert "not seen on spare0, wanted it there without a tunnel" in one["failures"][0]


def test_data_in_wireguard_is_seen_as_such_and_nothing_else_is(fabric: Fabric) -> None:
    """What another program sends in WireGuard's form, as this kernel may have no WireGuard."""
    data = struct.pack("<IIQ", 4, 7, 1) + bytes(160) + bytes(16)
    sent = {
        "data": data,
        "keepalive": data[:32],
        "handshake": struct.pack("<I", 1) + bytes(144),
        "other": b"\x04\x01" + bytes(100),
    }
    with namespace.inside(fabric.netns("node1")):
        watchers = {sealed: capture.watch("eth0", sealed) for sealed in (True, False)}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
            for payload in sent.values():
                program.sendto(payload, (NODE2, 51820))
        seen = {sealed: capture.drain(watcher) for sealed, watcher in watchers.items()}
        for watcher in watchers.values():
            watcher.close()
    assert seen[False] == []
    (one,) = seen[True]
    assert one.outgoing
    assert one.what.encapsulation is not None
    assert (one.what.encapsulation.type, one.what.encapsulation.port) == ("wireguard", 51820)
    assert (one.what.source, one.what.destination) == (socket.inet_aton(NODE1), socket.inet_aton(NODE2))


def _geneve(number: int, peer: int) -> list[str]:
    return [
        f"link add t0 address 02:00:00:00:02:0{number} mtu {MTU} type geneve id 85 remote {ENDS[peer]} dstport 6081",
        f"address add 10.244.{number}.0/32 dev t0",
        "link set t0 up",
        f"neigh add 10.244.{peer}.0 lladdr 02:00:00:00:02:0{peer} dev t0 nud permanent",
        f"route replace 10.244.{peer}.0/24 via 10.244.{peer}.0 dev t0 onlink",
    ]


def _ipip(number: int, peer: int) -> list[str]:
    return [
        f"link add t0 mtu {MTU} type ipip local {ENDS[number]} remote {ENDS[peer]}",
        "link set t0 up",
        f"route replace 10.244.{peer}.0/24 dev t0",
    ]


def _ip6ip6(number: int, peer: int) -> list[str]:
    return [
        f"address add {SIX[number]}/64 dev eth0",
        f"route add default via {SIX[number].replace('::1', '::ff')}",
        f"link add t0 mtu {MTU} type ip6tnl mode ip6ip6 local {SIX[number]} remote {SIX[peer]} encaplimit none",
        "link set t0 up",
        f"route replace fd00:0:0:{peer}::/64 dev t0",
    ]


def _wireguard(number: int, peer: int) -> list[str]:
    return [f"link add t0 mtu {MTU} type wireguard", "link set t0 up", f"route replace 10.244.{peer}.0/24 dev t0"]


def _exchange_keys(fabric: Fabric) -> None:
    private = {number: fabric.run("router", "wg", "genkey").strip() for number in ENDS}
    public = {number: fabric.run("router", "wg", "pubkey", stdin=key).strip() for number, key in private.items()}
    for number in ENDS:
        peer = 3 - number
        lines = [
            f"[Interface]\nPrivateKey = {private[number]}\nListenPort = 51820",
            f"[Peer]\nPublicKey = {public[peer]}\nEndpoint = {ENDS[peer]}:51820\nAllowedIPs = 10.244.{peer}.0/24\n",
        ]
        fabric.run(f"node{number}", "wg", "setconf", "t0", "/dev/stdin", stdin="\n".join(lines))


OUTER = {"outer_src": NODE1, "outer_dst": NODE2}
WAYS = [
    pytest.param(
        _geneve, 4, {"type": "geneve", "vni": 85, "port": 6081, **OUTER}, marks=needs_link_kind("geneve"), id="geneve"
    ),
    pytest.param(_ipip, 4, {"type": "ipip", **OUTER}, marks=needs_link_kind("ipip"), id="ipip"),
    pytest.param(
        _ip6ip6,
        6,
        {"type": "ip6ip6", "outer_src": SIX[1], "outer_dst": SIX[2]},
        marks=needs_link_kind("ip6tnl"),
        id="ip6ip6",
    ),
    pytest.param(
        _wireguard, 4, {"type": "wireguard", "port": 51820, **OUTER}, marks=needs_link_kind("wireguard"), id="wireguard"
    ),
]


@pytest.mark.parametrize(("tunnel", "family", "wanted"), WAYS)
def test_each_tunnel_is_seen_for_what_it_is(
    fabric: Fabric, tunnel: Callable[[int, int], list[str]], family: int, wanted: dict[str, Any]
) -> None:
    if family == 6:
        fabric.run("router", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        fabric.ip("router", *(f"address add {SIX[n].replace('::1', '::ff')}/64 dev r{n}" for n in SIX))
    for number in ENDS:
        fabric.ip(f"node{number}", *tunnel(number, 3 - number))
    if tunnel is _wireguard:
        _exchange_keys(fabric)
    for pod in "ac":
        fabric.ip(pod, f"link set eth0 mtu {MTU}")
    fabric.respond("c")
    asked = target("c", family)
    result = fabric.ask({**asked, "encapsulation": wanted}, mtu=MTU)
    assert result["failures"] == []
    found = only(result)["encapsulation"]
    assert {key: value for key, value in found.items() if value is not None} == wanted

    for other in ({**wanted, "outer_dst": "203.0.113.10" if family == 4 else "2001:db8::77"}, DIRECT):
        (failure, *_rest) = fabric.ask({**asked, "encapsulation": other}, mtu=MTU)["failures"]
        assert "eth0" in failure
        assert "wanted" in failure


@needs_link_kind("wireguard")
def test_packets_beside_the_encrypted_tunnel_are_detected(fabric: Fabric) -> None:
    """The session is there, and the routes lead past it."""
    for number in ENDS:
        fabric.ip(f"node{number}", *_wireguard(number, 3 - number))
    _exchange_keys(fabric)
    _route_plainly(fabric)
    fabric.respond("c")
    wanted = {"type": "wireguard", "port": 51820, **OUTER}
    (failure, *_rest) = fabric.ask({**target("c"), "encapsulation": wanted})["failures"]
    assert "left eth0 without a tunnel, wanted wireguard" in failure
