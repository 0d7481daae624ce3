# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding database entries: ours and pyroute2's view of the kernel are the same, in both directions."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, dump_fdb, encode_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import (
    NTF_MASTER,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
)
from ansible_collections.podnet.fabric.tests.integration.netlink import oracle
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import mac, packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

FLOOD = bytes(6)
ENTRIES = [
    FdbEntry("vx", mac("02:00:00:00:00:01"), packed("192.0.2.11")),
    FdbEntry("vx", mac("02:00:00:00:00:02"), packed("192.0.2.12"), port=4799),
    FdbEntry("vx", mac("02:00:00:00:00:03"), packed("192.0.2.13"), vni=86),
    FdbEntry("vx", mac("02:00:00:00:00:04"), packed("192.0.2.14"), port=4799, vni=86),
]
ENTRIES6 = [
    FdbEntry("vx6", mac("02:00:00:00:00:01"), packed("2001:db8::11")),
    FdbEntry("vx6", mac("02:00:00:00:00:02"), packed("2001:db8::12"), vni=87),
]


@pytest.mark.parametrize("entries", [ENTRIES, ENTRIES6], ids=["over IPv4", "over IPv6"])
def test_entries_of_ours_are_what_pyroute2_reads(node: Node, entries: list[FdbEntry]) -> None:
    dev = entries[0].dev
    node.apply(*(encode_fdb("create", entry, node.index_of) for entry in entries))
    assert sorted(dump_fdb(node.nl, node.names, node.index_of[dev])) == sorted(entries) == oracle.fdb(node, dev)
    node.apply(*(encode_fdb("delete", entry, node.index_of) for entry in entries))
    assert oracle.fdb(node, dev) == dump_fdb(node.nl, node.names, node.index_of[dev]) == []


@pytest.mark.parametrize(
    ("command", "entry"),
    [
        ("02:00:00:00:00:01 dev vx dst 192.0.2.11 self permanent", ENTRIES[0]),
        ("02:00:00:00:00:04 dev vx dst 192.0.2.14 port 4799 vni 86 self permanent", ENTRIES[3]),
        ("02:00:00:00:00:01 dev vx6 dst 2001:db8::11 self permanent", ENTRIES6[0]),
    ],
)
def test_an_entry_of_iproute2_is_what_we_read(node: Node, command: str, entry: FdbEntry) -> None:
    node.netns.run("bridge", "fdb", "add", *command.split())
    assert dump_fdb(node.nl, node.names, node.index_of[entry.dev]) == [entry]


def test_only_the_devices_own_entries_are_read(node: Node) -> None:
    node.apply(*(encode_fdb("create", entry, node.index_of) for entry in ENTRIES[:1] + ENTRIES6[:1]))
    assert dump_fdb(node.nl, node.names, node.index_of["vx"]) == ENTRIES[:1]
    assert dump_fdb(node.nl, node.names, node.index_of["vx6"]) == ENTRIES6[:1]


def test_the_bridges_entries_for_a_port_are_told_apart(node: Node) -> None:
    node.netns.ip("link", "set", "vx", "master", "br0")
    node.apply(encode_fdb("create", ENTRIES[0], node.index_of))
    learned = ENTRIES[0]._replace(dst=b"", flags=NTF_MASTER, lladdr=mac("02:00:00:00:00:77"), state=0x80)
    node.apply(encode_fdb("create", learned, node.index_of))
    found = dump_fdb(node.nl, node.names, node.index_of["vx"])
    assert [entry for entry in found if entry.flags & NTF_SELF] == ENTRIES[:1]
    assert learned.lladdr in [entry.lladdr for entry in found if not entry.flags & NTF_SELF]
    assert sorted(found) == oracle.fdb(node, "vx")


def test_replace_moves_a_mac_to_another_destination_or_makes_it(node: Node) -> None:
    moved = ENTRIES[0]._replace(dst=packed("192.0.2.99"))
    node.apply(
        encode_fdb("create", ENTRIES[0], node.index_of),
        encode_fdb("replace", moved, node.index_of),
        encode_fdb("replace", ENTRIES[1], node.index_of),
    )
    assert oracle.fdb(node, "vx") == sorted([moved, ENTRIES[1]])


def test_flooding_takes_many_destinations_by_append_and_none_by_replace(node: Node) -> None:
    flood = [FdbEntry("vx", FLOOD, packed(f"192.0.2.{last}")) for last in (21, 22)]
    node.apply(*(encode_fdb("append", entry, node.index_of) for entry in flood))
    assert sorted(dump_fdb(node.nl, node.names, node.index_of["vx"])) == flood
    ((_nth, error),) = node.nl.batch([encode_fdb("replace", flood[0], node.index_of)])
    assert error.errno == errno.EOPNOTSUPP
    node.apply(encode_fdb("delete", flood[0], node.index_of))
    assert oracle.fdb(node, "vx") == flood[1:]


ANY_ENTRY = st.builds(
    FdbEntry,
    st.just("vx"),
    st.binary(min_size=5, max_size=5).map(lambda tail: b"\x02" + tail),
    st.integers(0x0A000000, 0x0AFFFFFF).map(lambda number: number.to_bytes(4, "big")),
    state=st.just(NUD_PERMANENT | NUD_NOARP),
    flags=st.just(NTF_SELF),
    port=st.sampled_from((0, 1, 4788, 65535)),
    vni=st.sampled_from((0, 1, 0xFFFFFF)),
    vlan=st.just(0),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_ENTRY, max_size=12, unique_by=lambda entry: entry.lladdr))
def test_any_entries_read_back_as_written(node: Node, entries: list[FdbEntry]) -> None:
    node.apply(*(encode_fdb("create", entry, node.index_of) for entry in entries))
    try:
        assert sorted(dump_fdb(node.nl, node.names, node.index_of["vx"])) == sorted(entries) == oracle.fdb(node, "vx")
    finally:
        node.apply(*(encode_fdb("delete", entry, node.index_of) for entry in entries))
