# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets between pods that go past the host: a chain of somebody else counts what does not (beside.py)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import bpf as evidence
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import service_pins
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import LINKS, NAME
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.resources import policy
from tests.conformance import service_cases as scene
from tests.integration.policy.killed import status_of
from tests.integration.services.beside import counted, foreign_chain, meet, tunnel
from tests.integration.services.clients import Attempt, Clients
from tests.integration.services.ground import netns
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service, to_service

if TYPE_CHECKING:
    from tests.integration.services.conftest import Declarer

PROTOCOLS = ("tcp", "udp")
SORTS = {4: socket.AF_INET, 6: socket.AF_INET6}
# IP_TTL and IP_RECVERR, IPV6_UNICAST_HOPS and IPV6_RECVERR (linux/in.h, linux/in6.h).
HOPS = {4: (socket.IPPROTO_IP, 2, 11), 6: (socket.IPPROTO_IPV6, 16, 25)}
TCP_REPAIR = 19  # linux/tcp.h
PASSING = ["arrives", *["forwards"] * 3]
"""The node's programs: at its way to the other node, and at its three pods."""

pytestmark = pytest.mark.parametrize("declarer", ["ebpf-bypass", "ebpf-filters"], indirect=True)


def attached(declarer: Declarer) -> list[str]:
    """The programs that let packets pass, sorted."""

    def found() -> list[str]:
        with Host() as host:
            names = [name for _index, name in evidence.attached(host.index.values(), host.netlink)]
        return sorted(name.removeprefix(NAME) for name in names if name.removeprefix(NAME) in service_pins.PASSING)

    return declarer.node.run(found)


def test_flows_go_past_the_host_until_that_is_taken_back(declarer: Declarer, clients: Clients) -> None:
    given: dict[str, Any] = {"endpoints": endpoints(*PODS)}
    with foreign_chain():
        declarer.declare([service()], **given)
        assert attached(declarer) == PASSING
        meet()
        for family in ADDRESSES:
            for protocol in PROTOCOLS:
                before = counted(protocol)
                outcomes = clients.attempt([to_service("pod", family, protocol)] * 40)
                assert {each.backend for each in outcomes} == set(PODS), (family, protocol)
                assert {each.seen for each in outcomes} == {scene.pod_address("pod", family)}
                assert counted(protocol) == before, (family, protocol)
            # Past all translation, in both directions.
            straight = [
                Attempt("pod", family, "tcp", scene.pod_address("far", family), scene.TARGET),
                Attempt("far", family, "tcp", scene.pod_address("one", family), scene.TARGET),
            ]
            before = counted("tcp")
            assert [each.verdict for each in clients.attempt(straight)] == ["forward"] * 2
            assert counted("tcp") == before
        assert not declarer.declare([service()], **given).changed
        declarer.declare([service()], bypass=False, **given)
        assert attached(declarer) == []
        for family in ADDRESSES:
            for protocol in PROTOCOLS:
                before = counted(protocol)
                assert {each.verdict for each in clients.attempt([to_service("pod", family, protocol)] * 10)} == {
                    "forward"
                }
                assert counted(protocol) > before
        names = declarer.node.run(lambda: [each.name for each in (service_pins.FOLDER / LINKS).iterdir()])
        assert not [name for name in names if name.rpartition("-")[2] in service_pins.PASSING]


def test_connections_outlive_that_it_comes_and_goes(declarer: Declarer, clients: Clients) -> None:
    given: dict[str, Any] = {"endpoints": endpoints(*PODS)}
    with foreign_chain():
        opened: list[socket.socket] = []
        try:
            # Some that nftables sends on, some that programs do, some past the host.
            for more in ({"backend": "nftables", "bypass": False}, {"bypass": False}, {}):
                declarer.declare([service()], **given, **more)
                meet()
                assert {each.verdict for each in clients.ask(opened)} <= {"forward"}
                for family in ADDRESSES:
                    for protocol in PROTOCOLS:
                        opened += [clients.open(to_service("pod", family, protocol)) for _each in range(12)]
                assert {each.verdict for each in clients.ask(opened)} == {"forward"}
            for bypass in (False, True, False):
                declarer.declare([service()], **given, bypass=bypass)
                for _each in range(2):
                    assert {each.verdict for each in clients.ask(opened)} == {"forward"}, bypass
        finally:
            for connection in opened:
                connection.close()


def test_policies_by_ebpf_judge_what_goes_past_the_host(declarer: Declarer, clients: Clients) -> None:
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    known = [*endpoints("one", "far"), {**endpoints("pod")[0], "labels": {"app": "other"}}]
    given = {"node": "a", "namespaces": {}, "endpoints": known, "backend": "ebpf", "flows": 1024, "fragments": 64}
    selected = {"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]}
    to_web = {"metadata": {"name": "other"}, "spec": {**selected, "egress": [{"to": [web]}]}}
    to_nobody = {"metadata": {"name": "other"}, "spec": {**selected, "egress": []}}
    of_web = {"metadata": {"name": "web"}, "spec": {**web, "ingress": [{"from": [web]}]}}
    declarer.declare([service()], endpoints=known)
    asked = [to_service("pod", family, protocol) for family in ADDRESSES for protocol in PROTOCOLS] * 8
    try:
        with foreign_chain():
            for policies, backends in (
                ([to_web], {"one", "far"}),
                ([to_nobody], {""}),
                ([to_web, of_web], {"", "far"}),
            ):
                declarer.also(policy.KIND, {**given, "policies": policies})
                meet()
                before = counted("tcp"), counted("udp")
                assert {each.backend for each in clients.attempt(asked)} == backends
                assert (counted("tcp"), counted("udp")) == before
    finally:
        declarer.also(policy.KIND, None)


def test_policies_that_would_see_nothing_are_refused(declarer: Declarer) -> None:
    given = {"node": "a", "namespaces": {}, "endpoints": endpoints(*PODS), "policies": [], "backend": "nftables"}
    offer = partial(declarer.declare, [service()], endpoints=endpoints(*PODS))
    try:
        declarer.also(policy.KIND, given)
        with pytest.raises(PodnetError, match="bypass is true, and policies are by nftables"):
            offer()
        declarer.also(policy.KIND, None)
        offer()
        with pytest.raises(PodnetError, match="bypass is true, and policies are by nftables"):
            declarer.also(policy.KIND, given)
        with pytest.raises(PodnetError, match="bypass: true; say backend: ebpf or programs: true"):
            offer(backend="nftables")
    finally:
        declarer.also(policy.KIND, None)


@pytest.mark.parametrize("comes", [True, False])
def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(
    declarer: Declarer, clients: Clients, comes: bool
) -> None:
    offer = partial(declarer.declare, [service()], endpoints=endpoints("one"))

    def attempt(calls: int) -> int:
        offer(bypass=not comes)

        status = declarer.node.run(lambda: status_of(calls, lambda: offer(bypass=comes, here=True)))
        # Whatever is half done, nobody goes astray.
        asked = [to_service("pod", family, protocol) for family in ADDRESSES for protocol in PROTOCOLS]
        assert {each.verdict for each in clients.attempt(asked)} == {"forward"}
        offer(bypass=comes)
        assert not offer(bypass=comes).changed
        assert attached(declarer) == PASSING * comes
        assert declarer.node.run(lambda: list(map(service_pins.passes, service_pins.folders()))) == [comes]
        return status

    calls, done = 3, 0
    while attempt(calls) == signal.SIGKILL:
        calls += 37
        done += 1
    assert done > 2


def test_errors_about_what_goes_past_the_host_do_so_too(declarer: Declarer, clients: Clients) -> None:
    ports = [{"name": "udp", "protocol": "UDP", "port": scene.PORT, "targetPort": 8091}]
    declarer.declare([service(ports=ports)], endpoints=endpoints("one", "far"))
    meet()
    with foreign_chain():
        for family in ADDRESSES:
            # Nobody listens there.
            outcomes = clients.attempt([to_service("pod", family, "udp")] * 20)
            assert {each.verdict for each in outcomes} == {"reject"}
        assert counted("invalid") == 0


@pytest.mark.usefixtures("clients")
def test_half_a_flow_is_given_to_the_kernel_as_a_whole(declarer: Declarer) -> None:
    declarer.declare([service()], endpoints=endpoints("far"))
    meet()

    def take_away() -> None:
        """The program at the way to the other node: no answer from there goes past the host."""
        (pin,) = (service_pins.FOLDER / LINKS).glob("*-arrives")
        with syscall.pinned(str(pin)) as link:
            programs.detach(link)

    declarer.node.run(take_away)
    with foreign_chain():
        for family, sort in SORTS.items():
            with namespace.inside(netns("pod")):
                client = socket.socket(sort)
            with client:
                client.settimeout(10)
                # The answer to the first SYN is dropped, the second SYN is the kernel's, and so is all that follows.
                client.connect((ADDRESSES[family], scene.PORT))
        assert counted("invalid")
        assert counted("tcp")


def test_who_has_vanished_without_a_word_comes_back_by_the_same_port(declarer: Declarer) -> None:
    declarer.declare([service()], endpoints=endpoints("far"))
    meet()
    with foreign_chain():
        for family, sort in SORTS.items():
            for end in ((ADDRESSES[family], scene.PORT), (scene.pod_address("far", family), scene.TARGET)):
                with ExitStack() as opened:
                    with namespace.inside(netns("far")):
                        server = opened.enter_context(socket.create_server(("", scene.TARGET), family=sort))
                    server.settimeout(5)
                    for _time in range(3):
                        with namespace.inside(netns("pod")):
                            client = opened.enter_context(socket.socket(sort))
                        client.settimeout(5)
                        client.bind(("", 40003))
                        client.connect(end)
                        accepted = opened.enter_context(server.accept()[0])
                        # More than the handshake, so that the connection stands.
                        for one, other in ((client, accepted), (accepted, client)):
                            one.sendall(b"question")
                            other.settimeout(5)
                            assert other.recv(8) == b"question"
                        for each in (client, accepted):
                            each.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # closing says nothing
                            each.close()
        assert counted("tcp") == counted("invalid") == 0


def test_one_port_reaches_one_backend_by_two_services(declarer: Declarer) -> None:
    declarer.declare([service(), service(2)], endpoints=endpoints("far"))
    meet()
    for family, sort in SORTS.items():
        ends = [(ADDRESSES[family], scene.PORT), (ADDRESSES[family][:-1] + "2", scene.PORT)]
        with ExitStack() as opened:
            with namespace.inside(netns("far")):
                server = opened.enter_context(socket.create_server(("", scene.TARGET), family=sort))
            server.settimeout(5)
            clients = []
            for end in ends:
                with namespace.inside(netns("pod")):
                    client = opened.enter_context(socket.socket(sort))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.settimeout(5)
                client.bind(("", 40001))
                client.connect(end)
                accepted = opened.enter_context(server.accept()[0])
                accepted.settimeout(5)
                clients.append((client, accepted))
            for number, (client, accepted) in enumerate(clients):
                client.sendall(b"%d" % number)
                assert accepted.recv(8) == b"%d" % number
                accepted.sendall(b"%d" % number)
                assert client.recv(8) == b"%d" % number


def test_what_has_no_hops_left_and_what_is_no_pods_is_the_kernels(declarer: Declarer) -> None:
    declarer.declare([service()], endpoints=endpoints("far"))
    meet()
    with foreign_chain():
        for family, sort in SORTS.items():
            level, hops, told = HOPS[family]
            for protocol in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with namespace.inside(netns("pod")):
                    client = socket.socket(sort, protocol)
                with client:
                    client.settimeout(5)
                    client.setsockopt(level, told, 1)
                    client.setsockopt(level, hops, 1)
                    with pytest.raises(OSError, match="No route to host"):
                        _exchange(client, (ADDRESSES[family], scene.PORT))
        before = counted("tcp")
        with ExitStack() as opened:
            with namespace.inside(netns("outside")):
                opened.enter_context(socket.create_server(("", 8099)))
            with namespace.inside(netns("pod")):
                client = opened.enter_context(socket.socket())
            client.settimeout(5)
            client.connect((scene.OUTSIDE[4], 8099))
        assert counted("tcp") > before


def _exchange(client: socket.socket, end: tuple[str, int]) -> bytes:
    client.connect(end)
    client.send(b"question")
    return client.recv(8)


def test_flows_go_past_the_host_through_a_tunnel_that_is_smaller_than_they_are(declarer: Declarer) -> None:
    with tunnel(), foreign_chain():
        declarer.declare([service()], endpoints=endpoints("far"))
        assert attached(declarer) == PASSING
        meet()
        for family, sort in SORTS.items():
            with ExitStack() as opened:
                with namespace.inside(netns("far")):
                    server = opened.enter_context(socket.create_server(("", scene.TARGET), family=sort))
                with namespace.inside(netns("pod")):
                    client = opened.enter_context(socket.socket(sort))
                for each in (server, client):
                    each.settimeout(10)
                client.connect((ADDRESSES[family], scene.PORT))
                accepted = opened.enter_context(server.accept()[0])
                accepted.settimeout(10)
                content = os.urandom(2_000_000)
                for sender, receiver in ((client, accepted), (accepted, client)):
                    before = counted("tcp")
                    sending = threading.Thread(target=sender.sendall, args=(content,))
                    sending.start()
                    found = b""
                    while len(found) < len(content):
                        part = receiver.recv(1 << 20)
                        assert part
                        found += part
                    sending.join()
                    assert found == content
                    # Only what was too long, of which the kernel tells the sender.
                    assert counted("tcp") - before < len(content) // 1450 // 10
        assert counted("invalid") == 0


def test_what_has_been_summed_up_as_a_whole_arrives(declarer: Declarer) -> None:
    """The kernel drops datagrams whose checksum is right, where the sum of the whole packet is not."""
    with tunnel(summed=True), foreign_chain():
        declarer.declare([service()], endpoints=endpoints("far"))
        meet()
        for family, sort in SORTS.items():
            with ExitStack() as opened:
                with namespace.inside(netns("far")):
                    server = opened.enter_context(socket.create_server(("", scene.TARGET), family=sort))
                    answering = opened.enter_context(socket.socket(sort, socket.SOCK_DGRAM))
                    answering.bind(("", scene.TARGET))
                with namespace.inside(netns("pod")):
                    client = opened.enter_context(socket.socket(sort))
                    asking = opened.enter_context(socket.socket(sort, socket.SOCK_DGRAM))
                for each in (server, answering, client, asking):
                    each.settimeout(10)
                for each in (client, asking):
                    each.connect((ADDRESSES[family], scene.PORT))
                accepted = opened.enter_context(server.accept()[0])
                accepted.settimeout(10)
                before = [counted(protocol) for protocol in PROTOCOLS]
                for length in (20, 500, 1100):
                    content = os.urandom(length)
                    client.sendall(content)
                    assert accepted.recv(2000) == content
                    accepted.sendall(content)
                    assert client.recv(2000) == content
                    asking.send(content)
                    found, end = answering.recvfrom(2000)
                    answering.sendto(found, end)
                    assert asking.recv(2000) == content
                assert [counted(protocol) for protocol in PROTOCOLS] == before
