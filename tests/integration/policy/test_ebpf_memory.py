# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For how long, and how many, flows are remembered by the eBPF backend."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import FLOWS, datapaths
from tests.integration.policy.conftest import isolate
from tests.integration.policy.talk import arrives, connected

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Ground

SERVER = 0
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def test_tcp_is_remembered_for_as_long_as_its_state_says(ground: Ground) -> None:
    ground.declare(isolate(SERVER, [2]))
    with ground.socket(2, STREAM) as asking, ground.socket(SERVER, STREAM) as listening:
        accepted = connected(ground, asking, listening)
        assert accepted
        with accepted:
            port = asking.getsockname()[1]
            assert arrives(asking, accepted)
            assert _remembered(ground, port) == pytest.approx(86400, abs=5)
            asking.shutdown(socket.SHUT_WR)
            assert accepted.recv(10) == b""
            assert _remembered(ground, port) == pytest.approx(120, abs=5)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.05)
        assert _remembered(ground, port) == pytest.approx(10, abs=5)


def test_a_datagrams_flow_is_remembered_for_longer_once_it_was_answered(ground: Ground) -> None:
    ground.declare(isolate(SERVER, [2]))
    with ground.socket(2, DGRAM) as asking, ground.socket(SERVER, DGRAM) as answering:
        port = asking.getsockname()[1]
        assert arrives(asking, answering, answering.getsockname())
        assert _remembered(ground, port) == pytest.approx(30, abs=5)
        assert arrives(answering, asking, asking.getsockname())
        assert _remembered(ground, port) == pytest.approx(120, abs=5)


def test_more_flows_than_are_remembered_displace_the_silent_ones_only(ground: Ground) -> None:
    ground.declare(isolate(2, [], [SERVER]), flows=1000)
    with ground.socket(2, DGRAM) as speaking, ground.socket(SERVER, DGRAM) as answering:
        there = answering.getsockname()
        assert arrives(speaking, answering, there)
        for _nth in range(4000):
            with ground.socket(2, DGRAM) as other:
                other.sendto(b"a flow of its own", there)
            speaking.sendto(b"still there", there)
            while answering.recv(100) != b"still there":
                pass
        assert arrives(answering, speaking, speaking.getsockname())
        assert len(ground.on(ground.built.nodes[0], _flows)) <= 1000


def test_established_connections_survive_other_sizes_of_the_maps(ground: Ground) -> None:
    policy = isolate(2, [], [SERVER])
    ground.declare(policy)
    with ground.socket(2, STREAM) as asking, ground.socket(SERVER, STREAM) as listening:
        accepted = connected(ground, asking, listening)
        assert accepted
        with accepted:
            results = ground.declare(policy, flows=8192)
            assert {operation.verb for operation in results[0].operations} == {"create", "replace", "delete"}
            assert arrives(accepted, asking)
            assert arrives(asking, accepted)


def _remembered(ground: Ground, port: int) -> float:
    """Seconds that the flow with this port of the client is remembered, as the server's side has it."""

    flows: dict[bytes, bytes] = ground.on(ground.built.nodes[0], _flows)
    (found,) = (value for key, value in flows.items() if struct.unpack_from("!H", key, 32)[0] == port and key[38] == 1)
    return float(struct.unpack_from("=Q", found)[0] / 1e9 - time.monotonic())


def _flows() -> dict[bytes, bytes]:
    (folder,) = datapaths()
    with syscall.pinned(str(folder / FLOWS)) as handle:
        return maps.elements(handle)
