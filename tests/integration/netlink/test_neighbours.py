# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbours: ours and pyroute2's view of the kernel are the same, in both directions."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import (
    NTF_ROUTER,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_REACHABLE,
    NUD_STALE,
    Neighbour,
    dump_neighbours,
    encode_neighbour,
)
from ansible_collections.podnet.fabric.tests.integration.netlink import oracle
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import mac, packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

NEIGHBOURS = [
    Neighbour("vx", packed("10.1.0.0"), mac("02:00:00:00:00:01")),
    Neighbour("vx", packed("fd01::"), mac("02:00:00:00:00:01")),
    Neighbour("vx", packed("10.2.0.0"), mac("02:00:00:00:00:02"), NUD_NOARP),
    Neighbour("vx", packed("10.3.0.0"), mac("02:00:00:00:00:03"), NUD_STALE),
    Neighbour("vx", packed("10.4.0.0"), mac("02:00:00:00:00:04"), NUD_REACHABLE),
    Neighbour("vx", packed("fd02::"), mac("02:00:00:00:00:05"), NUD_PERMANENT, NTF_ROUTER),
]


def _unicast(neighbours: list[Neighbour]) -> list[Neighbour]:
    """Without those that the kernel makes for its multicast reports whenever it likes."""
    return sorted(entry for entry in neighbours if entry.dst[0] != 0xFF and entry.dst[0] >> 4 != 0xE)


def test_neighbours_of_ours_are_what_pyroute2_reads(node: Node) -> None:
    node.apply(*(encode_neighbour("create", neighbour, node.index_of) for neighbour in NEIGHBOURS))
    assert _unicast(oracle.neighbours(node, "vx")) == sorted(NEIGHBOURS)
    assert _unicast(dump_neighbours(node.nl, node.names, node.index_of["vx"])) == sorted(NEIGHBOURS)
    node.apply(*(encode_neighbour("delete", neighbour, node.index_of) for neighbour in NEIGHBOURS))
    assert _unicast(oracle.neighbours(node, "vx")) == []


@pytest.mark.parametrize(
    ("dst", "nud", "state"),
    [
        ("10.1.0.0", "permanent", NUD_PERMANENT),
        ("10.1.0.0", "noarp", NUD_NOARP),
        ("10.1.0.0", "stale", NUD_STALE),
        ("fd01::", "permanent", NUD_PERMANENT),
    ],
)
def test_a_neighbour_of_iproute2_is_what_we_read(node: Node, dst: str, nud: str, state: int) -> None:
    node.netns.ip("neighbour", "add", dst, "lladdr", "02:00:00:00:00:01", "dev", "vx", "nud", nud)
    expected = Neighbour("vx", packed(dst), mac("02:00:00:00:00:01"), state)
    assert _unicast(dump_neighbours(node.nl, node.names, node.index_of["vx"])) == [expected]


def test_replace_changes_the_mac_and_makes_what_is_missing(node: Node) -> None:
    moved = NEIGHBOURS[0]._replace(lladdr=mac("02:00:00:00:00:99"))
    node.apply(
        encode_neighbour("create", NEIGHBOURS[0], node.index_of),
        encode_neighbour("replace", moved, node.index_of),
        encode_neighbour("replace", NEIGHBOURS[1], node.index_of),
    )
    assert _unicast(oracle.neighbours(node, "vx")) == sorted([moved, NEIGHBOURS[1]])


@pytest.mark.parametrize("dst", ["192.0.2.99", "fe80::99"])
def test_a_neighbour_that_nobody_answers_for_is_read_and_deleted(node: Node, dst: str) -> None:
    node.netns.ip("neighbour", "add", dst, "dev", "v0", "nud", "incomplete")
    (found,) = (entry for entry in dump_neighbours(node.nl, node.names) if entry.dst == packed(dst))
    assert found.lladdr == b""
    node.apply(encode_neighbour("delete", found, node.index_of))
    assert packed(dst) not in [entry.dst for entry in oracle.neighbours(node, "v0")]


def test_the_kernel_filters_by_device_and_by_family(node: Node) -> None:
    elsewhere = NEIGHBOURS[0]._replace(dev="br0")
    node.apply(*(encode_neighbour("create", neighbour, node.index_of) for neighbour in [*NEIGHBOURS[:2], elsewhere]))
    index = node.index_of["vx"]
    assert _unicast(dump_neighbours(node.nl, node.names, index, socket.AF_INET)) == [NEIGHBOURS[0]]
    assert _unicast(dump_neighbours(node.nl, node.names, index, socket.AF_INET6)) == [NEIGHBOURS[1]]
    assert _unicast(dump_neighbours(node.nl, node.names, index)) == sorted(NEIGHBOURS[:2])
    assert _unicast(dump_neighbours(node.nl, node.names)) == sorted([*NEIGHBOURS[:2], elsewhere])


ANY_NEIGHBOUR = st.builds(
    Neighbour,
    st.sampled_from(("vx", "v0", "br0")),
    st.one_of(
        st.integers(0x0A000000, 0x0AFFFFFF).map(lambda number: number.to_bytes(4, "big")),
        st.integers(0xFD << 120, (0xFE << 120) - 1).map(lambda number: number.to_bytes(16, "big")),
    ),
    st.binary(min_size=6, max_size=6),
    st.sampled_from((NUD_PERMANENT, NUD_NOARP)),
    st.sampled_from((0, NTF_ROUTER)),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_NEIGHBOUR, max_size=12, unique_by=lambda entry: entry[:2]))
def test_any_neighbours_read_back_as_written(node: Node, neighbours: list[Neighbour]) -> None:
    # Of IPv4's neighbours none is a router: the kernel keeps the flag of IPv6's only.
    neighbours = [entry._replace(flags=0) if len(entry.dst) == 4 else entry for entry in neighbours]
    node.apply(*(encode_neighbour("create", neighbour, node.index_of) for neighbour in neighbours))
    try:
        for dev in ("vx", "v0", "br0"):
            made = sorted(entry for entry in neighbours if entry.dev == dev)
            assert _unicast(dump_neighbours(node.nl, node.names, node.index_of[dev])) == made
            assert _unicast(oracle.neighbours(node, dev)) == made
    finally:
        node.apply(*(encode_neighbour("delete", neighbour, node.index_of) for neighbour in neighbours))
