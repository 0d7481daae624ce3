# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that come and go in the table that stands: in place, at once for flows that stand, wherever a run ends."""

from __future__ import annotations

import itertools
import signal
import socket
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf import EBPF
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import GENERATION, TABLE, datapaths
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from tests.integration.policy.conftest import apply
from tests.integration.policy.killed import status_of
from tests.integration.policy.streams import streams

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Result
    from tests.integration.policy.conftest import Ground

DGRAM = socket.SOCK_DGRAM
SERVER = 0
POLICY = {
    "metadata": {"name": "server", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"pod": f"p{SERVER}"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}],
    },
}


def clients(ground: Ground, *places: int) -> dict[str, Any]:
    """Parameters of the module for the first node: these pods may reach the server."""
    found = ground.parameters(ground.built.nodes[0], POLICY)
    for place in places:
        found["endpoints"][place]["labels"]["role"] = "client"
    return found


def declare(ground: Ground, *places: int) -> Result:
    """Have these pods, and no others, reach the server."""
    first = ground.built.nodes[0]
    found: Result = ground.on(first, lambda: apply(clients(ground, *places), ground.folder / first))
    return found


def slot(ground: Ground) -> tuple[int, int]:
    """The kernel's number of the first node's table, and its generation."""

    def read() -> tuple[int, int]:
        (folder,) = datapaths()
        found = []
        for name in (TABLE, GENERATION):
            with syscall.pinned(str(folder / name)) as handle:
                found.append(int.from_bytes(maps.get(handle, bytes(4), 4) or b"", "little"))
        return found[0], found[1]

    found: tuple[int, int] = ground.on(ground.built.nodes[0], read)
    return found


def arrives(from_: socket.socket, to: socket.socket) -> bool:
    """Whether a datagram does, of a flow that is the same each time."""
    from_.sendto(b"word", to.getsockname())
    try:
        return to.recv(10) == b"word"
    except TimeoutError:
        return False


def test_flows_that_stand_meet_the_table_as_it_is_by_now(ground: Ground) -> None:
    declare(ground, 2)
    number, generation = slot(ground)
    with (
        ground.socket(2, DGRAM) as two,
        ground.socket(4, DGRAM) as four,
        ground.socket(SERVER, DGRAM) as server,
    ):
        assert arrives(two, server)
        assert not arrives(four, server)
        assert declare(ground, 2, 4).changed
        assert arrives(four, server)
        assert arrives(server, four)
        assert declare(ground, 2).changed
        assert not arrives(four, server)
        # What the server sends belongs to that flow.
        assert not arrives(server, four)
        assert arrives(two, server)
        assert slot(ground) == (number, generation + 4), "the same table, changed twice"
        # One goes and another comes: between the two there would be a table that is neither.
        assert declare(ground, 4).changed
        assert slot(ground)[0] != number
        assert not arrives(two, server)
        assert arrives(four, server)


def test_what_somebody_else_changes_behind_a_change_in_place_is_told_and_mended(ground: Ground) -> None:
    first = ground.built.nodes[0]
    declare(ground, 2)
    declare(ground, 2, 4)
    number, _generation = slot(ground)

    def harm() -> None:
        with maps.by_id(number) as inner:
            key = max(maps.elements(inner))
        (folder,) = datapaths()
        ebpf_sealed.write(folder, ebpf_sealed.removals([key]))

    ground.on(first, harm)
    assert ground.on(first, lambda: apply(clients(ground, 2, 4), ground.folder / first, check=True)).changed
    assert declare(ground, 2, 4).changed
    assert not declare(ground, 2, 4).changed


def test_peers_that_come_and_go_lose_nothing_allowed_and_let_nothing_denied_through(ground: Ground) -> None:
    # Pod 2 may all the time and pod 4 never; pods 2 and 3 are one prefix when both may.
    places = ((2,), (2, 3), (2, 3, 6), (2, 6))
    changes: list[Operation] = []
    for each in (*places, places[0]):
        changes += declare(ground, *each).operations[-1:]
    number, generation = slot(ground)
    rounds = 100

    def change() -> None:
        with Host() as host:
            for operation in changes[1:] * rounds:
                EBPF.apply([operation], host)

    with streams(ground) as (sent, heard):
        ground.on(ground.built.nodes[0], change)
    assert slot(ground) == (number, generation + 2 * 4 * rounds)
    assert sent[1] > 20
    assert heard == [sent[0], 0]


def test_a_change_that_is_killed_anywhere_leaves_no_verdict_behind(ground: Ground) -> None:
    first = ground.built.nodes[0]
    declare(ground, 2, 4)
    (operation,) = declare(ground, 2).operations
    reached = 0
    with ground.socket(4, DGRAM) as four, ground.socket(SERVER, DGRAM) as server:
        for calls in itertools.count(1):
            declare(ground, 2, 4)
            assert arrives(four, server)

            def change() -> None:
                with Host() as host:
                    EBPF.apply([operation], host)

            status = ground.on(first, lambda calls=calls: status_of(calls, change))
            # While it is not completed, by what stands; then by what is declared, which may stand already.
            reached += arrives(four, server)
            declare(ground, 2)
            assert slot(ground)[1] % 2 == 0
            assert not arrives(four, server)
            if status != signal.SIGKILL:
                break
    assert status == 0
    # The element was there at some of the calls and not at others.
    assert 1 < reached < calls
