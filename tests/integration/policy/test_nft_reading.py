# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our table is read from the kernel as nft tells it, and changed in place so that nobody else's change is missed."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_objects, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    BRIDGE_TABLE,
    MARK,
    TABLE,
    NftSet,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nf_tables import UnknownForm
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import REPLACE, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Namespace

TYPES: dict[str, Any] = {"ipv4_addr": ipaddress.IPv4Network, "ipv6_addr": ipaddress.IPv6Network}
# Near one another, so that they touch, and at both ends of all addresses.
NUMBERS: dict[str, Any] = {
    "ipv4_addr": st.sampled_from([0, (1 << 32) - 1]) | st.integers(0x0A000000, 0x0A00003F),
    "ipv6_addr": st.sampled_from([0, (1 << 128) - 1, 0xFFFF01020304]) | st.integers(0xFD << 120, (0xFD << 120) + 63),
}
LEAST = {"ipv4_addr": 26, "ipv6_addr": 122}
FOREIGN = (
    'add element inet podnet plain { 192.0.2.9 comment "by hand" }',
    "add set inet podnet ports { type inet_service; elements = { 80 } ; }",
    "add set inet podnet soon { type ipv4_addr; flags timeout; elements = { 192.0.2.8 timeout 1h } ; }",
    "add set inet podnet odd { type ipv4_addr; flags interval; elements = { 192.0.2.8-192.0.2.10 } ; }",
    "add set inet podnet pairs { type ipv4_addr . inet_service; elements = { 192.0.2.8 . 80 } ; }",
    "add set inet podnet slow { type ipv4_addr; limit rate 1/second ; elements = { 192.0.2.8 } ; }",
    "add counter inet podnet drops",
    "add map inet podnet away { type ipv4_addr : verdict; elements = { 192.0.2.8 : drop } ; }",
    "add map inet podnet to { type ipv4_addr : ipv4_addr; elements = { 192.0.2.8 : 192.0.2.9 } ; }",
    "add rule inet podnet sub accept",
    'insert rule inet podnet sub drop comment "another\'s"',
)


@st.composite
def sets(draw: st.DrawFn, name: str) -> list[str]:
    """Lines that make a set of addresses, of prefixes, or a map to chains."""
    sort = draw(st.sampled_from(list(TYPES)))
    form = draw(st.sampled_from(["addresses", "counted", "prefixes", "verdicts"]))
    numbers = draw(st.lists(NUMBERS[sort], max_size=12, unique=True))
    address = ipaddress.IPv4Address if sort == "ipv4_addr" else ipaddress.IPv6Address
    if form == "prefixes":
        networks = [TYPES[sort]((number, draw(st.integers(LEAST[sort], TYPES[sort](0).max_prefixlen))), strict=False)
                    for number in numbers]  # fmt: skip
        whole = draw(st.integers(0, 9)) == 0
        kept = [TYPES[sort]((0, 0))] if whole else list(ipaddress.collapse_addresses(networks))
        # Halves, that touch but are two.
        elements = [str(part) for each in kept for part in (each.subnets() if draw(st.booleans()) else [each])]
        kind, extra = "set", " flags interval;"
    else:
        kind, extra = ("map", "") if form == "verdicts" else ("set", " counter;" if form == "counted" else "")
        elements = [f"{address(number)}{' : jump sub' if kind == 'map' else ''}" for number in numbers]
    words = f"type {sort}{' : verdict' if kind == 'map' else ''};{extra}"
    lines = [f"add {kind} {TABLE} {name} {{ {words} }}"]
    return lines + ([f"add element {TABLE} {name} {{ {', '.join(elements)} }}"] if elements else [])


@st.composite
def tables(draw: st.DrawFn) -> list[str]:
    lines = [f"add table {TABLE}", f"add chain {TABLE} {MARK}", f"add chain {TABLE} sub"]
    lines.append(f"add set {TABLE} plain {{ type ipv4_addr; }}")
    for number in range(draw(st.integers(0, 3))):
        lines += draw(sets(f"s{number}"))
    for hook in draw(st.lists(st.sampled_from(["input", "forward", "prerouting", "postrouting"]), unique=True)):
        priority = draw(st.sampled_from([-300, -1, 0, 100]))
        lines.append(f"add chain {TABLE} {hook} {{ type filter hook {hook} priority {priority}; policy accept; }}")
        for place in range(draw(st.integers(0, 5))):
            verb = draw(st.sampled_from(["add", "insert"]))
            lines.append(f'{verb} rule {TABLE} {hook} ip saddr @plain accept comment "podnet:{place}"')
    return lines


@pytest.fixture
def table(netns: Namespace) -> Iterator[Namespace]:
    nft_reading.forget()
    lines = [f"add table {TABLE}", f"add chain {TABLE} {MARK}", f"add set {TABLE} a {{ type ipv4_addr; }}"]
    lines.append(f"add element {TABLE} a {{ 192.0.2.1, 192.0.2.2 }}")
    netns.run("nft", "-f", "-", stdin="\n".join(lines) + "\n")
    yield netns
    nft_reading.forget()


def a_with(*last: int) -> NftSet:
    return NftSet("a", "ipv4_addr", frozenset(f"192.0.2.{number}" for number in last), interval=False)


def change(before: NftSet, after: NftSet) -> None:
    with Host() as host:
        NFTABLES.apply([Operation("nftables", REPLACE, before, after)], host)


def told_by_nft(netns: Namespace) -> set[str]:
    assert netns is not None
    elements: frozenset[str] = nft_objects.observe()[0]["set", "a"].elements
    return set(elements)


def test_what_is_read_is_what_nft_tells(netns: Namespace) -> None:
    natively = []

    @settings(
        max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(tables(), st.lists(st.sampled_from(FOREIGN), max_size=1))
    def alike(lines: list[str], foreign: list[str]) -> None:
        netns.run("nft", "-f", "-", stdin="\n".join(["flush ruleset", *lines, *foreign]) + "\n")
        nft_reading.forget()
        assert nft_reading.observe() == nft_objects.observe()
        assert nft_reading.observe() == nft_objects.observe(), "from memory"
        try:
            with open_netfilter() as nl:
                nft_reading.read(nl)
            natively.append(not foreign)
        except UnknownForm:
            assert foreign, "nft had to be asked for what we make ourselves"

    alike()
    assert sum(natively) >= 10


@pytest.mark.parametrize("line", FOREIGN)
def test_what_is_not_ours_is_seen(netns: Namespace, line: str) -> None:
    lines = [f"add table {TABLE}", f"add chain {TABLE} {MARK}", f"add chain {TABLE} sub"]
    netns.run("nft", "-f", "-", stdin="\n".join([*lines, f"add set {TABLE} plain {{ type ipv4_addr; }}"]) + "\n")
    before = nft_reading.observe()
    netns.run("nft", "-f", "-", stdin=f"{line}\n")
    assert nft_reading.observe() == nft_objects.observe()
    assert nft_reading.observe() != before or "counter" in line


def test_a_table_of_somebody_else_is_a_conflict(netns: Namespace) -> None:
    assert nft_reading.observe() == ({}, [])
    netns.run("nft", "add", "table", *TABLE.split())
    found, conflicts = nft_reading.observe()
    assert found == {}
    assert len(conflicts) == 1


def test_elements_change_in_place_and_the_change_of_another_is_seen(table: Namespace) -> None:
    assert nft_reading.observe()[0]["set", "a"] == a_with(1, 2)
    change(a_with(1, 2), a_with(2, 3))
    assert told_by_nft(table) == {"192.0.2.2", "192.0.2.3"}
    assert nft_reading.observe() == nft_objects.observe()
    table.run("nft", "add", "element", *TABLE.split(), "a", "{ 192.0.2.7 }")
    assert nft_reading.observe()[0]["set", "a"] == a_with(2, 3, 7)
    # One that comes between our look and our change.
    table.run("nft", "add", "element", *TABLE.split(), "a", "{ 192.0.2.8 }")
    change(a_with(2, 3, 7), a_with(2, 3))
    assert nft_reading.observe()[0]["set", "a"] == a_with(2, 3, 8)


def test_a_change_that_is_refused_has_changed_nothing(table: Namespace) -> None:
    nft_reading.observe()
    table.run("nft", "delete", "element", *TABLE.split(), "a", "{ 192.0.2.1 }")
    with pytest.raises(ApplyError, match="replace set a"):
        change(a_with(1, 2), a_with(2, 3))
    assert told_by_nft(table) == {"192.0.2.2"}
    assert nft_reading.observe()[0]["set", "a"] == a_with(2)


def test_many_elements_at_once_are_left_to_nft(table: Namespace) -> None:
    wanted = frozenset(str(ipaddress.ip_address(0x0A000000 + number)) for number in range(3000))
    change(a_with(1, 2), NftSet("a", "ipv4_addr", wanted, interval=False))
    assert told_by_nft(table) == wanted
    assert nft_reading.observe() == nft_objects.observe()


def test_two_nodes_in_one_process_are_not_taken_for_each_other(table: Namespace) -> None:
    assert nft_reading.observe()[0]["set", "a"] == a_with(1, 2)
    name = "nft-reading-other"
    table.ip("netns", "add", name)
    try:
        with namespace.inside(name):
            assert nft_reading.observe() == ({}, [])
        assert nft_reading.observe()[0]["set", "a"] == a_with(1, 2)
    finally:
        table.ip("netns", "delete", name)


def test_the_other_table_is_read_when_it_comes_changes_and_goes(table: Namespace) -> None:
    assert nft_reading.observe(BRIDGE_TABLE) == ({}, [])
    lines = [f"add table {BRIDGE_TABLE}", f"add chain {BRIDGE_TABLE} {MARK}", f"add chain {BRIDGE_TABLE} sub"]
    lines.append(f"add map {BRIDGE_TABLE} ports {{ type ifname : verdict; }}")
    lines.append(f'add element {BRIDGE_TABLE} ports {{ "pod0" : jump sub }}')
    for line in lines:
        table.run("nft", "-f", "-", stdin=f"{line}\n")
        assert nft_reading.observe(BRIDGE_TABLE) == nft_objects.observe(BRIDGE_TABLE)
    nft_reading.observe()
    change(a_with(1, 2), a_with(2, 3))
    assert nft_reading.observe() == nft_objects.observe()
    assert nft_reading.observe(BRIDGE_TABLE) == nft_objects.observe(BRIDGE_TABLE)
    table.run("nft", "delete", "table", *BRIDGE_TABLE.split())
    assert nft_reading.observe(BRIDGE_TABLE) == ({}, [])
