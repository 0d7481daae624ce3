# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnels' filter on a node: changed without a gap, beside others, taken away, and what it refuses."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipam_pool
from ansible_collections.podnet.fabric.plugins.module_utils.resources.tunnel_filter import KIND

from .test_kinds import POOLS
from .wired import GENEVE, NODE, PEER, PEERS, STRANGER, VXLAN, Wired, nothing_more, wired

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["wired"]


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
