# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest's kernel carries packets in every kind of tunnel, seen on the wire, and has what the roles build on."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Node

IPIP, UDP, IP6IP6 = 4, 17, 41  # IANA protocol numbers
GENEVE, WIREGUARD = 6081, 51820
TCP_MD5SIG = 14  # linux/tcp.h
VNI = 84


def protocol(packet: bytes) -> int:
    return packet[9] if packet[0] >> 4 == 4 else packet[6]


def payload(packet: bytes) -> bytes:
    return packet[(packet[0] & 15) * 4 :] if packet[0] >> 4 == 4 else packet[40:]


def inner_of(packet: bytes, proto: int, port: int | None) -> bytes | None:
    """What a packet carries behind the header of its tunnel; None for another tunnel, or none."""
    if protocol(packet) != proto:
        return None
    if port is None:
        return payload(packet)
    if struct.unpack("!H", payload(packet)[2:4])[0] != port:
        return None
    return payload(packet)[8:]


def other(node: Node) -> int:
    return 3 - node.number


def ipip(node: Node) -> None:
    node.ip("link add tun type ipip external")
    node.ip("link set tun up")
    node.ip(f"nexthop add id 84 encap ip id 0 dst 192.0.2.{other(node)} dev tun")
    node.ip(f"route add 10.64.{other(node)}.0/24 nhid 84 src 10.64.{node.number}.1")


def ip6ip6(node: Node) -> None:
    node.ip("link add tun type ip6tnl external")
    node.ip("link set tun up")
    node.ip(f"-6 nexthop add id 84 encap ip6 id 0 dst 2001:db8::{other(node)} dev tun")
    node.ip(f"-6 route add fd64:{other(node)}::/64 nhid 84 src fd64:{node.number}::1")


def geneve(node: Node) -> None:
    """No options in the encapsulation: with them some kernels fall over while they hold the lock of all links."""
    node.ip(f"link add tun address 02:00:00:00:00:0{node.number} type geneve external dstport {GENEVE}")
    node.ip("link set tun up")
    gateway = f"10.64.{other(node)}.0"
    node.ip(f"neighbour add {gateway} lladdr 02:00:00:00:00:0{other(node)} dev tun nud permanent")
    node.ip(f"nexthop add id 84 encap ip id {VNI} dst 192.0.2.{other(node)} via {gateway} dev tun onlink")
    node.ip(f"route add 10.64.{other(node)}.0/24 nhid 84 src 10.64.{node.number}.1")


@pytest.mark.parametrize(
    ("build", "target", "proto", "port"),
    [
        (ipip, "10.64.2.1", IPIP, None),
        (ip6ip6, "fd64:2::1", IP6IP6, None),
        (geneve, "10.64.2.1", UDP, GENEVE),
    ],
)
def test_packets_go_through_a_tunnel_that_a_nexthop_object_describes(
    nodes: tuple[Node, Node], build: Callable[[Node], None], target: str, proto: int, port: int | None
) -> None:
    first, second = nodes
    assert not first.pings(target)
    for node in nodes:
        build(node)
    with second.capture() as wire:
        assert first.pings(target)
        packets = wire.packets()
    carried = [inner for packet in packets if (inner := inner_of(packet, proto, port)) is not None]
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    assert any(socket.inet_pton(family, target) in inner for inner in carried)
    # Nothing but tunnelled packets bears the address.
    outside = [packet for packet in packets if inner_of(packet, proto, port) is None]
    assert not any(socket.inet_pton(family, target) in packet for packet in outside)


def test_the_identifier_of_a_nexthop_object_is_in_every_geneve_header(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    for node in nodes:
        geneve(node)
    with second.capture() as wire:
        assert first.pings("10.64.2.1")
        headers = [inner for packet in wire.packets() if (inner := inner_of(packet, UDP, GENEVE)) is not None]
    assert headers
    # RFC 8926, 3.4: no options, Ethernet inside, and the identifier in 24 bits.
    assert {header[:8] for header in headers} == {bytes([0, 0, 0x65, 0x58, 0, 0, VNI, 0])}


def test_wireguard_carries_both_families_and_shows_nothing_of_them(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    first, second = nodes
    keys = {node.name: first.run("wg", "genkey") for node in nodes}
    for node, peer in ((first, second), (second, first)):
        secret = tmp_path / node.name
        secret.touch(mode=0o600)
        secret.write_text(keys[node.name])
        public = first.run("wg", "pubkey", stdin=keys[peer.name]).strip()
        allowed = f"10.64.{peer.number}.0/24,fd64:{peer.number}::/64"
        node.ip("link add tun type wireguard")
        node.run(
            "wg",
            "set",
            "tun",
            "listen-port",
            str(WIREGUARD),
            "private-key",
            os.fspath(secret),
            "peer",
            public,
            "endpoint",
            f"192.0.2.{peer.number}:{WIREGUARD}",
            "allowed-ips",
            allowed,
        )
        node.ip("link set tun up")
        node.ip(f"route add 10.64.{peer.number}.0/24 dev tun src 10.64.{node.number}.1")
        node.ip(f"-6 route add fd64:{peer.number}::/64 dev tun src fd64:{node.number}::1")
    with second.capture() as wire:
        assert first.pings("10.64.2.1")
        assert first.pings("fd64:2::1")
        packets = wire.packets()
    # Message types of the WireGuard paper, 5.4: initiation, response, data.
    kinds = {inner[0] for packet in packets if (inner := inner_of(packet, UDP, WIREGUARD))}
    assert {1, 2, 4} <= kinds
    pods = [socket.inet_pton(socket.AF_INET, "10.64.2.1"), socket.inet_pton(socket.AF_INET6, "fd64:2::1")]
    assert not any(pod in packet for packet in packets for pod in pods)


def test_a_new_namespace_has_no_tunnels_of_its_own(nodes: tuple[Node, Node]) -> None:
    assert sorted(line.split()[0].partition("@")[0] for line in nodes[0].ip("-brief link").splitlines()) == [
        "lo",
        "wire",
    ]


def test_an_nftables_ruleset_of_the_inet_family_lets_through_and_keeps_out(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    second.run(
        "nft",
        "--file",
        "-",
        stdin="""
        table inet podnet_in {
          set nodes { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 } }
          chain input {
            type filter hook input priority filter; policy accept;
            ct state established,related accept
            fib saddr . iif oif missing drop
            ip saddr @nodes accept
            meta l4proto icmp limit rate over 1000/second drop
            ip protocol icmp counter drop
          }
          chain output { type nat hook postrouting priority srcnat; oifname "none" masquerade; }
        }""",
    )
    assert not first.pings("192.0.2.2")
    assert first.pings("2001:db8::2")
    assert "counter packets 5 " in second.run("nft", "list", "ruleset")
    second.run("nft", "add", "element", "inet", "podnet_in", "nodes", "{ 192.0.2.1 }")
    assert first.pings("192.0.2.2")


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"])
def test_both_tables_of_iptables_work(nodes: tuple[Node, Node], tool: str) -> None:
    first, second = nodes
    second.run(
        tool,
        "-A",
        "INPUT",
        "-m",
        "comment",
        "--comment",
        "podnet",
        "-m",
        "conntrack",
        "--ctstate",
        "NEW",
        "-j",
        "REJECT",
    )
    target = "2001:db8::2" if tool.startswith("ip6") else "192.0.2.2"
    assert not first.pings(target)
    second.run(tool, "-F", "INPUT")
    assert first.pings(target)


def test_tcp_signatures_of_bgp_sessions_are_checked(nodes: tuple[Node, Node]) -> None:
    first, second = nodes

    def sign(end: socket.socket, peer: str, key: bytes) -> None:
        # struct tcp_md5sig: a sockaddr_storage, flags, prefix length, length of the key, interface, the key
        address = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(peer))
        end.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, address + struct.pack("=BBHi80s", 0, 0, len(key), 0, key))

    with second.inside():
        server = socket.socket()
    with server:
        sign(server, "192.0.2.1", b"right")
        server.bind(("192.0.2.2", 179))
        server.listen()
        for key, answer in ((b"right", True), (b"wrong", False)):
            with first.inside():
                client = socket.socket()
            with client:
                client.settimeout(3)
                sign(client, "192.0.2.2", key)
                assert (client.connect_ex(("192.0.2.2", 179)) == 0) is answer
