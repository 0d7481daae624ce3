# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services beside policies, each by a packet filter of its own, and services that move to another one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.resources import policy
from tests.conformance import service_cases as scene
from tests.integration.services.clients import Attempt, Clients, Outcome
from tests.integration.services.conftest import BACKENDS, left
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service, to_service

if TYPE_CHECKING:
    from tests.integration.services.conftest import Declarer

POLICIES: dict[str, dict[str, Any]] = {**BACKENDS, "ebpf": {"backend": "ebpf", "flows": 1024, "fragments": 64}}
# Each flavour's chains beside those of the same flavour, of the other, and of nftables; eBPF before all. Programs of
# both are at the same interfaces, of which those of services come first.
TOGETHER = [
    ("nftables", "nftables"),
    ("nftables", "iptables-nft"),
    ("iptables-nft", "nftables"),
    ("iptables-nft", "iptables-nft"),
    ("iptables-legacy", "iptables-nft"),
    ("iptables-legacy", "ebpf"),
    ("ebpf", "nftables"),
    ("ebpf", "iptables-nft"),
    ("ebpf", "ebpf"),
]


def document(name: str, app: str, **spec: Any) -> dict[str, Any]:
    """A policy on the pods with a label."""
    return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec}}


@pytest.mark.parametrize(("declarer", "backend"), TOGETHER, indirect=["declarer"])
def test_policies_see_the_backend(declarer: Declarer, clients: Clients, backend: str) -> None:
    web = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    limited = document("limited", "limited", policyTypes=["Egress"], egress=[{"to": web}])
    at_ports = backend == "ebpf" != declarer.backend
    if at_ports:
        # What a pod sends is seen before it is sent on.
        limited["spec"]["egress"][0]["to"] += [{"ipBlock": {"cidr": "10.96.7.1/32"}}]
    known = [*endpoints("one", "two"), {**endpoints("pod")[0], "labels": {"app": "limited"}}]
    given = {"node": "a", "namespaces": {}, "endpoints": known, **POLICIES[backend]}
    offered = [service(), service(2, selector={"app": "nobody"})]
    declarer.declare(offered, endpoints=known)
    only_web = document("only-web", "web", ingress=[{"from": web}])
    try:
        declarer.also(policy.KIND, {**given, "policies": [only_web]})
        for family in ADDRESSES:
            # Source and destination are those of the pods, not of the service: one reaches both, another pod neither.
            # What comes back to the pod that sent it has the node's address by then, as eBPF sees it.
            reached = {"", "two"} if at_ports else {"one", "two"}
            assert {each.backend for each in clients.attempt([to_service("one", family)] * 30)} == reached
            assert set(clients.attempt([to_service("pod", family)] * 4)) == {Outcome("drop")}
        declarer.also(policy.KIND, {**given, "policies": [limited]})
        found = {family: clients.attempt([to_service("pod", family)])[0].verdict for family in ADDRESSES}
        assert found == {4: "forward", 6: "drop" if at_ports else "forward"}
        if backend == declarer.backend != "ebpf":
            # No policy keeps it from being rejected, whichever came first.
            assert clients.attempt([Attempt("pod", 4, "tcp", "10.96.7.2", scene.PORT)]) == [Outcome("reject")]
        assert not declarer.declare(offered, endpoints=known).changed
        declarer.declare([])
        declarer.declare(offered, endpoints=known)
        assert clients.attempt([to_service("pod", 4)])[0].verdict == "forward"
        assert not declarer.also(policy.KIND, {**given, "policies": [limited]}).changed
        declarer.declare([])
        shown = "\n".join(left()).lower()
        assert "service" not in shown
        assert ("policy" in shown) == (backend != "ebpf")
    finally:
        declarer.also(policy.KIND, None)


@pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
def test_nothing_is_lost_while_another_packet_filter_takes_over(declarer: Declarer, clients: Clients) -> None:
    row = ["nftables", "iptables-nft", "nftables", "iptables-legacy", "iptables-nft", "iptables-legacy", "nftables"]
    offered = [service(), service(2, sessionAffinity="ClientIP")]
    attempts = [
        Attempt(client, family, protocol, address, scene.PORT)
        for client in ("pod", "outside")
        for family, address in (*ADDRESSES.items(), (4, "10.96.7.2"))
        for protocol in ("tcp", "udp")
    ]

    def declare(backend: str, **more: Any) -> None:
        declarer.declare(offered, endpoints=endpoints(*PODS), **BACKENDS[backend], **more)

    declare(row[0])
    opened = [clients.open(attempt) for attempt in attempts]
    try:
        first = clients.ask(opened)
        made = 0
        with ThreadPoolExecutor(1) as executor:
            for before, after in pairwise(row):
                change = executor.submit(declare, after)
                while not change.done():
                    outcomes = clients.attempt(attempts)
                    assert {each.verdict for each in outcomes} == {"forward"}, (before, after, outcomes)
                    made += len(outcomes)
                change.result()
                assert clients.ask(opened) == first
                assert not declarer.declare(offered, endpoints=endpoints(*PODS), **BACKENDS[after]).changed
                ours = [line for line in left() if "service" in line.lower()]
                assert all(line.startswith(("\t", "table")) for line in ours) == (after == "nftables"), ours
        assert made > 100
    finally:
        for connection in opened:
            connection.close()
