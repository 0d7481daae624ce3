# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of the node itself: they close it to whom they do not name, and nobody out who has to come in."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipam_pool
from ansible_collections.podnet.fabric.plugins.module_utils.resources.host_policy import KIND

from .wired import ADDRESSES, NODE, PEER, POD, STRANGER, Wired, wired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Node

__all__ = ["wired"]

NODES = [
    {"name": name, "labels": {"role": role}, "addresses": [addresses[place] for addresses in ADDRESSES.values()]}
    for name, role, place in (("node", "worker", NODE), ("peer", "control", PEER))
]
PODS = [{"name": "web", "node": "peer", "labels": {"app": "web"}, "addresses": ["10.244.9.9"]}]
BASE: dict[str, Any] = {
    "node": "node",
    "bridge": "podnet0",
    "nodes": NODES,
    "endpoints": PODS,
    "needs": ["udp/4789", "ipip"],
}
DENY_ALL = {"metadata": {"name": "shut"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
SSH, WEB, VXLAN, DNS = 22, 8080, 4789, 53


def allow(**rule: Any) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": {"role": "worker"}}, "ingress": [rule]}
    return {"metadata": {"name": "open"}, "spec": spec}


class Talk:
    """Who reaches whom in one family."""

    def __init__(self, wired: Wired, family: int) -> None:
        self.wired, self.family = wired, family
        self.open = contextlib.ExitStack()

    def serve(self, where: int, port: int) -> socket.socket:
        made = self.open.enter_context(self.wired.open(where, self.family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ADDRESSES[self.family][where], port))
        made.listen()
        return made

    def connect(self, where: int, to: int, port: int) -> socket.socket:
        made = self.open.enter_context(self.wired.open(where, self.family, socket.SOCK_STREAM))
        made.settimeout(0.4)
        made.connect((ADDRESSES[self.family][to], port))
        return made

    def reaches(self, where: int, to: int, port: int) -> bool:
        """Whether a connection begins; what a rule drops is seen by nobody, so it is waited for."""
        try:
            self.connect(where, to, port).close()
        except TimeoutError:
            return False
        return True

    def is_heard(self, where: int, to: int, port: int) -> bool:
        """Whether a datagram arrives."""
        with self.wired.listen(to, ADDRESSES[self.family][to], port) as receiver:
            receiver.settimeout(0.4)
            try:
                self.wired.send(where, ADDRESSES[self.family][to], port, b"word")
                return receiver.recv(64) == b"word"
            except (TimeoutError, PermissionError):
                return False


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def talk(wired: Wired, request: pytest.FixtureRequest) -> Iterator[Talk]:
    made = Talk(wired, request.param)
    with made.open:
        yield made


def test_deny_all_leaves_open_what_nobody_may_close(talk: Talk) -> None:
    node = talk.wired.node
    # Without NAT nothing is tracked before there are policies.
    node.withdraw(ipam_pool.KIND, "node")
    for where, port in ((NODE, SSH), (NODE, WEB), (STRANGER, WEB), (STRANGER, DNS), (POD, WEB)):
        talk.serve(where, port)
    listening = talk.serve(NODE, WEB + 1)
    standing = talk.connect(STRANGER, NODE, WEB + 1)
    there = listening.accept()[0]
    assert talk.reaches(STRANGER, NODE, WEB)

    before = node.namespace.run("nft", "list", "ruleset")
    wanted = {**BASE, "policies": [DENY_ALL]}
    predicted = node.declare(KIND, "podnet", wanted, check=True)
    assert predicted.changed
    assert node.namespace.run("nft", "list", "ruleset") == before
    made = node.declare(KIND, "podnet", wanted)
    assert made.after == predicted.after
    assert not node.declare(KIND, "podnet", wanted).changed

    # Closed, in both directions, also to pods; so is a node's own port of VXLAN to whom is no node.
    for where, to, port in ((STRANGER, NODE, WEB), (PEER, NODE, WEB), (POD, NODE, WEB), (NODE, STRANGER, WEB)):
        assert not talk.reaches(where, to, port), (where, to, port)
    assert not talk.is_heard(STRANGER, NODE, VXLAN)
    assert not talk.is_heard(NODE, STRANGER, VXLAN)
    # Open: failsafe ports, tunnels between nodes, the node's own pods, what it forwards, itself.
    for where, to, port in ((STRANGER, NODE, SSH), (NODE, STRANGER, DNS), (NODE, POD, WEB), (NODE, NODE, WEB)):
        assert talk.reaches(where, to, port), (where, to, port)
    assert talk.is_heard(PEER, NODE, VXLAN)
    assert talk.is_heard(NODE, PEER, VXLAN)
    # What began before goes on, though the kernel has tracked nothing so far: the node's next packet shows it.
    there.sendall(b"from the node")
    assert standing.recv(64) == b"from the node"
    standing.sendall(b"to the node")
    assert there.recv(64) == b"to the node"
    there.close()

    node.withdraw(KIND, "podnet")
    assert talk.reaches(STRANGER, NODE, WEB)
    assert node.namespace.run("nft", "list", "ruleset") == before


def test_peers_are_nodes_and_prefixes_on_the_named_interfaces(talk: Talk) -> None:
    node = talk.wired.node
    talk.serve(NODE, WEB)
    ports = [{"port": WEB}]
    by_role = allow(**{"from": [{"nodeSelector": {"matchLabels": {"role": "control"}}}], "ports": ports})
    node.declare(KIND, "podnet", {**BASE, "policies": [by_role]})
    assert talk.reaches(PEER, NODE, WEB)
    assert not talk.reaches(STRANGER, NODE, WEB)

    stranger = f"{ADDRESSES[talk.family][STRANGER]}/{32 if talk.family == 4 else 128}"
    by_prefix = allow(**{"from": [{"ipBlock": {"cidr": stranger}}], "ports": ports})
    by_pod = allow(**{"from": [{"namespaceSelector": {}}]})
    by_pod["metadata"] = {"name": "pods"}
    standing = talk.connect(PEER, NODE, WEB)
    talk.serve(POD, WEB)
    to_pod = talk.connect(NODE, POD, WEB)
    assert talk.is_heard(PEER, NODE, VXLAN)
    # Towards pods, which a node always reaches.
    mute = {"metadata": {"name": "mute"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}
    wanted = {**BASE, "policies": [by_prefix, by_pod, mute]}
    note = node.declare(KIND, "podnet", wanted, check=True).notes[0]
    assert f"tcp {ADDRESSES[talk.family][PEER]}" in note
    # Not what always passes, or at another interface.
    assert f"dport {VXLAN}" not in note
    assert f"to {ADDRESSES[talk.family][POD]}" not in note
    assert not node.declare(KIND, "podnet", {**wanted, "interfaces": ["podnet0"]}, check=True).notes
    assert f"dport {WEB}" in note
    node.declare(KIND, "podnet", wanted)
    assert talk.reaches(STRANGER, NODE, WEB)
    # A namespaceSelector selects pods and never nodes.
    assert not talk.reaches(PEER, NODE, WEB)
    standing.close()
    to_pod.close()

    node.declare(KIND, "podnet", {**wanted, "interfaces": ["elsewhere0"]})
    assert talk.reaches(PEER, NODE, WEB)
    by_name = allow()
    by_name["spec"]["podSelector"] = {"matchLabels": {"kubernetes.io/hostname": "peer"}}
    node.declare(KIND, "podnet", {**BASE, "policies": [by_name]})
    assert "host-" not in node.namespace.run("nft", "list", "ruleset")


def test_what_is_wrong_is_said_at_once_and_changes_nothing(node: Node) -> None:
    before = node.namespace.run("nft", "list", "ruleset")
    bad = allow(**{"from": [{"podSelector": {}}, {"nodeSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]})
    bad["metadata"]["namespace"] = "shop"
    failsafe = {"inbound": [], "outbound": ["icmp/1", "tcp/70000"]}
    with pytest.raises(InvalidInput) as caught:
        node.declare(KIND, "podnet", {**BASE, "policies": [bad], "failsafe": failsafe, "needs": ["4789"]})
    assert [finding.path for finding in caught.value.findings] == [
        "policies[0].metadata.namespace",
        "policies[0].spec.ingress[0].from[0]",
        "policies[0].spec.ingress[0].from[1]",
        "failsafe.inbound",
        "failsafe.outbound[0]",
        "failsafe.outbound[1]",
        "needs[0]",
    ]
    assert node.namespace.run("nft", "list", "ruleset") == before
