# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node's own processes connect to: their sockets get a backend's address, beside programs of others."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import cgroups, elf, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import bpf, vips
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import Traces
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import service_sockets
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_sockets import (
    HOOKS,
    SOCKETS,
    SocketHook,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import (
    Entry,
    dump_entries,
    open_netfilter,
)
from tests.conformance import service_cases as scene
from tests.integration.policy.killed import status_of
from tests.integration.policy.node_thread import NodeThread
from tests.integration.services.clients import Attempt, Clients
from tests.integration.services.conftest import Declarer
from tests.integration.services.ground import netns
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service, to_service

if TYPE_CHECKING:
    from collections.abc import Iterator

MAPPED = Attempt("node", 6, "tcp", f"::ffff:{ADDRESSES[4]}", scene.PORT)
EVERY = [to_service("node", 4), to_service("node", 6), MAPPED]
MANY = 400

# r0 = 1; exit: lets everybody go on.
NOTHING_DONE = elf.Program(bytes.fromhex("b700000001000000 9500000000000000".replace(" ", "")), ())

# Asked of the kernel, not of what is tested: it lists a root as /.
MOUNTED = any(
    before.split()[3] == "/" and after.startswith("cgroup2 ")
    for before, _dash, after in (
        line.partition(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()
    )
)

pytestmark = [
    pytest.mark.parametrize("declarer", ["ebpf"], indirect=True),
    pytest.mark.skipif(not MOUNTED, reason="no control groups of version 2 are mounted here"),
]


def declare(declarer: Declarer, *services: dict[str, Any], pods: tuple[str, ...] = PODS, **more: Any) -> Any:
    return declarer.declare(services or [service()], endpoints=endpoints(*pods), **{"connect": True, **more})


def flush(node: str) -> None:
    """Take from nftables what it knows of services."""
    for family in ADDRESSES:
        nft = f"nft flush map inet podnet service-frontends{family}"
        subprocess.run(["ip", "netns", "exec", netns(node), *nft.split()], check=True, timeout=60)


def translated() -> set[Entry]:
    """TCP connections whose destination netfilter has changed."""
    with open_netfilter() as netlink:
        found = [entry for entry in dump_entries(netlink) if entry.original.protocol == socket.IPPROTO_TCP]
    return {entry for entry in found if entry.original.destination != entry.reply.source}


def attached() -> set[int]:
    """The programs at the root of control groups, whoever has put them there, that pinned links hold here."""
    found = set()
    for pin in SOCKETS.iterdir():
        with syscall.pinned(str(pin)) as handle:
            told = cgroups.link_info(handle)
            assert told
            found.add(told.program)
    return found


def test_sockets_get_a_backends_address(declarer: Declarer, clients: Clients) -> None:
    declare(declarer, connect=False)
    seen = [{each.backend: each.seen for each in clients.attempt([attempt] * 60)} for attempt in EVERY]
    known = declarer.node.run(translated)
    assert len(known) >= 60 * len(EVERY)
    assert declare(declarer, check=True).changed
    assert declare(declarer).changed
    assert not declare(declarer).changed
    for attempt, before in zip(EVERY, seen, strict=True):
        outcomes = clients.attempt([attempt] * MANY)
        counted = Counter(each.backend for each in outcomes)
        assert set(counted) == set(PODS)
        # A quarter each: six times the deviation.
        assert all(abs(each - MANY / 4) < 52 for each in counted.values()), counted
        # Nobody sees another client than with nftables.
        assert {each.backend: each.seen for each in outcomes} == before
    assert declarer.node.run(translated) <= known


def test_a_process_is_told_the_peer_that_it_has_asked_for(declarer: Declarer, clients: Clients) -> None:
    declare(declarer)
    for attempt in EVERY:
        with clients.open(attempt) as connection:
            assert clients.ask([connection])[0].verdict == "forward"
            assert connection.getpeername()[:2] == (attempt.address, attempt.port)
            declare(declarer, flows=4096 if attempt.family == 4 else 2048)
            assert connection.getpeername()[:2] == (attempt.address, attempt.port)
    for family in ADDRESSES:
        pod = Attempt("node", family, "tcp", scene.pod_address("one", family), scene.TARGET)
        with clients.open(pod) as connection:
            assert clients.ask([connection])[0].backend == "one"
            assert connection.getpeername()[:2] == (pod.address, pod.port)


def test_what_is_known_of_addresses_tells_of_sockets(declarer: Declarer) -> None:
    def evidence() -> str:
        asked = vips.read([f"{ADDRESSES[4]}:{scene.PORT}/{protocol}" for protocol in ("tcp", "udp")])
        tcp, udp = vips.ask(asked, Traces(), Path("/"), [])
        assert "sockets" not in udp["evidence"][0]
        (text,) = tcp["evidence"]
        return str(text)

    declare(declarer)
    assert declarer.node.run(evidence).endswith("for the node's own sockets, too")
    declare(declarer, connect=False)
    assert "sockets" not in declarer.node.run(evidence)


def test_the_rest_is_left_to_nftables(declarer: Declarer, clients: Clients) -> None:
    declare(declarer, service(), service(2, sessionAffinity="ClientIP"))
    for family, address in ADDRESSES.items():
        sticky = to_service("node", family)._replace(address=address[:-1] + "2")
        assert len({each.backend for each in clients.attempt([sticky] * 20)}) == 1
        assert {each.backend for each in clients.attempt([to_service("node", family, "udp")] * 60)} == set(PODS)
    declare(declarer, pods=())
    for attempt in EVERY:
        began = time.monotonic()
        assert {each.verdict for each in clients.attempt([attempt] * 3)} == {"reject"}
        assert time.monotonic() - began < 0.5
    declare(declarer)
    flush("a")
    for attempt in EVERY:
        assert {each.verdict for each in clients.attempt([attempt] * 5)} == {"forward"}
    # What is no TCP, and what is in another network namespace.
    for family in ADDRESSES:
        rest = [to_service("node", family, "udp"), to_service("outside", family)]
        assert "forward" not in {each.verdict for each in clients.attempt(rest)}


def test_two_nodes_below_one_root_and_programs_of_others(declarer: Declarer, clients: Clients, tmp_path: Path) -> None:
    with closing(NodeThread(netns("b"))) as node, foreign() as pin:
        other = Declarer(tmp_path / "b", "ebpf", node)
        declare(declarer, pods=("one",))
        declare(other, pods=("far",), node="b")
        try:
            assert not declare(declarer, pods=("one",)).changed
            assert not declarer.node.run(attached) & node.run(attached)
            flush("a")
            for attempt in EVERY:
                assert {each.backend for each in clients.attempt([attempt] * 5)} == {"one"}
                there = attempt._replace(client="b")
                assert {each.backend for each in clients.attempt([there] * 5)} == {"far"}
            declarer.declare([])
            assert not declarer.node.run(SOCKETS.exists)
            assert len(node.run(attached)) == len(HOOKS)
            assert not declare(other, pods=("far",), node="b").changed
            assert {each.backend for each in clients.attempt([EVERY[0]._replace(client="b")] * 5)} == {"far"}
        finally:
            other.declare([])
        told = cgroups.link_info(pin)
        assert told
        assert told.group


def test_a_place_that_somebody_has_for_himself_is_none(declarer: Declarer) -> None:
    assert not declare(declarer, check=True).notes
    root, hook = service_sockets.root(), cgroups.INET4_CONNECT
    assert root
    group = root / f"podnet-test-{os.getpid()}"
    group.mkdir()
    try:
        assert cgroups.takes(group, hook)
        descriptor = os.open(group, os.O_RDONLY)
        with (
            syscall.Handle(descriptor),
            programs.load("foreign", NOTHING_DONE, {}, b"GPL", programs.CGROUP_SOCK_ADDR, hook) as program,
        ):
            # BPF_PROG_ATTACH, without flags.
            syscall.call(8, struct.pack("=IIII", descriptor, program.descriptor, hook, 0), "attach")
        assert not cgroups.takes(group, hook)
        assert cgroups.takes(group, cgroups.INET6_CONNECT)
    finally:
        group.rmdir()


@contextmanager
def foreign() -> Iterator[syscall.Handle]:
    """A program of somebody else's at the same place."""
    root = service_sockets.root()
    assert root
    hook = cgroups.INET4_CONNECT
    with (
        programs.load("foreign", NOTHING_DONE, {}, b"GPL", programs.CGROUP_SOCK_ADDR, hook) as program,
        cgroups.attach(program, root, hook) as made,
    ):
        yield made


@pytest.mark.parametrize("harm", ["detached", "unpinned", "exchanged", "elsewhere"])
def test_what_somebody_else_does_is_told_and_mended(declarer: Declarer, clients: Clients, harm: str) -> None:
    def spoil() -> None:
        pin = SOCKETS / "connect4"
        with syscall.pinned(str(pin)) as link:
            if harm == "detached":
                programs.detach(link)
            elif harm == "exchanged":
                hook = cgroups.INET4_CONNECT
                with programs.load("other", NOTHING_DONE, {}, b"GPL", programs.CGROUP_SOCK_ADDR, hook) as other:
                    programs.exchange(link, other)
            else:
                pin.unlink()
        if harm == "elsewhere":
            (SOCKETS / "connect6").rename(pin)

    declare(declarer)
    assert len(declarer.node.run(bpf.at_sockets)) == len(HOOKS)
    declarer.node.run(spoil)
    told = declare(declarer, check=True)
    assert told.changed
    assert "connect4" in {each.after.hook for each in told.operations if isinstance(each.after, SocketHook)}
    assert declare(declarer).changed
    assert not declare(declarer).changed
    flush("a")
    for attempt in EVERY:
        assert {each.verdict for each in clients.attempt([attempt] * 5)} == {"forward"}
    declare(declarer, connect=False)
    assert not declarer.node.run(SOCKETS.exists)
    assert not declarer.node.run(bpf.at_sockets)


def test_a_node_without_control_groups_has_nftables(declarer: Declarer, clients: Clients, tmp_path: Path) -> None:
    def hide() -> None:
        while folder := service_sockets.root():
            subprocess.run(["umount", "-l", folder], check=True, timeout=60)

    with closing(NodeThread(netns("a"))) as node:
        node.run(hide)
        bare = Declarer(tmp_path / "bare", "ebpf", node)
        try:
            told = declare(bare)
            assert any("control groups" in note for note in told.notes)
            assert not declare(bare).changed
            assert not declare(bare, connect=False).notes
            for attempt in EVERY:
                assert {each.backend for each in clients.attempt([attempt] * 60)} == set(PODS)
            assert node.run(translated)
        finally:
            bare.declare([])


def test_a_run_that_was_killed_converges(declarer: Declarer) -> None:
    def attempt(calls: int) -> int:
        declare(declarer)

        status = declarer.node.run(lambda: status_of(calls, lambda: declare(declarer, flows=2048, here=True)))
        declare(declarer, flows=2048)
        assert not declare(declarer, flows=2048).changed
        assert len(declarer.node.run(attached)) == len(HOOKS)
        return status

    calls, done = 5, 0
    while attempt(calls) == signal.SIGKILL:
        calls += 37
        done += 1
    assert done > 2
