# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services while they change: what runs goes on, what leads nowhere is forgotten, and only what differs is touched."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftMap
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_datapaths import ServiceTable
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import REPLACE, Operation, lines
from ansible_collections.podnet.fabric.plugins.module_utils.resources import policy
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from tests.conformance import service_cases as scene
from tests.integration.services.clients import Attempt, Clients, Outcome
from tests.integration.services.ground import netns
from tests.integration.services.offered import ADDRESSES, BACKENDS, PODS, endpoints, nft, service, to_service

if TYPE_CHECKING:
    from tests.integration.services.conftest import Declarer

IPPROTO_SCTP = 132


def sctp_init(source: int, destination: int) -> bytes:
    """A packet with an INIT chunk (RFC 9260), whose checksum is right: what is wrong is not tracked."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
    crc = 0xFFFFFFFF
    for octet in struct.pack("!HHII", source, destination, 0, 0) + chunk:
        crc ^= octet
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)  # CRC-32C, reflected
    return struct.pack("!HHI", source, destination, 0) + struct.pack("<I", crc ^ 0xFFFFFFFF) + chunk


def touched(operation: Operation) -> set[str]:
    """What an operation puts or removes, as text that begins with the frontend."""
    before, after = operation.before, operation.after
    if isinstance(after, ServiceTable):
        return {*service_ebpf.describe(before.elements)} ^ {*service_ebpf.describe(after.elements)}
    return {each if isinstance(each, str) else each[0] for each in before.elements ^ after.elements}


def test_each_backend_gets_its_share(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service()], endpoints=endpoints(*PODS))
    for family in ADDRESSES:
        seen = Counter(each.backend for each in clients.attempt([to_service("pod", family)] * 400))
        assert set(seen) == set(PODS)
        # 100 are expected; the standard deviation is 8.7.
        assert min(seen.values()) > 50, seen


def test_weights_count(declarer: Declarer, clients: Clients) -> None:
    listed = {
        "metadata": {"name": "web1-1", "labels": {"kubernetes.io/service-name": "web1"}},
        "addressType": "IPv4",
        "ports": [{"name": "tcp", "port": scene.TARGET}],
        "endpoints": [
            {"addresses": [scene.pod_address(pod, 4)], "weight": weight}
            for pod, weight in (("one", 30), ("far", 10), ("two", 0))
        ],
    }
    declarer.declare([service()], [listed])
    seen = Counter(each.backend for each in clients.attempt([to_service("pod", 4)] * 400))
    assert set(seen) == {"one", "far"}
    # 100 are expected; the standard deviation is 8.7.
    assert 50 < seen["far"] < 150, seen


def test_a_change_touches_what_differs_and_a_second_run_nothing(declarer: Declarer, clients: Clients) -> None:
    many = [service(number) for number in range(1, 20)]
    predicted = declarer.declare(many, endpoints=endpoints(*PODS), check=True)
    assert predicted.changed
    assert nft() == ""
    done = declarer.declare(many, endpoints=endpoints(*PODS))
    assert lines(KIND.facilities, predicted.after) == lines(KIND.facilities, done.after)
    assert not declarer.declare(many, endpoints=endpoints(*PODS)).changed

    changed = declarer.declare([*many[:-1], service(20)], endpoints=endpoints(*PODS))
    assert {operation.verb for operation in changed.operations} == {REPLACE}
    texts = {text for operation in changed.operations for text in touched(operation)}
    assert texts
    assert all(text.startswith(("10.96.7.19", "10.96.7.20", "fd00:10:96::7:19", "fd00:10:96::7:20")) for text in texts)
    # Another number of backends takes another chain, the third protocol no more than elements.
    declarer.declare([*many[:-1], service(20)], endpoints=endpoints(*PODS[:3]))
    for family, address in ((4, "10.96.7.20"), (6, "fd00:10:96::7:20")):
        for protocol in ("tcp", "udp"):
            attempt = Attempt("pod", family, protocol, address, scene.PORT)
            outcomes = clients.attempt([attempt] * 60)
            assert {each.backend for each in outcomes} == set(PODS[:3])
    chains = [name for name in nft().split() if name.startswith("service-frontends")]
    assert len(set(chains)) < 20


def test_a_running_connection_goes_on_and_new_ones_avoid_who_has_gone(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service()], endpoints=endpoints("one", "far"))
    opened = [clients.open(to_service("pod", family)) for family in ADDRESSES for _each in range(8)]
    try:
        before = clients.ask(opened)
        assert {each.backend for each in before} == {"one", "far"}
        declarer.declare([service(), service(2)], endpoints=endpoints("two", "far"))
        assert [each.verdict for each in clients.ask(opened)] == ["forward"] * len(opened)
        for family in ADDRESSES:
            assert {each.backend for each in clients.attempt([to_service("pod", family)] * 60)} == {"two", "far"}
    finally:
        for connection in opened:
            connection.close()


def test_datagrams_of_a_flow_leave_a_backend_that_goes_and_find_one_that_comes(
    declarer: Declarer, clients: Clients
) -> None:
    node_port = service(type="NodePort")
    node_port["spec"]["ports"][1]["nodePort"] = 30053
    declarer.declare([node_port], endpoints=endpoints("one"))
    opened = [
        clients.open(attempt)
        for family in ADDRESSES
        for attempt in (
            to_service("pod", family, "udp"),
            Attempt("outside", family, "udp", scene.NODES["a"][family], 30053),
        )
    ]
    try:
        assert {each.backend for each in clients.ask(opened)} == {"one"}
        assert declarer.declare([node_port], endpoints=endpoints("far"), check=True).operations[-1].facility == "flows"
        assert {each.backend for each in clients.ask(opened)} == {"one"}
        declarer.declare([node_port], endpoints=endpoints("far"))
        assert {each.backend for each in clients.ask(opened)} == {"far"}
        # Without the service the flow goes where nobody is, and with it to its backend again.
        declarer.declare([service(2)], endpoints=endpoints("far"))
        assert "forward" not in {each.verdict for each in clients.ask(opened)}
        declarer.declare([node_port], endpoints=endpoints("two"))
        assert {each.backend for each in clients.ask(opened)} == {"two"}
    finally:
        for connection in opened:
            connection.close()


# Programs of both are at the same interfaces, whichever come first.
@pytest.mark.parametrize(
    ("backend", "filtering", "policies_first"),
    [
        *((backend, filtering, False) for backend in BACKENDS for filtering in ("nftables", "iptables")),
        *(("ebpf", "ebpf", first) for first in (False, True)),
    ],
    indirect=["backend"],
)
def test_policies_see_the_backend(
    declarer: Declarer, clients: Clients, filtering: str, *, policies_first: bool
) -> None:
    web = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": web}], "egress": [{"to": web}]}
    only_one = {"metadata": {"name": "only-one"}, "spec": spec}
    known = [*endpoints("one", "two"), {**endpoints("pod")[0], "labels": {"app": "other"}}]
    given = {"node": "a", "policies": [only_one], "namespaces": {}, "endpoints": known, "backend": filtering}
    if not policies_first:
        declarer.declare([service()], endpoints=known)
    declarer.also(policy.KIND, {**given, "iptables_flavour": "nft"})
    if policies_first:
        declarer.declare([service()], endpoints=known)
    try:
        for family in ADDRESSES:
            # Source and destination are those of the pods, not of the service: one reaches both, another pod neither.
            assert {each.backend for each in clients.attempt([to_service("one", family)] * 30)} == {"one", "two"}
            assert set(clients.attempt([to_service("pod", family)] * 4)) == {Outcome("drop")}
        assert not declarer.declare([service()], endpoints=known).changed
        declarer.declare([])
        shown = nft()
        assert ("policy-" in shown.lower()) == (filtering != "ebpf")
        assert "service-" not in shown
    finally:
        declarer.also(policy.KIND, None)
    assert "policy-" not in nft().lower()
    # Empty chains of its own are what iptables leaves.
    subprocess.run(["ip", "netns", "exec", netns("a"), "nft", "flush", "ruleset"], check=True, timeout=60)


@pytest.mark.parametrize("backend", ["nftables"], indirect=True)
def test_a_map_that_somebody_has_emptied_is_filled_again(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service()], endpoints=endpoints("one"))
    for name in ("service-frontends4", "service-backends-frontends6"):
        argv = ["ip", "netns", "exec", netns("a"), "nft", "flush", "map", "inet", "podnet", name]
        subprocess.run(argv, check=True, timeout=60)
    result = declarer.declare([service()], endpoints=endpoints("one"))
    assert all(isinstance(operation.after, NftMap) for operation in result.operations)
    for family in ADDRESSES:
        assert clients.attempt([to_service("pod", family)])[0].backend == "one"


def test_sctp_is_sent_on_as_well(declarer: Declarer, clients: Clients) -> None:
    """By its first packet over raw sockets: not every kernel has SCTP's own."""
    sctp = service(ports=[{"port": scene.PORT, "targetPort": scene.TARGET, "protocol": "SCTP"}])
    declarer.declare([sctp], endpoints=endpoints("one", "far"))
    for family, sort in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        arrived: set[str] = set()
        with ExitStack() as opened:
            raw = {}
            for pod in ("pod", "one", "far"):
                with namespace.inside(netns(pod)):
                    raw[pod] = opened.enter_context(socket.socket(sort, socket.SOCK_RAW, IPPROTO_SCTP))
                raw[pod].settimeout(2)
            for port in range(5000, 5030):
                raw["pod"].sendto(sctp_init(port, scene.PORT), (ADDRESSES[family], 0))
                ready, _writable, _failed = select.select([raw["one"], raw["far"]], [], [], 1)
                for each in ready:
                    packet = each.recv(2048)
                    # An IPv4 raw socket gives the header, too.
                    head = packet[(packet[0] & 15) * 4 :] if family == 4 else packet
                    if struct.unpack_from("!HH", head) == (port, scene.TARGET):
                        arrived.update(pod for pod, held in raw.items() if held is each)
                if arrived == {"one", "far"}:
                    break
        assert arrived == {"one", "far"}
