# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table in libnftables' words, without a kernel."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    ADVERTISED,
    MARK,
    NftSet,
    parse,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import CREATE, RECREATE, REPLACE, Operation


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
