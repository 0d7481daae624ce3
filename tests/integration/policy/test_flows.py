# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of flows that stand while policies change: denied ones end at once, allowed ones lose nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE
from tests.conformance import cases, declare, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result

REPLACEMENTS = int(os.environ.get("PODNET_TEST_REPLACEMENTS", "80"))
SENDERS = 200
SO_RCVBUFFORCE = 33  # linux/socket.h; the machine may be busy with other things for a while
# x/a serves. x/b is on the other node, x/c on the same one.
SERVER, REMOTE, BESIDE = 0, 1, 2
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


class Bench:
    """The nodes, and policies for x/a on them."""

    def __init__(self, built: nodes.Nodes, folder: Path) -> None:
        self.built = built
        self.folder = folder
        self.backend = "nftables"
        self.plain = next(cases.worlds())._replace(policies=[])

    def allow(
        self, *peers: str, port: int = 80, check: bool = False, beside: Sequence[dict[str, Any]] = ()
    ) -> list[Result]:
        """Let these pods of namespace x reach x/a on a port, over TCP and UDP, and nobody else.

        :param beside: other policies
        """
        selector = {"matchExpressions": [{"key": "pod", "operator": "In", "values": list(peers)}]}
        ports = [{"protocol": protocol, "port": port} for protocol in ("TCP", "UDP")]
        rules = [{"from": [{"podSelector": selector}], "ports": ports}] if peers else []
        spec = {"podSelector": {"matchLabels": {"pod": "a"}}, "policyTypes": ["Ingress"], "ingress": rules}
        policies = [{"metadata": {"name": "some", "namespace": "x"}, "spec": spec}, *beside]
        world = self.plain._replace(policies=policies)
        return [
            declare.on_node(world, self.built, node, self.folder, check=check, backend=self.backend)
            for node in self.built.nodes
        ]

    def open(self, place: int, family: int, sort: int) -> socket.socket:
        """A socket in a pod, which waits a second at most."""
        with namespace.inside(self.built.pods[place]):
            made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, sort)
        made.settimeout(1)
        return made

    def serve(self, family: int, sort: int, port: int = 80) -> socket.socket:
        """What listens in x/a."""
        made = self.open(SERVER, family, sort)
        made.bind((address(SERVER, family), port))
        if sort == socket.SOCK_STREAM:
            made.listen()
        return made


def address(place: int, family: int) -> str:
    return str(cases.FIRST[family] + place)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    built = nodes.build(f"f{os.getpid()}-")
    try:
        yield Bench(built, tmp_path)
    finally:
        built.remove()


def denied_flows(results: list[Result]) -> int:
    return sum(
        operation.facility == "flows" and operation.verb == DELETE
        for result in results
        for operation in result.operations
    )


def heard(receiver: socket.socket) -> bytes:
    with contextlib.suppress(TimeoutError):
        return receiver.recv(64)
    return b""


@pytest.mark.parametrize(
    ("backend", "family", "client"),
    [
        pytest.param("nftables", 4, REMOTE, id="ipv4-routed"),
        pytest.param("nftables", 4, BESIDE, id="ipv4-bridged"),
        pytest.param("nftables", 6, REMOTE, id="ipv6-routed"),
        pytest.param("nftables", 6, BESIDE, id="ipv6-bridged"),
        pytest.param("iptables-nft", 6, REMOTE, id="iptables-nft-ipv6-routed"),
        pytest.param("iptables-legacy", 4, BESIDE, id="iptables-legacy-ipv4-bridged"),
    ],
)
def test_a_connection_ends_with_the_policy_that_allowed_it(
    bench: Bench, backend: str, family: int, client: int
) -> None:
    bench.backend = backend
    bench.allow("b", "c")
    with bench.serve(family, socket.SOCK_STREAM) as server, bench.open(client, family, socket.SOCK_STREAM) as here:
        here.connect((address(SERVER, family), 80))
        there = server.accept()[0]
        there.settimeout(1)
        here.sendall(b"one")
        assert heard(there) == b"one"

        # A policy that still allows it leaves it alone, and a dry run says which flows another one would end.
        assert denied_flows(bench.allow("b", "c", "a")) == 0
        here.sendall(b"two")
        assert heard(there) == b"two"
        assert denied_flows(bench.allow(check=True)) >= 1
        here.sendall(b"three")
        assert heard(there) == b"three"

        assert denied_flows(bench.allow()) >= 1
        # Whoever speaks first: a receiver cannot turn the connection round and make its peer's packets replies.
        there.sendall(b"from the server")
        assert heard(here) == b""
        here.sendall(b"four")
        assert heard(there) == b""
        assert denied_flows(bench.allow()) == 0
        there.close()


@both_families
def test_replies_and_errors_of_an_allowed_flow_pass(bench: Bench, family: int) -> None:
    bench.allow("b", port=9)
    with bench.open(REMOTE, family, socket.SOCK_DGRAM) as client:
        client.connect((address(SERVER, family), 9))
        client.send(b"nobody listens")
        # The ICMP error is related to the flow.
        with pytest.raises(ConnectionRefusedError):
            client.recv(64)


class Stream:
    """A datagram each millisecond from b and from c, each of them a flow of its own for as long as there are ports."""

    def __init__(self, bench: Bench, family: int) -> None:
        self.sent = {REMOTE: 0, BESIDE: 0}
        self.received: dict[int, list[int]] = {REMOTE: [], BESIDE: []}
        self._there = (address(SERVER, family), 80)
        self._server = bench.serve(family, socket.SOCK_DGRAM)
        self._server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self._senders = {
            place: [bench.open(place, family, socket.SOCK_DGRAM) for _number in range(SENDERS)] for place in self.sent
        }
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        for opened in (self._server, *(each for senders in self._senders.values() for each in senders)):
            opened.close()

    def _send(self) -> None:
        while not self._ending.is_set():
            for place, senders in self._senders.items():
                senders[self.sent[place] % SENDERS].sendto(b"%d %d" % (place, self.sent[place]), self._there)
                self.sent[place] += 1
            time.sleep(0.001)

    def _receive(self) -> None:
        while True:
            data = heard(self._server)
            if data:
                place, number = map(int, data.split())
                self.received[place].append(number)
            elif self._ending.is_set():
                return


@both_families
def test_replacements_lose_nothing_and_let_nothing_through(bench: Bench, family: int) -> None:
    """b may send to x/a all the time, c never; who else may, and by which policies, changes."""
    bench.allow("b")
    with Stream(bench, family) as stream:
        for number in range(REPLACEMENTS):
            others = [{"name": f"other{each}", "namespace": "x"} for each in range(number % 3)]
            spec = {"podSelector": {"matchLabels": {"pod": "a"}}, "policyTypes": ["Ingress"]}
            # Each of the others makes it another set of policies, so another chain.
            bench.allow(
                "b", *(["a"] if number % 2 else ["z"]), beside=[{"metadata": each, "spec": spec} for each in others]
            )
    assert stream.sent[REMOTE] > REPLACEMENTS
    assert stream.received[BESIDE] == []
    lost = set(range(stream.sent[REMOTE])) - set(stream.received[REMOTE])
    assert lost == set(), f"{len(lost)} of {stream.sent[REMOTE]}"
