# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services beside policies, each by a packet filter of its own, and services that move to another one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs as bpf_programs
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import service_pins
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import policy
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from tests.conformance import service_cases as scene
from tests.integration.services import sctp
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
    ("nftables", "ebpf"),
    ("iptables-nft", "ebpf"),
    ("iptables-legacy", "ebpf"),
    ("ebpf", "nftables"),
    ("ebpf", "iptables-nft"),
    ("ebpf", "ebpf"),
    ("ebpf-bypass", "ebpf"),
    ("ebpf-filters", "ebpf"),
]


def document(name: str, app: str, **spec: Any) -> dict[str, Any]:
    """A policy on the pods with a label."""
    return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec}}


@pytest.mark.parametrize(("declarer", "backend"), TOGETHER, indirect=["declarer"])
def test_policies_see_the_backend(declarer: Declarer, clients: Clients, backend: str) -> None:
    web = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    limited = document("limited", "limited", policyTypes=["Egress"], egress=[{"to": web}])
    addresses = [f"{ADDRESSES[4]}/32", f"{ADDRESSES[6]}/128"]
    by_address = document("limited", "limited", policyTypes=["Egress"])
    by_address["spec"]["egress"] = [{"to": [{"ipBlock": {"cidr": cidr}} for cidr in addresses]}]
    known = [*endpoints("one", "two"), {**endpoints("pod")[0], "labels": {"app": "limited"}}]
    # As the role has it: what is judged at the pods' interfaces is sent on there, too.
    offer: dict[str, Any] = {"endpoints": known, "programs": backend == "ebpf"}
    given = {"node": "a", "namespaces": {}, "endpoints": known, **POLICIES[backend]}
    offered = [service(), service(2, selector={"app": "nobody"})]
    offered[0]["spec"]["ports"].append(sctp.PORT)
    declarer.declare(offered, **offer)
    only_web = document("only-web", "web", ingress=[{"from": web}])
    try:
        declarer.also(policy.KIND, {**given, "policies": [only_web]})
        for family in ADDRESSES:
            # Source and destination are those of the pods, not of the service: one reaches both, another pod neither.
            for protocol in ("tcp", "udp"):
                reached = {each.backend for each in clients.attempt([to_service("one", family, protocol)] * 30)}
                assert reached == {"one", "two"}
                assert set(clients.attempt([to_service("pod", family, protocol)] * 4)) == {Outcome("drop")}
            assert sctp.reached("one", ADDRESSES[family], {"one", "two"}) == {"one", "two"}
            assert sctp.reached("pod", ADDRESSES[family], {"one", "two"}, tries=1) == set()
        for allowed, verdict in ((by_address, "drop"), (limited, "forward")):
            declarer.also(policy.KIND, {**given, "policies": [allowed]})
            asked = [to_service("pod", family, protocol) for family in ADDRESSES for protocol in ("tcp", "udp")]
            assert {each.verdict for each in clients.attempt(asked)} == {verdict}
            for address in ADDRESSES.values():
                arrived = sctp.reached("pod", address, {"one", "two"}, tries=1 if verdict == "drop" else 30)
                assert arrived == (set() if verdict == "drop" else {"one", "two"})
        if backend == declarer.backend != "ebpf":
            # No policy keeps it from being rejected, whichever came first.
            assert clients.attempt([Attempt("pod", 4, "tcp", "10.96.7.2", scene.PORT)]) == [Outcome("reject")]
        assert not declarer.declare(offered, **offer).changed
        declarer.declare([])
        declarer.declare(offered, **offer)
        assert clients.attempt([to_service("pod", 4)])[0].verdict == "forward"
        assert not declarer.also(policy.KIND, {**given, "policies": [limited]}).changed
        declarer.declare([])
        shown = "\n".join(left()).lower()
        assert "service" not in shown
        assert ("policy" in shown) == (backend != "ebpf")
    finally:
        declarer.also(policy.KIND, None)


@pytest.mark.parametrize("declarer", ["nftables", "iptables-nft", "iptables-legacy"], indirect=True)
def test_in_the_order_that_is_told_no_connection_is_dropped(declarer: Declarer, clients: Clients) -> None:
    known = [*endpoints("one", "two"), {**endpoints("pod")[0], "labels": {"app": "limited"}}]
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    limited = document("limited", "limited", policyTypes=["Egress"], egress=[{"to": [web]}])
    given = {"node": "a", "namespaces": {}, "endpoints": known, "policies": [limited]}
    asked = [to_service("pod", family, protocol) for family in ADDRESSES for protocol in ("tcp", "udp")]

    def judge(backend: str) -> None:
        declarer.also(policy.KIND, {**given, **POLICIES[backend]})

    def offer(programs: bool) -> None:
        declarer.declare([service()], endpoints=known, programs=programs)

    offer(False)
    judge("nftables")
    try:
        steps = (partial(offer, True), partial(judge, "ebpf"), partial(judge, "nftables"), partial(offer, False))
        for step in steps:
            step()
            assert {each.verdict for each in clients.attempt(asked)} == {"forward"}, step
    finally:
        declarer.also(policy.KIND, None)


@pytest.mark.parametrize("declarer", ["nftables", "iptables-nft", "iptables-legacy"], indirect=True)
def test_policies_by_ebpf_say_where_services_were_declared_for_others(declarer: Declarer) -> None:
    known = endpoints(*PODS)

    def told(backend: str) -> bool:
        given = {"node": "a", "namespaces": {}, "endpoints": known, "policies": [], **POLICIES[backend]}
        return any("podnet.fabric.services" in note for note in declarer.also(policy.KIND, given).notes)

    try:
        assert not told("ebpf"), "there are no services"
        declarer.declare([service()], endpoints=known)
        assert told("ebpf")
        assert not told("nftables")
        declarer.declare([service()], endpoints=known, programs=True)
        assert not told("ebpf")
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


@pytest.mark.parametrize("declarer", ["nftables", "iptables-nft", "iptables-legacy"], indirect=True)
def test_programs_come_and_go_beside_another_packet_filter(declarer: Declarer, clients: Clients) -> None:
    def pinned() -> bool:
        return declarer.node.run(service_pins.FOLDER.exists)

    offered = [service(), service(2, sessionAffinity="ClientIP")]
    given: dict[str, Any] = {"endpoints": endpoints(*PODS)}
    attempts = [
        Attempt(client, family, protocol, address, scene.PORT)
        for client in ("pod", "one", "node", "outside")
        for family, address in (*ADDRESSES.items(), (4, "10.96.7.2"))
        for protocol in ("tcp", "udp")
    ]
    declarer.declare(offered, **given)
    for programs in (True, False):
        before = declarer.declare(offered, **given, programs=programs, check=True)
        change = declarer.declare(offered, **given, programs=programs)
        # Nothing else of it is touched.
        assert {operation.facility for operation in change.operations} == {"service_ebpf"}
        assert [str(each) for each in before.operations] == [str(each) for each in change.operations]
        assert pinned() == programs
        assert {each.verdict for each in clients.attempt(attempts * 4)} == {"forward"}
        assert not declarer.declare(offered, **given, programs=programs).changed


@pytest.mark.parametrize("declarer", ["nftables", "iptables-nft", "iptables-legacy"], indirect=True)
def test_connections_outlive_that_programs_come_and_those_of_pods_end_as_they_go(
    declarer: Declarer, clients: Clients
) -> None:
    given: dict[str, Any] = {"endpoints": endpoints(*PODS)}
    attempts = [to_service(client, family) for client in ("pod", "one", "node", "outside") for family in ADDRESSES] * 4
    for programs in (True, False):
        declarer.declare([service()], **given, programs=not programs)
        opened = [clients.open(attempt) for attempt in attempts]
        try:
            first = clients.ask(opened)
            declarer.declare([service()], **given, programs=programs)
            goes_on = [programs or attempt.client in ("node", "outside") for attempt in attempts]
            found = clients.ask(opened)
            assert [after == before for before, after in zip(first, found, strict=True)] == goes_on
        finally:
            for connection in opened:
                connection.close()


@pytest.mark.parametrize("declarer", ["nftables", "iptables-nft"], indirect=True)
def test_what_a_former_version_has_declared_goes_on_without_programs(declarer: Declarer) -> None:
    def again() -> Result:
        items = {
            name: {key: value for key, value in item.items() if key != "programs"}
            for name, item in declarer.declarations.read(KIND.name).items()
        }
        with Host() as host:
            return reconcile(KIND, items, host, declarer.declarations)

    declarer.declare([service()], endpoints=endpoints(*PODS), programs=True)
    assert {operation.facility for operation in declarer.node.run(again).operations} == {"service_ebpf"}
    assert not declarer.node.run(again).operations
    assert not declarer.node.run(service_pins.FOLDER.exists)


@pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
def test_a_kernel_without_tcx_goes_without_programs_and_says_so(
    declarer: Declarer, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpf_programs, "has_tcx", lambda: False)
    result = declarer.declare([service()], endpoints=endpoints(*PODS), programs=True)
    assert [note for note in result.notes if "no tcx" in note]
    assert not declarer.node.run(service_pins.FOLDER.exists)
    assert clients.attempt([to_service("pod", 4)])[0].verdict == "forward"
