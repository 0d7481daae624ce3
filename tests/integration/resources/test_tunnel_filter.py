# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnel packets between namespaces: who is heard, who is not, and what pods may send.

peer (192.0.2.2) ------+
                       +-- switch -- node (192.0.2.1), the namespace of the test -- podnet0 -- pod (10.244.1.10)
stranger (192.0.2.66) -+
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipam_pool
from ansible_collections.podnet.fabric.plugins.module_utils.resources.tunnel_filter import KIND

from .conftest import Node
from .test_kinds import POOLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Namespace

NODE, PEER, STRANGER, POD = 0, 1, 2, 3
ADDRESSES = {
    4: ("192.0.2.1", "192.0.2.2", "192.0.2.66", "10.244.1.10"),
    6: ("2001:db8::1", "2001:db8::2", "2001:db8::66", "fd00:10:244:1::10"),
}
INSIDE = ("10.250.0.1", "10.250.0.2", "10.250.0.66", "10.250.0.10")
MACS = tuple(f"02:00:00:00:0a:0{number}" for number in range(4))
PEERS = [{"name": "peer", "underlay": "192.0.2.2", "second": "2001:db8::2"}]
VXLAN = {"protocol": "udp", "port": 4789, "bridge": "podnet0", "peers": PEERS}
GENEVE = {**VXLAN, "port": 6081}
IPIP = {"protocol": "ipip", "bridge": "podnet0", "peers": PEERS}
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


class Wired(NamedTuple):
    """The node and the namespaces around it."""

    node: Node
    prefix: str

    def ip(self, where: int, *arguments: str) -> None:
        """Run `ip` in one of the namespaces."""
        self.node.namespace.ip(*(["-n", self.name(where)] if where != NODE else []), *arguments)

    def name(self, where: int) -> str:
        return self.prefix + ("node", "peer", "stranger", "pod")[where]

    def open(self, where: int, family: int, sort: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
        """A socket in one of the namespaces."""
        with namespace.inside("-" if where == NODE else self.name(where)):
            made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, sort, protocol)
        made.settimeout(5)
        return made

    def listen(self, where: int, address: str, port: int) -> socket.socket:
        """A UDP socket that is bound."""
        made = self.open(where, 6 if ":" in address else 4)
        made.bind((address, port))
        return made

    def send(self, where: int, address: str, port: int, payload: bytes) -> None:
        """One datagram."""
        with self.open(where, 6 if ":" in address else 4) as sender:
            sender.sendto(payload, (address, port))

    def tunnel(self, where: int, to: int, family: int) -> None:
        """A VXLAN device between two of them, with an address inside and the other end's known."""
        local, remote = (ADDRESSES[family][end] for end in (where, to))
        ends = f"id 84 dstport 4789 nolearning local {local} remote {remote}".split()
        self.ip(where, "link", "add", "vx", "address", MACS[where], "type", "vxlan", *ends)
        # No link-local address, and so no packets but the test's.
        self.ip(where, "link", "set", "vx", "addrgenmode", "none")
        self.ip(where, "address", "add", f"{INSIDE[where]}/24", "dev", "vx")
        self.ip(where, "link", "set", "vx", "up", "alias", "podnet:vxlan")
        self.ip(where, "neigh", "add", INSIDE[to], "lladdr", MACS[to], "dev", "vx", "nud", "permanent")

    def dropped(self, chain: str) -> int:
        """How many packets the rules of a chain have counted."""
        shown = json.loads(self.node.namespace.run("nft", "-j", "list", "chain", "inet", "podnet", chain))
        return sum(
            word["counter"]["packets"]
            for entry in shown["nftables"]
            if "rule" in entry
            for word in entry["rule"]["expr"]
            if "counter" in word
        )

    def is_dropped(self, chain: str, least: int) -> bool:
        """Whether the rules of a chain come to count so many packets."""
        end = time.monotonic() + 5
        while self.dropped(chain) < least and time.monotonic() < end:
            time.sleep(0.01)
        return self.dropped(chain) == least


def nothing_more(receiver: socket.socket) -> bool:
    """Whether a socket is empty; what is dropped was counted before, so it is not merely late."""
    receiver.setblocking(False)
    try:
        receiver.recv(65535)
    except BlockingIOError:
        return True
    finally:
        receiver.settimeout(5)
    return False


@pytest.fixture
def wired(netns: Namespace, tmp_path: Path) -> Iterator[Wired]:
    """The network of this file's head, with forwarding on the node and its pools declared."""
    made = Wired(Node(netns, Declarations(tmp_path / "podnet" / "node.d")), f"pnt{os.getpid()}-")
    switch = f"{made.prefix}switch"
    others = [made.name(where) for where in (PEER, STRANGER, POD)]
    try:
        for name in (switch, *others):
            netns.ip("netns", "add", name)
        netns.ip("-n", switch, "link", "add", "sw0", "type", "bridge", "mcast_snooping", "0")
        netns.ip("-n", switch, "link", "set", "sw0", "up")
        netns.ip("link", "add", "podnet0", "type", "bridge", "mcast_snooping", "0")
        for address in ("10.244.1.1/24", "fd00:10:244:1::1/64"):
            netns.ip("address", "add", address, "dev", "podnet0", "nodad")
        netns.ip("link", "set", "podnet0", "up")
        for where in (NODE, PEER, STRANGER, POD):
            port = f"port{where}"
            there = ["netns", made.name(where)] if where != NODE else []
            netns.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", *there)
            if where != POD:
                netns.ip("link", "set", port, "netns", switch)
            on_switch = ["-n", switch] if where != POD else []
            netns.ip(*on_switch, "link", "set", port, "master", "podnet0" if where == POD else "sw0", "up")
            if where != NODE:
                made.ip(where, "link", "set", "lo", "up")
            for family, length in ((4, 24), (6, 64)):
                made.ip(where, "address", "add", f"{ADDRESSES[family][where]}/{length}", "dev", "eth0", "nodad")
            made.ip(where, "link", "set", "eth0", "up")
            if where != NODE:
                made.ip(where, "route", "add", "default", "via", "10.244.1.1" if where == POD else "192.0.2.1")
                gateway = "fd00:10:244:1::1" if where == POD else "2001:db8::1"
                made.ip(where, "route", "add", "default", "via", gateway)
        netns.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        made.node.declare(ipam_pool.KIND, "node", POOLS)
        yield made
    finally:
        for name in (switch, *others):
            subprocess.run(["ip", "netns", "delete", name], check=False)


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


@pytest.mark.slow
def test_a_thousand_changes_lose_nothing_of_a_peer_and_let_nothing_of_a_stranger_in(wired: Wired) -> None:
    wired.node.declare(KIND, "geneve", GENEVE)
    stop = threading.Event()
    received: list[bytes] = []
    sent = 0

    def receive(receiver: socket.socket) -> None:
        while (datagram := receiver.recv(100)) != b"end":
            received.append(datagram)

    def send(peer: socket.socket, stranger: socket.socket) -> None:
        nonlocal sent
        while not stop.wait(0.001):
            peer.send(str(sent).encode())
            stranger.send(b"stranger")
            sent += 1
        peer.send(b"end")

    with (
        wired.listen(NODE, "192.0.2.1", 6081) as receiver,
        wired.open(PEER, 4) as peer,
        wired.open(STRANGER, 4) as stranger,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for sender in (peer, stranger):
            sender.connect(("192.0.2.1", 6081))
        threads = [
            threading.Thread(target=receive, args=(receiver,)),
            threading.Thread(target=send, args=(peer, stranger)),
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(1000):
                # Each change takes one peer and brings another; some bring or take a tunnel, which changes the chains.
                others = [f"198.51.100.{(number + offset) % 250}" for offset in range(5)]
                if number % 20 == 10:
                    wired.node.declare(KIND, "vxlan", VXLAN)
                elif number % 20 == 15:
                    wired.node.withdraw(KIND, "vxlan")
                else:
                    assert wired.node.declare(KIND, "geneve", {**GENEVE, "peers": [*PEERS, *others]}).operations
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)
    assert sent > 1000
    assert received == [str(number).encode() for number in range(sent)]


def test_one_changed_peer_of_ten_thousand_is_two_elements(wired: Wired) -> None:
    peers = [f"10.1.{number // 250}.{number % 250}" for number in range(10_000)]
    created = wired.node.declare(KIND, "vxlan", {**VXLAN, "peers": peers})
    assert len(created.operations) == 4
    assert wired.node.declare(KIND, "vxlan", {**VXLAN, "peers": peers}).operations == []
    changed = wired.node.declare(KIND, "vxlan", {**VXLAN, "peers": [*peers[1:], "10.2.0.1"]})
    assert NFTABLES.script(changed.operations).splitlines()[2:] == [
        "delete element inet podnet tunnel-vxlan-peers4 { 10.1.0.0 }",
        "add element inet podnet tunnel-vxlan-peers4 { 10.2.0.1 }",
    ]


def test_the_table_goes_with_the_last_that_stands_in_it_in_any_order(wired: Wired) -> None:
    node, run = wired.node, wired.node.namespace.run
    alone = run("nft", "list", "ruleset")
    for first, second in ((ipam_pool.KIND, KIND), (KIND, ipam_pool.KIND)):
        node.declare(ipam_pool.KIND, "node", POOLS)
        assert node.declare(KIND, "vxlan", VXLAN).operations
        assert node.declare(ipam_pool.KIND, "node", POOLS).operations == []
        names = {ipam_pool.KIND: "node", KIND: "vxlan"}
        node.withdraw(first, names[first])
        assert node.declare(second, names[second], POOLS if second is ipam_pool.KIND else VXLAN).operations == []
        if first is KIND:
            assert run("nft", "list", "ruleset") == alone
        node.withdraw(second, names[second])
        assert run("nft", "list", "ruleset") == ""


def test_a_purge_takes_both_even_without_their_declarations(wired: Wired, tmp_path: Path) -> None:
    wired.node.declare(KIND, "vxlan", VXLAN)
    nowhere = Declarations(tmp_path / "nowhere")
    for kind in KINDS:
        if kind.name in ("tunnel_filter", "ipam_pool"):
            with Host() as host:
                assert reconcile(kind, {}, host, nowhere).changed
    assert wired.node.namespace.run("nft", "list", "ruleset") == ""


def test_tunnels_stand_side_by_side_and_go_one_by_one(wired: Wired) -> None:
    wired.node.declare(KIND, "vxlan", VXLAN)
    alone = wired.node.namespace.run("nft", "list", "ruleset")
    with wired.listen(NODE, "192.0.2.1", 6081) as geneve, wired.listen(NODE, "192.0.2.1", 4789) as vxlan:
        wired.node.declare(KIND, "geneve", {**GENEVE, "peers": ["192.0.2.66"]})
        for source, port in ((PEER, 6081), (STRANGER, 4789)):
            wired.send(source, "192.0.2.1", port, b"no")
        assert wired.is_dropped("tunnel-input", 2)
        for source, port, receiver in ((STRANGER, 6081, geneve), (PEER, 4789, vxlan)):
            wired.send(source, "192.0.2.1", port, b"yes")
            assert receiver.recv(100) == b"yes"
            assert nothing_more(receiver)
    wired.node.withdraw(KIND, "geneve")
    assert wired.node.namespace.run("nft", "list", "ruleset") == alone


def test_a_set_of_another_type_is_made_anew(wired: Wired) -> None:
    wired.node.declare(KIND, "vxlan", VXLAN)
    before = wired.node.namespace.run("nft", "list", "ruleset")
    script = "flush chain inet podnet tunnel-input; delete set inet podnet tunnel-vxlan-peers4; "
    script += "add set inet podnet tunnel-vxlan-peers4 { type ipv4_addr; flags interval; }"
    wired.node.namespace.run("nft", script)
    result = wired.node.declare(KIND, "vxlan", VXLAN)
    assert [operation.verb for operation in result.operations] == ["recreate", "replace"]
    assert sorted(wired.node.namespace.run("nft", "list", "ruleset")) == sorted(before)


def test_another_ones_tunnel_on_the_port_is_named_and_stays_open(wired: Wired) -> None:
    wired.ip(NODE, "link", "add", "theirs", "type", "vxlan", "id", "7", "dstport", "4789")
    wired.ip(NODE, "link", "set", "theirs", "up")
    before = wired.node.namespace.run("nft", "list", "ruleset")
    with pytest.raises(Conflict, match="vxlan device theirs is not ours and receives on UDP port 4789"):
        wired.node.declare(KIND, "vxlan", VXLAN)
    assert wired.node.namespace.run("nft", "list", "ruleset") == before
    wired.ip(NODE, "link", "set", "theirs", "alias", "podnet:vxlan")
    assert wired.node.declare(KIND, "vxlan", VXLAN).changed


def test_wrong_values_are_named_all_at_once(wired: Wired) -> None:
    def refused(name: str, **changes: Any) -> list[str]:
        with pytest.raises(InvalidInput) as caught:
            wired.node.declare(KIND, name, {**VXLAN, **changes})
        return [finding.path for finding in caught.value.findings]

    peers = ["192.0.2.2", "192.0.2.2/24", {"name": "x"}, {"underlay": "192.0.2.3", "second": "y"}, None]
    wrong = ["peers[1]", "peers[2].underlay", "peers[3].second", "peers[4]"]
    assert refused("a b", port=0, bridge="a/b", peers=peers) == ["name", "bridge", "port", *wrong]
    assert refused("vxlan", port=None) == ["port"]
    assert refused("vxlan", protocol="ipip") == ["port"]
    assert refused("vxlan", protocol="gre") == ["protocol"]
    assert refused("vxlan", peers="192.0.2.2") == ["peers"]
    # nftables takes the one as the end of a quotation, the other as the beginning of any name.
    assert refused("vxlan", bridge='x"accept') == ["bridge"]
    assert refused("vxlan", bridge="pod*") == ["bridge"]
    assert not wired.node.declarations.path(KIND.name).exists()
