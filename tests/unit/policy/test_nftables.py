# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which sets nftables looks for peers."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import nftables
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint, World, compile_policies

DB = Endpoint("default", "db", {"app": "db"}, {4: (1,)})


def rules(addresses: tuple[int, ...], *more: dict[str, Any]) -> list[nftables.Rule]:
    """Those of a guard that allows the pods with these addresses, and more."""
    peers = [{"podSelector": {"matchLabels": {"app": "web"}}}, *more]
    spec = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": peers}]}
    policy = documents.read({"metadata": {"name": "database", "namespace": "default"}, "spec": spec})
    web = Endpoint("default", "web", {"app": "web"}, {4: addresses})
    (guard,) = compile_policies([policy], World({}, [DB, web]), [DB]).guards.values()
    return nftables.rules(guard)


def test_a_pod_beside_another_is_one_more_element() -> None:
    one, three = rules((0x0A000002,))[0], rules((0x0A000002, 0x0A000003, 0x0A000004))[0]
    assert one.members is not None
    assert not one.members.interval
    assert one.text == three.text
    assert three.members == one.members._replace(elements=frozenset({"10.0.0.2", "10.0.0.3", "10.0.0.4"}))


def test_the_first_pod_that_is_meant_is_one_more_element() -> None:
    none, one = rules(()), rules((0x0A000002,))
    assert [rule.text for rule in none] == [rule.text for rule in one]
    assert {rule.members.type for rule in none if rule.members} == {"ipv4_addr", "ipv6_addr"}


def test_pods_beside_blocks_stay_elements() -> None:
    blocks = {"ipBlock": {"cidr": "10.0.0.0/31"}}, {"ipBlock": {"cidr": "10.0.0.2/31"}}
    found = [rule.members for rule in rules((0x0A000002, 0x0A000003), *blocks) if rule.members]
    assert [(each.interval, set(each.elements)) for each in found if each.type == "ipv4_addr"] == [
        (True, {"10.0.0.0/30"}),
        (False, {"10.0.0.2", "10.0.0.3"}),
    ]
    # Of one address each: another set, nevertheless.
    found = [rule.members for rule in rules((0x0A000002,), {"ipBlock": {"cidr": "10.0.0.9/32"}}) if rule.members]
    assert len({each.name for each in found}) == len(found) == 3
