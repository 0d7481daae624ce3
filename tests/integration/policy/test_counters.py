# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies allow, and what is denied to a pod, is counted, with each backend."""

from __future__ import annotations

import functools
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.policy import counters
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND
from tests.conformance.declare import BACKENDS
from tests.integration.policy import nflog
from tests.integration.policy.conftest import isolate

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Ground

# p2 is beside the server on the bridge, p1 and p3 are on the other node.
SERVER, BESIDE, REMOTE, DENIED = 0, 2, 1, 3
OVERHEAD = {4: 28, 6: 48}
WORD = b"word"
FRAME = 14


def named(name: str, policy: dict[str, Any]) -> dict[str, Any]:
    return {**policy, "metadata": {"name": name, "namespace": "default"}}


def look(ground: Ground) -> dict[str, Any]:
    """What the module policy_info tells on the server's node."""
    node = ground.built.nodes[0]

    def read() -> dict[str, Any]:
        with Host() as host:
            return counters.read(Declarations(ground.folder / node).read(KIND.name), host)

    found: dict[str, Any] = ground.on(node, read)
    return found


def told(ground: Ground) -> dict[tuple[str, str], tuple[int, int]]:
    """Packets and bytes of policies and pods, on the server's node."""
    found = look(ground)
    rows = [("+".join(each["policies"]), each) for each in found["allowed"]]
    rows += [(each["endpoint"], each) for each in found["denied"]]
    return {(name, each["direction"]): (each["packets"], each["bytes"]) for name, each in rows}


def speak(ground: Ground, place: int, family: int, flows: int, packets: int = 1) -> None:
    """Flows from a pod to the server, of so many packets each, to which the server replies where it hears them."""
    with ground.socket(SERVER, socket.SOCK_DGRAM, family) as server:
        for _flow in range(flows):
            with ground.socket(place, socket.SOCK_DGRAM, family) as client:
                for _packet in range(packets):
                    client.sendto(WORD, server.getsockname())
                    if place != DENIED:
                        word, there = server.recvfrom(64)
                        server.sendto(word, there)
                        assert client.recv(64) == WORD


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_allowed_and_denied_is_counted(ground: Ground, backend: str) -> None:
    policies = [
        named("beside", isolate(SERVER, [BESIDE])),
        named("remote", isolate(SERVER, [REMOTE])),
        named("shut", isolate(4, [SERVER])),
    ]
    declare = functools.partial(ground.declare, **BACKENDS[backend]._asdict())
    declare(*policies)
    pods, server = ("default/p4", "Ingress"), ("default/p0", "Ingress")
    assert {key[0]: count for key, count in told(ground).items()} == dict.fromkeys(
        ["default/beside+default/remote"] if backend == "ebpf" else ["default/beside", "default/remote"], (0, 0)
    ) | dict.fromkeys(["default/shut", *(key[0] for key in (pods, server))], (0, 0))  # fmt: skip

    for family in (4, 6):
        speak(ground, BESIDE, family, flows=3, packets=2)
        speak(ground, REMOTE, family, flows=2)
        speak(ground, DENIED, family, flows=2, packets=2)
    # What an interface sees has the header of the frame.
    size = sum(OVERHEAD.values()) + 2 * len(WORD) + (2 * FRAME if backend == "ebpf" else 0)
    expected = {server: (8, 4 * size), pods: (0, 0), ("default/shut", "Ingress"): (0, 0)}
    if backend == "ebpf":
        expected["default/beside+default/remote", "Ingress"] = (10, 5 * size)
    else:
        expected["default/beside", "Ingress"] = (6, 3 * size)
        expected["default/remote", "Ingress"] = (4, 2 * size)
    assert told(ground) == expected

    # Another policy changes, and one comes: what was counted stays.
    declare(*policies[:2], named("shut", isolate(4, [BESIDE])), named("new", isolate(6, [])))
    assert told(ground).items() >= {key: expected[key] for key in expected if key[0] != "default/shut"}.items()


@pytest.mark.parametrize("backend", [each for each in BACKENDS if each != "ebpf"])
def test_denied_packets_are_logged_up_to_a_limit(ground: Ground, backend: str) -> None:
    node, burst = ground.built.nodes[0], 3
    log = {"rate": "1/minute", "burst": burst, "group": 7}
    ground.declare(isolate(SERVER, [BESIDE]), **BACKENDS[backend]._asdict(), log=log)

    def hear() -> list[tuple[str, bytes]]:
        with namespace.inside(node):
            opened = nflog.listen(7)
        with opened:
            speak(ground, BESIDE, 4, flows=2)
            speak(ground, DENIED, 4, flows=6)
            # All that are denied are counted after they are logged.
            limit = time.monotonic() + 5
            while told(ground)["default/p0", "Ingress"][0] < 6 and time.monotonic() < limit:
                time.sleep(0.01)
            return list(nflog.read(opened))

    found = hear()
    assert {prefix for prefix, _packet in found} == {"podnet-denied-ingress:"}
    assert {packet[12:20] for _prefix, packet in found} == {
        b"".join(socket.inet_aton(ground.address(place)) for place in (DENIED, SERVER))
    }
    assert len(found) == burst < told(ground)["default/p0", "Ingress"][0]
    # Without it nothing is logged, and nothing of it stays.
    ground.declare(isolate(SERVER, [BESIDE]), **BACKENDS[backend]._asdict())
    assert hear() == []


def test_ebpf_remembers_the_last_flows_that_it_denied(ground: Ground) -> None:
    ground.declare(isolate(SERVER, [BESIDE]))
    for family in (4, 6):
        speak(ground, BESIDE, family, flows=1)
        speak(ground, DENIED, family, flows=1, packets=3)
    found = look(ground)["last_denied"]
    assert [
        (each["direction"], each["protocol"], each["source"], each["destination"], each["packets"]) for each in found
    ] == [("Ingress", "udp", *(ground.address(place, family) for place in (DENIED, SERVER)), 3) for family in (6, 4)]
    assert found[0]["seconds_ago"] <= found[1]["seconds_ago"]
    assert all(each["source_port"] and each["destination_port"] for each in found)
