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
    ((text, _whose, one),), ((same, _also, three),) = rules((0x0A000002,)), rules((0x0A000002, 0x0A000003, 0x0A000004))
    assert one is not None
    assert not one.interval
    assert text == same
    assert three == one._replace(elements=frozenset({"10.0.0.2", "10.0.0.3", "10.0.0.4"}))


def test_pods_and_blocks_together_are_as_few_prefixes_as_can_be() -> None:
    ((_text, _whose, members),) = rules((0x0A000002, 0x0A000003), {"ipBlock": {"cidr": "10.0.0.0/31"}})
    assert members is not None
    assert members.interval
    assert members.elements == {"10.0.0.0/30"}
