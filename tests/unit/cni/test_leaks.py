# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on reservations, and what a block holds."""

from __future__ import annotations

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.cni.leaks import (
    HELD,
    LEAKED,
    UNKNOWN,
    Interface,
    Reservation,
    Sight,
    capacity,
    holds,
    judge,
)

ENTRY = Reservation("10.244.1.2", "c1", "eth0", 100.0)
PORT = Interface(7, 2, "podnet0", "veth", "veth7", frozenset())
ADDRESS = frozenset({bytes([10, 244, 1, 2])})
POD = Interface(2, 7, "", "veth", "eth0", ADDRESS)
UPLINK = Interface(3, 9, "", "veth", "eth0", frozenset())


@pytest.mark.parametrize(
    ("sight", "verdict"),
    [
        (Sight([PORT], {"/n": [POD]}), HELD),
        (Sight([], {"/n": []}), LEAKED),
        (Sight([PORT], {"/n": [POD._replace(addresses=frozenset())]}), LEAKED),
        (Sight([PORT], {}), UNKNOWN),
        (Sight([], {"/n": [POD]}), UNKNOWN),
        (Sight([PORT._replace(addresses=ADDRESS)], {}), UNKNOWN),
        (Sight([UPLINK], {}), LEAKED),
        (Sight([UPLINK], {}, ["/proc/1/ns/net"]), UNKNOWN),
        (Sight([], {}, ["/proc/1/ns/net"]), LEAKED),
    ],
)
def test_verdict(sight: Sight, verdict: str) -> None:
    assert judge(ENTRY, "podnet0", sight, [], 60)[0] == verdict


def test_young_or_damaged_is_never_leaked() -> None:
    assert judge(ENTRY._replace(age=59), "podnet0", Sight([], {}), [], 60)[0] == UNKNOWN
    assert judge(ENTRY._replace(container_id=""), "podnet0", Sight([], {}), [], 60)[0] == UNKNOWN


@pytest.mark.parametrize(
    ("cidr", "gateway", "size"),
    [
        ("10.244.1.0/24", "10.244.1.1", 253),
        ("10.244.1.0/30", "10.244.1.1", 1),
        ("10.244.1.0/24", "10.244.1.255", 254),
        ("fd00::/126", "fd00::1", 2),
    ],
)
def test_capacity(cidr: str, gateway: str, size: int) -> None:
    assert capacity(cidr, gateway) == size


def test_a_block_holds_its_own_family_only() -> None:
    assert holds("10.244.1.0/24", "10.244.1.200")
    assert not holds("10.244.1.0/24", "10.244.2.1")
    assert not holds("10.244.1.0/24", "fd00::1")
