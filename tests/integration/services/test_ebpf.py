# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is special about services by eBPF: packets that are about others, or in parts, and what is left on the node."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed, service_pins
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import LINKS, MAKING
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_ebpf import SERVICE_EBPF
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import FRONTENDS, MAPS
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.policy.killed import status_of
from tests.integration.services.clients import Attempt, Clients
from tests.integration.services.ground import forget_ways, netns
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service, to_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.services.conftest import Declarer

SORTS = {4: socket.AF_INET, 6: socket.AF_INET6}
OTHER_TARGET = 8090
LONG = 5000
"""Bytes that take four packets."""

pytestmark = pytest.mark.parametrize("declarer", ["ebpf", "ebpf-bypass"], indirect=True)


@contextmanager
def small_link() -> Iterator[None]:
    """Between the nodes less fits through than the pods believe."""
    argv = ["ip", "-n", netns("a"), "link", "set", "under0", "mtu"]
    subprocess.run([*argv, "1400"], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run([*argv, "1500"], check=True, timeout=60)
        forget_ways()


def elsewhere() -> dict[str, object]:
    """A service whose backends listen at another port, where there is nobody but for who is put there."""
    ports = [
        {"name": name, "protocol": name.upper(), "port": scene.PORT, "targetPort": OTHER_TARGET}
        for name in ("tcp", "udp")
    ]
    return service(2, ports=ports)


def to_elsewhere(client: str, family: int, protocol: str) -> Attempt:
    return to_service(client, family, protocol)._replace(address=ADDRESSES[family][:-1] + "2")


def test_pods_are_sent_on_without_nftables(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service()], endpoints=endpoints(*PODS))
    before = declarer.declare([service()], endpoints=endpoints(*PODS), check=True)
    assert not before.changed
    for family in ADDRESSES:
        name = f"service-frontends{family}"
        argv = ["ip", "netns", "exec", netns("a"), "nft", "flush", "map", "inet", "podnet", name]
        subprocess.run(argv, check=True, timeout=60)
    for family in ADDRESSES:
        for protocol in ("tcp", "udp"):
            for asking in ("pod", "one"):
                outcomes = clients.attempt([to_service(asking, family, protocol)] * 40)
                assert {each.backend for each in outcomes} == set(PODS)
    # What the node itself sends is left to nftables, which has nothing any more.
    assert {each.backend for each in clients.attempt([to_service("node", 4)])} == {""}


def test_what_somebody_else_does_to_maps_is_told_and_mended(declarer: Declarer) -> None:
    def elements() -> dict[str, dict[bytes, bytes]]:
        (folder,) = service_pins.datapaths()
        found = {}
        for name in MAPS:
            with syscall.pinned(str(folder / name)) as handle:
                found[name] = maps.elements(handle)
        return found

    def harm(name: str, key: bytes, put: dict[bytes, bytes]) -> None:
        (folder,) = service_pins.datapaths()
        with syscall.pinned(str(folder / name)) as handle, pytest.raises(BpfError) as refused:
            maps.delete(handle, key)
        assert refused.value.errno == errno.EPERM
        # No process can, but by the program that changes them.
        number = MAPS.index(name)
        changes = ebpf_sealed.puts(put.items(), number) if put else ebpf_sealed.removals([key], number)
        ebpf_sealed.write(folder, changes)

    declarer.declare([service()], endpoints=endpoints(*PODS))
    both = [service(), service(2)]
    declarer.declare(both, endpoints=endpoints(*PODS))
    wanted = declarer.node.run(elements)
    for name in MAPS:
        key, value = min(wanted[name].items())
        # One goes, another one comes, and one becomes another: also of what the last run has put there.
        for put in ({}, {key[:-1] + b"\xff": value}, {key: bytes(len(value) - 1) + b"\xff"}):
            declarer.node.run(partial(harm, name, key, put))
            assert declarer.declare(both, endpoints=endpoints(*PODS), check=True).changed
            assert declarer.declare(both, endpoints=endpoints(*PODS)).changed
            assert declarer.node.run(elements) == wanted
            assert not declarer.declare(both, endpoints=endpoints(*PODS)).changed


def test_errors_find_their_way_and_datagrams_arrive_whole(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([elsewhere()], endpoints=endpoints("one", "far"))
    for family in ADDRESSES:
        for protocol in ("tcp", "udp"):
            # One reaches itself half of the times.
            for asking in ("pod", "one"):
                outcomes = clients.attempt([to_elsewhere(asking, family, protocol)] * 20)
                assert {each.verdict for each in outcomes} == {"reject"}, (family, protocol, asking)
    with ExitStack() as opened:
        servers = {}
        for family, sort in SORTS.items():
            for pod in ("one", "far"):
                with namespace.inside(netns(pod)):
                    server = opened.enter_context(socket.socket(sort, socket.SOCK_DGRAM))
                    server.bind((scene.pod_address(pod, family), OTHER_TARGET))
                    server.settimeout(5)
                    servers[family, pod] = server
        for family, sort in SORTS.items():
            reached = set()
            for _each in range(30):
                with namespace.inside(netns("one")):
                    client = opened.enter_context(socket.socket(sort, socket.SOCK_DGRAM))
                client.settimeout(5)
                client.connect((ADDRESSES[family][:-1] + "2", scene.PORT))
                for _again in range(2):
                    asked = os.urandom(LONG)
                    client.send(asked)
                    pod, found, peer = _received(servers, family)
                    assert found == asked
                    servers[family, pod].sendto(found[::-1], peer)
                    assert client.recv(LONG + 1) == asked[::-1]
                reached.add(pod)
                if len(reached) == 2:
                    break
            assert reached == {"one", "far"}


def _received(servers: dict[tuple[int, str], socket.socket], family: int) -> tuple[str, bytes, tuple[str, int]]:
    ready, _writable, _failed = select.select([servers[family, "one"], servers[family, "far"]], [], [], 5)
    pod = next(pod for pod in ("one", "far") if servers[family, pod] in ready)
    data, peer = servers[family, pod].recvfrom(LONG + 1)
    return pod, data, peer


def test_who_goes_straight_to_a_backend_is_answered_from_there(declarer: Declarer) -> None:
    declarer.declare([elsewhere()], endpoints=endpoints("far"))
    for family, sort in SORTS.items():
        ends = [(ADDRESSES[family][:-1] + "2", scene.PORT), (scene.pod_address("far", family), OTHER_TARGET)]
        with ExitStack() as opened:
            with namespace.inside(netns("far")):
                opened.enter_context(socket.create_server(("", OTHER_TARGET), family=sort))
                server = opened.enter_context(socket.socket(sort, socket.SOCK_DGRAM))
            server.bind(("", OTHER_TARGET))
            for end in ends * 2:
                # From the same port, as soon as the last connection has been reset.
                with namespace.inside(netns("pod")):
                    client = socket.socket(sort)
                with client:
                    client.settimeout(5)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.bind(("", 40000))
                    client.connect(end)
            with namespace.inside(netns("pod")):
                asking = opened.enter_context(socket.socket(sort, socket.SOCK_DGRAM))
            for each in (asking, server):
                each.settimeout(5)
            for end in ends * 2:
                asking.sendto(b"question", end)
                data, peer = server.recvfrom(64)
                server.sendto(data, peer)
                assert asking.recvfrom(64)[1][:2] == end


def test_a_path_with_a_small_link_is_found_out(declarer: Declarer) -> None:
    declarer.declare([elsewhere()], endpoints=endpoints("far"))
    for family, sort in SORTS.items():
        with ExitStack() as opened:
            opened.enter_context(small_link())
            with namespace.inside(netns("far")):
                server = opened.enter_context(socket.create_server(("", OTHER_TARGET), family=sort))
            with namespace.inside(netns("pod")):
                client = opened.enter_context(socket.socket(sort))
            for each in (server, client):
                each.settimeout(10)
            client.connect((ADDRESSES[family][:-1] + "2", scene.PORT))
            accepted = opened.enter_context(server.accept()[0])
            accepted.settimeout(10)
            content = os.urandom(200_000)
            sender = threading.Thread(target=client.sendall, args=(content,))
            sender.start()
            found = b""
            while len(found) < len(content):
                part = accepted.recv(65536)
                assert part
                found += part
            sender.join()
            assert found == content


def test_what_is_there_is_mended_and_connections_outlive_other_programs(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service()], endpoints=endpoints("one", "far"), flows=2048)
    opened = [clients.open(to_service("pod", family)) for family in ADDRESSES for _each in range(8)]
    try:
        assert {each.backend for each in clients.ask(opened)} == {"one", "far"}
        # More services than the maps have room for, and room for more flows.
        many = [service(), *(service(number) for number in range(2, 250))]
        done = declarer.declare(many, endpoints=endpoints("two", "far"), flows=4096)
        assert {each.verb for each in done.operations if each.facility == SERVICE_EBPF.name} == {
            *("create", "replace", "delete")
        }
        assert {each.verdict for each in clients.ask(opened)} == {"forward"}

        def damage() -> None:
            (folder,) = service_pins.datapaths()
            with syscall.pinned(str(folder / FRONTENDS)) as handle:
                found = maps.elements(handle)
            ebpf_sealed.write(folder, ebpf_sealed.removals(found, MAPS.index(FRONTENDS)))
            links = sorted((service_pins.FOLDER / LINKS).iterdir())
            links[0].unlink()

        declarer.node.run(damage)
        mended = declarer.declare(many, endpoints=endpoints("two", "far"), flows=4096)
        assert [each.verb for each in mended.operations] == ["replace", "create"]
        assert {each.verdict for each in clients.ask(opened)} == {"forward"}
        for family in ADDRESSES:
            assert {each.backend for each in clients.attempt([to_service("pod", family)] * 40)} == {"two", "far"}
        # Back to nftables and eBPF again: nothing is left of it meanwhile.
        declarer.declare(many, endpoints=endpoints("two", "far"), backend="nftables", bypass=False)
        assert not declarer.node.run(service_pins.FOLDER.exists)
        assert {each.backend for each in clients.attempt([to_service("pod", 4)] * 40)} == {"two", "far"}
    finally:
        for connection in opened:
            connection.close()


def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(declarer: Declarer) -> None:
    def attempt(calls: int) -> int:
        declarer.declare([service()], endpoints=endpoints("one"), flows=1024)

        def work() -> None:
            declarer.declare([service(2)], endpoints=endpoints("two"), flows=2048, here=True)

        status = declarer.node.run(lambda: status_of(calls, work))
        declarer.declare([service(2)], endpoints=endpoints("two"), flows=2048)
        assert not declarer.declare([service(2)], endpoints=endpoints("two"), flows=2048).changed

        def names() -> list[str]:
            return sorted(path.name for path in service_pins.FOLDER.iterdir())

        assert not declarer.node.run((service_pins.FOLDER / MAKING).exists)
        assert len(declarer.node.run(names)) == 2, "a datapath and the links"
        return status

    calls, done = 3, 0
    while attempt(calls) == signal.SIGKILL:
        calls += 41
        done += 1
    assert done > 2
