# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel's bytes say is what is read, however they are cut into datagrams."""

from __future__ import annotations

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.answer import Answer
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link, dump_links
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import Nexthop, dump_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes
from ansible_collections.podnet.fabric.tests.unit.netlink import recorded
from ansible_collections.podnet.fabric.tests.unit.netlink.recorded import DONE, NAMES, READERS, SAID, Recorded


@pytest.mark.parametrize("kind", SAID)
def test_recorded_bytes_are_read(kind: str) -> None:
    read = READERS[kind](Recorded(recorded.DATAGRAMS[kind] + DONE))
    assert sorted(read) == sorted(SAID[kind])  # type: ignore[type-var]


@pytest.mark.parametrize("kind", SAID)
def test_the_end_may_come_in_a_datagram_of_its_own(kind: str) -> None:
    read = READERS[kind](Recorded(recorded.DATAGRAMS[kind], recorded.DATAGRAMS[kind], DONE))
    assert sorted(read) == sorted([*SAID[kind], *SAID[kind]])  # type: ignore[type-var]


@pytest.mark.parametrize("kind", READERS)
def test_an_empty_dump_is_an_empty_table(kind: str) -> None:
    assert READERS[kind](Recorded(DONE)) == []


def test_a_link_is_read() -> None:
    (link,) = dump_links(Recorded(recorded.LINK + DONE))
    assert link == Link(
        index=4,
        name="vx",
        kind="vxlan",
        mtu=1450,
        mac=bytes((2, 0, 0, 0, 0, 1)),
        alias="",
        up=True,
        master="",
        parent="vx",
        carrier=True,
        data={
            "id": 84,
            "link": 4,
            "local": bytes((192, 0, 2, 1)),
            "learning": False,
            "port": 4789,
            "ttl": 0,
        },
    )


def test_a_type_of_attribute_that_is_not_known_is_no_obstacle() -> None:
    longer = bytearray(recorded.NEXTHOP + bytes.fromhex("0600 ff3f abcd 0000"))
    longer[0] += 8
    read = dump_nexthops(Recorded(recorded.NEXTHOP + bytes(longer) + recorded.NEXTHOP + DONE), NAMES)
    assert read == [Nexthop(0x54000001, 2, "vx", recorded.GATEWAY, 4, 84)] * 3


def test_messages_of_one_length_that_differ_in_an_attribute_are_told_apart() -> None:
    # RTA_PRIORITY (6) and RTA_PREFSRC (7) have the same size.
    start = bytes.fromhex("34000000 1800 0200 54000000 89030000 02 18 00 00 fe 54 00 06 00000000")
    same = bytes.fromhex("0800 0f00 fe000000 0800 0100 0a090000")
    by_metric = start + same + bytes.fromhex("0800 0600 09000000")
    by_source = start + same + bytes.fromhex("0800 0700 0a090001")
    expected = Route(2, bytes((10, 9, 0, 0)), 24, protocol=84, type=6)
    read = dump_routes(Recorded(by_metric + by_source + by_metric + DONE), NAMES, 2)
    assert sorted(read) == sorted(
        [expected._replace(metric=9), expected._replace(metric=9), expected._replace(prefsrc=bytes((10, 9, 0, 1)))]
    )


def test_messages_of_an_earlier_request_are_ignored() -> None:
    stale = bytearray(recorded.NEXTHOP)
    stale[8] = 0x53
    assert (
        len(dump_nexthops(Recorded(bytes(stale), recorded.NEXTHOP + bytes(stale) + recorded.NEXTHOP, DONE), NAMES)) == 2
    )


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_an_interruption_is_seen_wherever_it_is_marked(position: int) -> None:
    messages = [recorded.NEXTHOP] * 3 + [DONE]
    marked = bytearray(messages[position])
    marked[6] |= 0x10  # NLM_F_DUMP_INTR
    messages[position] = bytes(marked)
    answer = Answer(recorded.SEQUENCE)
    assert answer.add(b"".join(messages))
    assert answer.interrupted


def test_undisturbed_dumps_are_not_taken_for_interrupted_ones() -> None:
    answer = Answer(recorded.SEQUENCE)
    assert answer.add(recorded.NEXTHOP * 3 + DONE)
    assert not answer.interrupted
