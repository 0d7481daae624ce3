# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table in libnftables' words, without a kernel."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    ADVERTISED,
    MARK,
    NftChain,
    NftMap,
    NftSet,
    pairs,
    parse,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_script import in_turn
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    CREATE,
    RECREATE,
    REPLACE,
    Operation,
    difference,
)


def read(entry: dict[str, Any]) -> NftSet:
    found, conflicts = parse([{"chain": {"name": MARK}}, {"set": entry}])
    assert not conflicts
    found_set = found["set", entry["name"]]
    assert isinstance(found_set, NftSet)
    return found_set


def test_prefixes_and_plain_addresses_are_told_apart() -> None:
    prefixes = {"name": "p", "type": "ipv4_addr", "flags": ["interval"]}
    elements = [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "192.0.2.1"]
    assert read({**prefixes, "elem": elements}) == NftSet("p", "ipv4_addr", frozenset({"10.0.0.0/8", "192.0.2.1/32"}))
    plain = {"name": "a", "type": "ipv6_addr", "elem": ["2001:db8::1"]}
    assert read(plain) == NftSet("a", "ipv6_addr", frozenset({"2001:db8::1"}), interval=False)
    assert read({"name": "e", "type": "ipv6_addr"}) == NftSet("e", "ipv6_addr", frozenset(), interval=False)


def test_a_set_that_counts_is_another_one_than_one_that_does_not() -> None:
    counted = NftSet("c", "ipv4_addr", frozenset({"192.0.2.1"}), interval=False, counted=True)
    element = {"elem": {"val": "192.0.2.1", "counter": {"packets": 3, "bytes": 84}}}
    assert read({"name": "c", "type": "ipv4_addr", "elem": [element], "stmt": [{"counter": None}]}) == counted
    assert NFTABLES.immutable(counted._replace(counted=False), counted)
    script = NFTABLES.script([Operation("nftables", CREATE, None, counted)]).splitlines()[2:]
    assert script[0] == "add set inet podnet c { type ipv4_addr; counter; }"


def test_an_elements_comment_makes_no_difference() -> None:
    noted = {"elem": {"val": "192.0.2.1", "comment": "by hand"}}
    assert read({"name": "a", "type": "ipv4_addr", "elem": [noted]}).elements == {"192.0.2.1"}
    assert read({"name": "p", "type": "ipv4_addr", "flags": ["interval"], "elem": [noted]}).elements == {"192.0.2.1/32"}


def test_ports_with_addresses_read_the_same_however_nft_tells_them() -> None:
    pair = {"name": "s", "type": ["ifname", "ipv4_addr"], "elem": [{"concat": ["veth1", "10.0.0.1"]}]}
    assert read(pair) == NftSet("s", "ifname . ipv4_addr", frozenset({"veth1 . 10.0.0.1"}), interval=False)
    # As of nft 1.0.6, and as of 1.1.2 and later; neither writes the zeros that a number begins with.
    target = {"payload": {"base": "th", "offset": 64, "len": 128}}
    since = {"typeof": {"concat": [{"meta": {"key": "iifname"}}, target]}}
    for told in (["ifname", "integer"], since):
        found = read({"name": "s", "type": told, "elem": [{"concat": ["veth1", "0x64ff9b0000000000000000000000ab"]}]})
        element = "veth1 . 0x0064ff9b0000000000000000000000ab"
        assert found == NftSet("s", ADVERTISED, frozenset({element}), interval=False)


def test_a_set_changes_by_elements_and_is_made_anew_only_for_another_type() -> None:
    before = NftSet("a", "ipv4_addr", frozenset({"192.0.2.1", "192.0.2.2"}), interval=False)
    after = before._replace(elements=frozenset({"192.0.2.2", "192.0.2.3"}))

    def script(verb: str, had: NftSet | None, wanted: NftSet) -> list[str]:
        return NFTABLES.script([Operation("nftables", verb, had, wanted)]).splitlines()[2:]

    assert not NFTABLES.immutable(before, after)
    assert script(REPLACE, before, after) == [
        "delete element inet podnet a { 192.0.2.1 }",
        "add element inet podnet a { 192.0.2.3 }",
    ]
    made = ["add set inet podnet a { type ipv4_addr; }", "add element inet podnet a { 192.0.2.2, 192.0.2.3 }"]
    assert script(CREATE, None, after) == made
    prefixes = NftSet("a", "ipv4_addr", frozenset({"10.0.0.0/8"}))
    assert NFTABLES.immutable(prefixes, after)
    assert script(RECREATE, prefixes, after) == ["delete set inet podnet a", *made]


def read_map(entry: dict[str, Any]) -> NftMap:
    found, conflicts = parse([{"chain": {"name": MARK}}, {"map": entry}])
    assert not conflicts
    found_map = found["map", entry["name"]]
    assert isinstance(found_map, NftMap)
    return found_map


def test_maps_are_read_by_the_types_of_their_parts() -> None:
    # Where there is no /etc/protocols nft tells their numbers; 6 as a port is one.
    key: dict[str, Any] = {"concat": ["10.96.0.1", 6, 6, 17]}
    types = ["ipv4_addr", "inet_proto", "inet_service", "integer"]
    entry = {
        "name": "m",
        "type": types,
        "map": "ipv4_addr . inet_service",
        "elem": [[key, {"concat": ["10.0.0.1", 6]}]],
    }
    sort, value = " . ".join(types), "ipv4_addr . inet_service"
    found = read_map(entry)
    assert (found.type, found.value, found.dynamic) == (sort, value, False)
    assert pairs(found) == [("10.96.0.1 . tcp . 6 . 17", "10.0.0.1 . 6")]
    # As nft 1.1 prints the types of such maps.
    payload = [{"payload": {"protocol": "ip", "field": "daddr"}}, {"payload": {"protocol": "tcp", "field": "dport"}}]
    numgen = {"numgen": {"mode": "random", "mod": 2, "offset": 0}}
    told = {"typeof": {"concat": [payload[0], {"meta": {"key": "l4proto"}}, payload[1], numgen]}}
    assert read_map({**entry, "type": told}) == read_map(entry)
    assert read_map({**entry, "type": told, "map": {"typeof": {"concat": payload}}}) == read_map(entry)
    timed = {"elem": {"val": {"concat": ["10.0.0.9", "udp", 53]}, "timeout": 10, "expires": 3}}
    sticky = {"name": "s", "type": types[:3], "map": "ipv4_addr", "flags": ["timeout"], "elem": [[timed, "10.0.0.1"]]}
    kept = frozenset({("10.0.0.9 . udp . 53", "10.0.0.1")})
    assert read_map(sticky) == NftMap("s", " . ".join(types[:3]), kept, "ipv4_addr", dynamic=True)
    verdicts = [
        ["10.0.0.1", {"jump": {"target": "a"}}],
        ["10.0.0.2", {"goto": {"target": "b"}}],
        ["10.0.0.3", {"drop": None}],
    ]
    said = {("10.0.0.1", "jump a"), ("10.0.0.2", "goto b"), ("10.0.0.3", "drop")}
    assert read_map({"name": "v", "type": "ipv4_addr", "map": "verdict", "elem": verdicts}) == NftMap(
        "v", "ipv4_addr", frozenset(said)
    )


def test_prefixes_within_joined_elements() -> None:
    element = {"concat": ["10.96.0.1", "tcp", 80, {"prefix": {"addr": "10.0.0.0", "len": 8}}]}
    entry = {"name": "s", "type": ["ipv4_addr", "inet_proto", "inet_service", "ipv4_addr"], "flags": ["interval"]}
    assert read({**entry, "elem": [element]}).elements == {"10.96.0.1 . tcp . 80 . 10.0.0.0/8"}


def test_what_a_map_leads_to_is_there_before_it() -> None:
    sort = "ipv4_addr . integer"
    values = NftMap("values", sort, frozenset({("10.96.0.1 . 0", "10.0.0.1")}), "ipv4_addr")
    chain = NftChain("three", "", "", 0, (NFTABLES.rule("dnat ip to ip daddr . numgen random mod 1 map @values"),))
    leads = NftMap("leads", "ipv4_addr", frozenset({("10.96.0.1", "goto three")}))
    hooked = NftChain("hook", "nat", "prerouting", -100, (NFTABLES.rule("ip daddr vmap @leads"),))
    made = [Operation("nftables", CREATE, None, obj) for obj in (hooked, leads, chain, values)]
    first, second = (NFTABLES.script(part).splitlines()[2:] for part in in_turn(made))
    assert first[0] == "add chain inet podnet three"
    assert "add map inet podnet values { typeof ip daddr . numgen random mod 2 : ip daddr; }" in first
    assert "add element inet podnet values { 10.96.0.1 . 0 : 10.0.0.1 }" in first
    assert "add element inet podnet leads { 10.96.0.1 : goto three }" in first
    # Elements that there may be many of are told to the kernel without nft.
    bare = NFTABLES.script(in_turn(made)[0], empty=True).splitlines()[2:]
    assert [line for line in first if line not in bare] == [
        "add element inet podnet values { 10.96.0.1 . 0 : 10.0.0.1 }"
    ]
    assert [line.partition(" comment")[0] for line in second] == [
        "add chain inet podnet hook { type nat hook prerouting priority -100; policy accept; }",
        "add rule inet podnet hook ip daddr vmap @leads",
    ]
    # A client whose backend has gone: it may be forgotten in the same moment, which is no reason to fail.
    sticky = NftMap("sticky", "ipv4_addr", frozenset({("10.0.0.9", "10.0.0.1")}), "ipv4_addr", dynamic=True)
    gone = [Operation("nftables", REPLACE, sticky, sticky._replace(elements=frozenset()))]
    assert NFTABLES.script(gone).splitlines()[2:] == [
        "add element inet podnet sticky { 10.0.0.9 : 10.0.0.1 }",
        "delete element inet podnet sticky { 10.0.0.9 }",
    ]


def test_an_error_tells_of_thousands_of_elements_what_a_person_reads() -> None:
    wanted = NftSet("many", "ipv4_addr", frozenset(f"10.0.{each >> 8}.{each & 255}" for each in range(20_000)), False)
    text = difference(Operation("nftables", REPLACE, wanted._replace(elements=frozenset()), wanted), NFTABLES)
    assert text.startswith("nftables: desired set many type ipv4_addr elements 10.0.0.0,")
    assert text.endswith(" characters); found set many type ipv4_addr")
    assert len(text) < 2200
    few = wanted._replace(elements=frozenset({"10.0.0.1"}))
    assert difference(Operation("nftables", REPLACE, None, few), NFTABLES) == (
        "nftables: desired set many type ipv4_addr elements 10.0.0.1; found nothing"
    )
