# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services while they change: what runs goes on, what leads nowhere is forgotten, and only what differs is touched."""

from __future__ import annotations

import re
import socket
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_objects, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import IptablesChain
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftMap, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_datapaths import ServiceTable
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, REPLACE, lines
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from tests.conformance import service_cases as scene
from tests.integration.services.clients import Attempt, Clients
from tests.integration.services.conftest import left
from tests.integration.services.ground import netns, node_says
from tests.integration.services.offered import (
    ADDRESSES,
    PODS,
    datagrams,
    endpoints,
    service,
    to_service,
    with_node_port,
)

if TYPE_CHECKING:
    from tests.integration.services.conftest import Declarer


def parts(obj: Any) -> set[str]:
    """What an object has many of, as text."""
    if isinstance(obj, ServiceTable):
        return {*service_ebpf.describe(obj.elements)}
    if isinstance(obj, IptablesChain):
        return set(IPTABLES.describe(obj)["rules"].split("; "))
    if isinstance(obj, NftMap):
        return {key for key, _value in nft_objects.pairs(obj)}
    return set(nft_objects.texts(obj) if isinstance(obj, NftSet) else obj.elements)


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


def test_the_node_is_sent_on_where_it_was_refused_a_moment_before(declarer: Declarer, clients: Clients) -> None:
    """By its own node port, from the same port: what was rejected has left no flow behind."""
    ports = [{"port": scene.PORT, "targetPort": scene.TARGET, "nodePort": scene.FIRST_NODE_PORT}]
    offered = service(type="NodePort", ports=ports)

    def attempt(family: int) -> bool:
        own = scene.NODES["a"][family]
        with namespace.inside(netns("a")):
            client = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
        with client:
            client.settimeout(5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((own, 40001))
            return client.connect_ex((own, scene.FIRST_NODE_PORT)) == 0

    declarer.declare([offered])
    assert [attempt(family) for family in ADDRESSES] == [False, False]
    declarer.declare([offered], endpoints=endpoints("one"))
    assert [attempt(family) for family in ADDRESSES] == [True, True]


def test_a_change_touches_what_differs_and_a_second_run_nothing(declarer: Declarer, clients: Clients) -> None:
    many = [service(number) for number in range(1, 20)]
    predicted = declarer.declare(many, endpoints=endpoints(*PODS), check=True)
    assert predicted.changed
    assert left() == []
    done = declarer.declare(many, endpoints=endpoints(*PODS))
    assert lines(KIND.facilities, predicted.after) == lines(KIND.facilities, done.after)
    assert not declarer.declare(many, endpoints=endpoints(*PODS)).changed

    changed = declarer.declare([*many[:-1], service(20)], endpoints=endpoints(*PODS))
    assert {operation.verb for operation in changed.operations} == {REPLACE}
    texts = {text for operation in changed.operations for text in parts(operation.before) ^ parts(operation.after)}
    assert texts
    assert all(re.search(r"(10\.96\.7\.|fd00:10:96::7:)(19|20)\b", text) for text in texts)
    # Another number of backends takes another chain, and no more than that, however many services have it.
    declarer.declare([*many[:-1], service(20)], endpoints=endpoints(*PODS[:3]))
    for family, address in ((4, "10.96.7.20"), (6, "fd00:10:96::7:20")):
        for protocol in ("tcp", "udp"):
            attempt = Attempt("pod", family, protocol, address, scene.PORT)
            outcomes = clients.attempt([attempt] * 60)
            assert {each.backend for each in outcomes} == set(PODS[:3])
    assert len(set(re.findall(r"service-frontends[^ ;,]*|:PODNET-SERVICE-[^ ]*", "\n".join(left())))) < 20


@pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
def test_what_somebody_has_done_to_the_maps_is_repaired(declarer: Declarer, clients: Clients) -> None:
    many = [service(number) for number in range(1, 4)]
    declarer.declare(many, endpoints=endpoints(*PODS))
    with namespace.inside(netns("a")):
        wanted = nft_objects.observe()
    first = f"10.96.7.1 . tcp . {scene.PORT}"
    edits = [
        f"delete element inet podnet service-frontends4 {{ {first} }}",
        f"delete element inet podnet service-backends-frontends4 {{ {first} . 0 }}; "
        f"add element inet podnet service-backends-frontends4 {{ {first} . 0 : 10.244.1.99 . 99 }}",
        "add element inet podnet service-frontends4 { 10.96.7.99 . icmp . 80 : drop }",
        "add element inet podnet service-frontends6 { fd00:10:96::7:99 . udp . 80 : goto service-reject }",
        'add element inet podnet service-frontends4 { 10.96.7.9 . tcp . 80 comment "theirs" : drop }',
        "add element inet podnet service-hairpin4 { 192.0.2.7 . 192.0.2.8 }",
        "delete element inet podnet service-addresses4 { 10.96.7.1 }",
        "flush map inet podnet service-backends-frontends6",
    ]
    for edit in edits:
        with namespace.inside(netns("a")):
            subprocess.run(["nft", edit], check=True, timeout=60)
        nft_reading.forget()  # as another run
        repaired = declarer.declare(many, endpoints=endpoints(*PODS))
        assert [operation.verb for operation in repaired.operations] == [REPLACE], edit
        with namespace.inside(netns("a")):
            assert nft_objects.observe() == nft_reading.observe() == wanted, edit
        assert not declarer.declare(many, endpoints=endpoints(*PODS)).changed


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
    node_port = with_node_port()
    declarer.declare([node_port], endpoints=endpoints("one"))
    opened = [clients.open(attempt) for attempt in datagrams()]
    try:
        assert {each.backend for each in clients.ask(opened)} == {"one"}
        predicted = declarer.declare([node_port], endpoints=endpoints("far"), check=True)
        # Flows of pods are the programs' own, where there are such.
        tracked = len(opened) // 2 if declarer.backend == "ebpf" else len(opened)
        assert len([each for each in predicted.operations if each.facility == "flows"]) == tracked
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


def test_what_nobody_tells_of_any_more_goes(declarer: Declarer) -> None:
    declarer.declare([service(sessionAffinity="ClientIP")], endpoints=endpoints("one", "far"))
    assert left() != []
    declarer.lose()
    gone = declarer.declare([])
    assert gone.changed
    assert {operation.verb for operation in gone.operations} == {DELETE}
    assert left() == []


EMPTIED = {
    "nftables": [
        "nft flush map inet podnet service-frontends4",
        "nft flush map inet podnet service-backends-frontends6",
    ],
    "iptables-nft": ["ipset flush podnet-service-f4", "ip6tables-nft -t nat -F PODNET-SERVICE-F"],
    "iptables-legacy": ["iptables-legacy -t nat -D PREROUTING 1", "ipset flush podnet-service-f6"],
    "ebpf": ["nft flush map inet podnet service-frontends4"],
}


def test_what_somebody_has_emptied_is_filled_again(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service()], endpoints=endpoints("one"))
    for line in EMPTIED[declarer.backend]:
        node_says(*line.split())
    assert len(declarer.declare([service()], endpoints=endpoints("one")).operations) == len(EMPTIED[declarer.backend])
    for family in ADDRESSES:
        assert clients.attempt([to_service("pod", family)])[0].backend == "one"
