# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two WireGuard nodes with packets between them: sessions, changes in place, and new keys that cost no packet."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys, wireguard_sessions
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.wireguard import KIND, device_of, own_key, port_of
from tests.integration.kinds import needs_link_kind

from .test_wireguard import DEVICE, PORT, counts, params

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_link_kind("wireguard")


class Side:
    """A node of two: its namespace, its declarations, its keys."""

    def __init__(self, number: int, fd: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = number
        self.name = f"node{number}"
        self.declarations = Declarations(folder / self.name / "node.d")
        self._fd = fd
        self._keys = folder / self.name / "wireguard"
        self._monkeypatch = monkeypatch

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            assert libc.setns(self._fd, 0) == 0
            self._monkeypatch.setattr(wireguard_keys, "DIRECTORY", self._keys)
            yield
        finally:
            assert libc.setns(back, 0) == 0
            os.close(back)

    def key(self, generation: int) -> str:
        with self.entered():
            items = self.declarations.read(KIND.name)
            return own_key(DEVICE, generation, items, False)[2].public_key

    def declare(self, keys: dict[str, str], generation: int, *, standby: bool = False, exclusive: bool = False) -> Any:
        other = 3 - self.number
        name = device_of(DEVICE, generation)
        wanted = params(
            other,
            local=f"192.0.2.{self.number}",
            addresses=[f"10.244.{self.number}.0/32", f"fd00:10:244:{self.number}::/128"],
            public_keys=keys,
            generation=generation,
            port=port_of(PORT, generation),
            standby=standby,
        )
        with self.entered(), Host() as host:
            items = self.declarations.read(KIND.name)
            former = items.pop(name, None)
            items = {**({} if exclusive else items), name: KIND.normalise(name, wanted, former, host)}
            return reconcile(KIND, items, host, self.declarations)

    def establish(self, generation: int, seconds: float = 20) -> list[wireguard_sessions.Session]:
        with self.entered():
            return wireguard_sessions.establish(
                [device_of(DEVICE, generation)], self.declarations.read(KIND.name), seconds
            )

    def address(self, version: int) -> str:
        """The node's own address in its block."""
        return f"10.244.{self.number}.0" if version == 4 else f"fd00:10:244:{self.number}::"

    def socket(self, version: int, port: int) -> socket.socket:
        """UDP, bound to that address."""
        with self.entered():
            made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            made.bind((self.address(version), port))
            made.settimeout(1)
            return made


@pytest.fixture
def two(netns: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Side, Side]]:
    """Two nodes on a cable, 192.0.2.1 and 192.0.2.2."""
    libc = ctypes.CDLL(None, use_errno=True)
    first = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(0x40000000) == 0
    second = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    netns.ip("link", "set", "lo", "up")
    assert libc.setns(first, 0) == 0
    try:
        netns.ip(
            "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", f"/proc/{os.getpid()}/fd/{second}"
        )
        sides = (Side(1, first, tmp_path, monkeypatch), Side(2, second, tmp_path, monkeypatch))
        for side in sides:
            with side.entered():
                netns.ip("address", "add", f"192.0.2.{side.number}/24", "dev", "eth0")
                netns.ip("link", "set", "eth0", "up")
        yield sides
    finally:
        os.close(second)
        os.close(first)


class Stream:
    """Numbered datagrams from one node to the other, as long as the body runs."""

    def __init__(self, source: Side, sink: Side, version: int = 6) -> None:
        self._out, self._in = source.socket(version, 0), sink.socket(version, 4242)
        self._to = (sink.address(version), 4242)
        self._over = threading.Event()
        self.sent = 0
        self.seen: set[int] = set()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._out.close()
        self._in.close()

    def _send(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):  # what the kernel refuses to send is lost, too
                self._out.sendto(str(self.sent).encode(), self._to)
            self.sent += 1
            time.sleep(0.002)

    def _receive(self) -> None:
        while True:
            try:
                self.seen.add(int(self._in.recv(100)))
            except TimeoutError:
                if self._over.is_set():
                    return

    @property
    def lost(self) -> int:
        return self.sent - len(self.seen)


def test_new_keys_cost_no_packet_and_the_old_ones_go(two: tuple[Side, Side]) -> None:
    keys = {side.name: side.key(1) for side in two}
    for side in two:
        side.declare(keys, 1, exclusive=True)
    assert [session.name for session in two[0].establish(1)] == ["node2"]
    with Stream(*two) as there, Stream(two[1], two[0], version=4) as back:
        time.sleep(0.5)
        later = {side.name: side.key(2) for side in two}
        assert not set(later.values()) & set(keys.values())
        for side in two:
            waiting = side.declare(later, 2, standby=True)
            assert not [operation for operation in waiting.operations if operation.facility == "routes"]
        for side in two:
            assert all(session.stands for session in side.establish(2))
        for side in two:
            moved = side.declare(later, 2)
            assert counts(moved) == {("routes", "replace"): 2}
            time.sleep(0.2)
        for side in two:
            assert counts(side.declare(later, 2, exclusive=True))["links", "delete"] == 1
        time.sleep(0.5)
    assert (there.lost, back.lost) == (0, 0)
    assert min(there.sent, back.sent) > 300
    with two[0].entered():
        assert wireguard_keys.names() == ["podnet-wg2"]
        assert subprocess.run(
            ["wg", "show", "interfaces"], capture_output=True, text=True, check=True
        ).stdout.split() == ["podnet-wg2"]


def test_a_change_of_blocks_and_endpoint_keeps_the_session_and_a_removed_peer_costs_packets(
    two: tuple[Side, Side],
) -> None:
    keys = {side.name: side.key(1) for side in two}
    for side in two:
        side.declare(keys, 1)
    (before,) = two[0].establish(1)
    run = subprocess.run
    with Stream(*two) as kept:
        with two[0].entered():
            # Somebody puts prefixes to the peer that are not declared, and takes it elsewhere.
            more = "fd00:10:244:2::/64,10.244.2.0/24,10.99.0.0/16"
            run(["wg", "set", DEVICE, "peer", keys["node2"], "allowed-ips", more], check=True)
        mended = two[0].declare(keys, 1)
        assert counts(mended) == {("wireguard_peers", "replace"): 1}
        time.sleep(0.3)
    assert kept.lost == 0
    (after,) = two[0].establish(1)
    assert after.peer.last_handshake == before.peer.last_handshake
    assert after.peer.allowed_ips == before.peer.allowed_ips
    # The control: what the streams above count is what is lost.
    with Stream(*two) as cut, two[1].entered():
        run(["wg", "set", DEVICE, "peer", keys["node1"], "remove"], check=True)
        time.sleep(0.3)
    assert cut.lost > 0


def test_a_peer_that_gives_no_answer_is_named_in_time(two: tuple[Side, Side]) -> None:
    keys = {side.name: side.key(1) for side in two}
    two[0].declare(keys, 1)
    start = time.monotonic()
    with pytest.raises(PodnetError, match=r"no WireGuard session within 1 s with node2 \(192\.0\.2\.2:51820\)"):
        two[0].establish(1, 1)
    assert time.monotonic() - start < 10
    with two[0].entered():
        told = subprocess.run(["wg", "show", DEVICE, "dump"], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[1].split("\t")[-1] == "off"
