# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnel packets between namespaces: who is heard, who is not, and what pods may send."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipam_pool
from ansible_collections.podnet.fabric.plugins.module_utils.resources.tunnel_filter import KIND

from .wired import (
    ADDRESSES,
    GENEVE,
    INSIDE,
    IPIP,
    NODE,
    PEER,
    POD,
    STRANGER,
    VXLAN,
    Wired,
    both_families,
    nothing_more,
    wired,
)

if TYPE_CHECKING:
    pass

__all__ = ["wired"]


@both_families
def test_a_peers_vxlan_is_opened_and_a_strangers_is_dropped(wired: Wired, family: int) -> None:
    wired.tunnel(NODE, PEER, family)
    wired.tunnel(PEER, NODE, family)
    wired.tunnel(STRANGER, NODE, family)
    with wired.listen(NODE, INSIDE[NODE], 9000) as receiver:
        # Without the filter, the kernel takes it from anybody.
        wired.send(STRANGER, INSIDE[NODE], 9000, b"before")
        assert receiver.recv(100) == b"before"
        wired.node.declare(KIND, "vxlan", VXLAN)
        wired.send(STRANGER, INSIDE[NODE], 9000, b"stranger")
        assert wired.is_dropped("tunnel-input", 1)
        assert nothing_more(receiver)
        wired.send(PEER, INSIDE[NODE], 9000, b"peer")
        assert receiver.recv(100) == b"peer"
        wired.node.declare(KIND, "vxlan", {**VXLAN, "peers": [ADDRESSES[family][STRANGER]]})
        wired.send(PEER, INSIDE[NODE], 9000, b"no peer any more")
        assert wired.is_dropped("tunnel-input", 2)
        wired.send(STRANGER, INSIDE[NODE], 9000, b"a peer now")
        assert receiver.recv(100) == b"a peer now"


@both_families
def test_a_pod_cannot_send_vxlan_under_the_nodes_address(wired: Wired, family: int) -> None:
    for end in (NODE, PEER):
        wired.tunnel(end, PEER if end == NODE else NODE, family)
        wired.tunnel(POD, end, family)
        wired.node.withdraw(KIND, "vxlan")
        with wired.listen(end, INSIDE[end], 9000) as receiver:
            wired.send(POD, INSIDE[end], 9000, b"before")
            assert receiver.recv(100) == b"before"
            wired.node.declare(KIND, "vxlan", VXLAN)
            wired.send(POD, INSIDE[end], 9000, b"injected")
            assert wired.is_dropped("tunnel-pods", 1)
            assert wired.dropped("tunnel-input") == 0
            assert nothing_more(receiver)
        wired.ip(POD, "link", "del", "vx")


# An IP header with nothing behind it, as it stands inside of IP in IP.
INNER = {4: bytes.fromhex("450000140000000040fd0000") + bytes(8), 41: bytes.fromhex("600000000000fd40") + bytes(32)}


@pytest.mark.parametrize(("family", "protocol"), [(4, 4), (6, 41), (6, 4)], ids=["ipip", "ip6ip6", "ip4ip6"])
def test_ip_in_ip_comes_from_peers_only_and_never_from_pods(wired: Wired, family: int, protocol: int) -> None:
    # Or what the pod sends before would be translated, and with it the peer's packets, taken for answers, for minutes.
    wired.node.withdraw(ipam_pool.KIND, "node")

    def send(where: int, to: int) -> None:
        with wired.open(where, family, socket.SOCK_RAW, protocol) as sender:
            sender.sendto(INNER[protocol], (ADDRESSES[family][to], 0))

    with (
        wired.open(NODE, family, socket.SOCK_RAW, protocol) as node,
        wired.open(PEER, family, socket.SOCK_RAW, protocol) as peer,
    ):
        for where, to, receiver in ((STRANGER, NODE, node), (POD, NODE, node), (POD, PEER, peer)):
            send(where, to)
            assert receiver.recv(100).endswith(INNER[protocol])
        wired.node.declare(KIND, "ipip", IPIP)
        send(STRANGER, NODE)
        assert wired.is_dropped("tunnel-input", 1)
        send(POD, NODE)
        send(POD, PEER)
        assert wired.is_dropped("tunnel-pods", 2)
        assert nothing_more(node)
        assert nothing_more(peer)
        send(PEER, NODE)
        assert node.recv(100).endswith(INNER[protocol])


@both_families
def test_fragments_do_not_get_by(wired: Wired, family: int) -> None:
    large = bytes(4000)
    with wired.listen(NODE, ADDRESSES[family][NODE], 6081) as node:
        wired.send(STRANGER, ADDRESSES[family][NODE], 6081, large)
        assert node.recv(65535) == large
        wired.node.declare(KIND, "geneve", GENEVE)
        wired.send(STRANGER, ADDRESSES[family][NODE], 6081, large)
        assert wired.is_dropped("tunnel-input", 1)
        wired.send(POD, ADDRESSES[family][NODE], 6081, large)
        assert wired.is_dropped("tunnel-pods", 1)
        assert nothing_more(node)
        wired.send(PEER, ADDRESSES[family][NODE], 6081, large)
        assert node.recv(65535) == large


@both_families
def test_fragments_do_not_get_by_where_nothing_puts_them_together_before(wired: Wired, family: int) -> None:
    # Without NAT there is no connection tracking: the rules meet fragments, the first of which has the port.
    wired.node.withdraw(ipam_pool.KIND, "node")
    wired.node.declare(KIND, "geneve", GENEVE)
    with wired.listen(NODE, ADDRESSES[family][NODE], 6081) as node, wired.listen(PEER, "::", 6081) as peer:
        wired.send(STRANGER, ADDRESSES[family][NODE], 6081, bytes(4000))
        assert wired.is_dropped("tunnel-input", 1)
        wired.send(POD, ADDRESSES[family][PEER], 6081, bytes(4000))
        assert wired.is_dropped("tunnel-pods", 1)
        wired.send(PEER, ADDRESSES[family][NODE], 6081, bytes(4000))
        assert node.recv(65535) == bytes(4000)
        assert nothing_more(node)
        assert nothing_more(peer)


@both_families
def test_what_is_not_the_tunnels_passes(wired: Wired, family: int) -> None:
    node, peer, stranger, pod = ADDRESSES[family]
    wired.node.declare(KIND, "vxlan", VXLAN)
    wired.node.declare(KIND, "ipip", IPIP)
    passing = [
        (POD, PEER, peer, 4790, "a pod sends to the underlay"),
        (POD, STRANGER, stranger, 53, "a pod sends outside"),
        (POD, NODE, node, 6081, "a pod sends to its node, and that tunnel is not in use"),
        (STRANGER, POD, pod, 4789, "a pod receives on the port"),
        (STRANGER, NODE, node, 4790, "a stranger sends to the node"),
        (NODE, NODE, node, 4789, "the node sends to itself"),
        (NODE, STRANGER, stranger, 4789, "the node sends to a stranger"),
    ]
    for source, destination, address, port, what in passing:
        with wired.listen(destination, address, port) as receiver:
            wired.send(source, address, port, what.encode())
            assert receiver.recv(100) == what.encode()
    assert (wired.dropped("tunnel-input"), wired.dropped("tunnel-pods")) == (0, 0)


def test_an_answer_to_a_pod_whose_translated_port_is_the_tunnels_passes(wired: Wired) -> None:
    wired.node.withdraw(ipam_pool.KIND, "node")
    wired.node.declare(KIND, "vxlan", VXLAN)
    rules = "table ip nat { chain c { type nat hook postrouting priority 100; udp dport 53 snat to 192.0.2.1:4789; }; }"
    wired.node.namespace.run("nft", "-f", "-", stdin=rules)
    with wired.listen(STRANGER, "192.0.2.66", 53) as server, wired.open(POD, 4) as client:
        client.sendto(b"question", ("192.0.2.66", 53))
        question, source = server.recvfrom(100)
        assert (question, source) == (b"question", ("192.0.2.1", 4789))
        server.sendto(b"answer", source)
        assert client.recv(100) == b"answer"
