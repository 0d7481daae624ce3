# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packets meet while policies and their backends change, and where there are many guards."""

from __future__ import annotations

import os
import select
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND

from . import crossing
from .crossing import OPEN, SHUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Namespace
    from tests.integration.resources.conftest import Node

NFTABLES = {"backend": "nftables"}
IPTABLES_NFT = {"backend": "iptables", "iptables_flavour": "nft"}
IPTABLES_LEGACY = {"backend": "iptables", "iptables_flavour": "legacy"}
PODS = 40
REPLACEMENTS = int(os.environ.get("PODNET_TEST_REPLACEMENTS", "7"))


@pytest.fixture
def made(netns: Namespace) -> Iterator[crossing.Crossing]:
    built = crossing.build(netns, PODS)
    try:
        yield built
    finally:
        crossing.remove(netns, built)


def policy(name: str, selected: dict[str, str], port: int, peers: list[dict[str, Any]]) -> dict[str, Any]:
    ports = [{"protocol": "UDP", "port": port}]
    ingress = [{"from": peers, "ports": ports}]
    return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": selected}, "ingress": ingress}}


def pods(labels: dict[str, str] | None = None, step: int = 1) -> list[dict[str, Any]]:
    """All pods, of which the first and every ``step``-th after it have these labels."""
    return [
        {
            "name": f"pod{place}",
            "node": "here",
            "addresses": crossing.addresses(place),
            "labels": (labels or {}) if place % step == 0 else {},
        }
        for place in range(PODS)
    ]


ANYWHERE = [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]
BLOCKS = [{"ipBlock": {"cidr": "10.9.0.0/16"}}, {"ipBlock": {"cidr": "fd00:9::/32"}}]
HOST = [{"ipBlock": {"cidr": "10.9.0.2/32"}}, {"ipBlock": {"cidr": "fd00:9::2/128"}}]
EMPTY: list[dict[str, Any]] = [{"podSelector": {"matchLabels": {"none": "such"}}}]


def worlds() -> list[dict[str, Any]]:
    """In each the first pod hears the same, each time for another reason, among others that move with it or do not."""
    web = {"app": "web"}
    steps = [
        ([policy("a", {}, OPEN, BLOCKS)], pods()),
        ([policy("a", {}, OPEN, HOST), policy("c", web, 7, EMPTY)], pods(web, 2)),
        ([policy("b", {}, OPEN, ANYWHERE), policy("c", web, 7, EMPTY)], pods(web, 3)),
        ([policy("b", web, OPEN, HOST), policy("d", {}, 7, EMPTY)], pods(web)),
    ]
    return [
        {"node": "here", "namespaces": {}, "policies": policies, "endpoints": endpoints}
        for policies, endpoints in steps
    ]


@pytest.mark.parametrize("attach", [False, True], ids=["declared", "attached"])
@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_no_packet_has_a_wrong_verdict_while_policies_change(
    node: Node, made: crossing.Crossing, flavour: str, attach: bool
) -> None:
    chosen = {"backend": "iptables", "iptables_flavour": flavour, "attach": attach}
    node.declare(KIND, "podnet", {**worlds()[0], **chosen})
    with crossing.Traffic(made, crossing.addresses(0)) as traffic:
        for world in islice(cycle(worlds()), 1, REPLACEMENTS + 1):
            assert node.declare(KIND, "podnet", {**world, **chosen}).changed
    assert traffic.sent > 50
    assert (traffic.lost, traffic.leaked) == (0, 0)


def test_no_packet_has_a_wrong_verdict_while_the_backend_changes(node: Node, made: crossing.Crossing) -> None:
    world = worlds()[2]
    row = [NFTABLES, IPTABLES_NFT, NFTABLES, IPTABLES_LEGACY, IPTABLES_NFT, IPTABLES_LEGACY, NFTABLES]
    node.declare(KIND, "podnet", {**world, **row[0]})
    with crossing.Traffic(made, crossing.addresses(0)) as traffic:
        for before, after in pairwise(row):
            result = node.declare(KIND, "podnet", {**world, **after})
            gone = {each.facility for each in result.operations if each.verb == "delete"}
            assert ("nftables" if before == NFTABLES else "iptables") in gone
            assert not node.declare(KIND, "podnet", {**world, **after}).changed
    assert traffic.sent > 50
    assert (traffic.lost, traffic.leaked) == (0, 0)
    assert "PODNET" not in node.namespace.run("iptables-nft-save") + node.namespace.run("iptables-legacy-save")
    assert node.namespace.run("ipset", "list", "-n") == ""


@pytest.mark.parametrize("backend", [IPTABLES_NFT, IPTABLES_LEGACY], ids=["nft", "legacy"])
def test_each_of_many_pods_is_led_to_its_own_guard(
    node: Node, made: crossing.Crossing, backend: dict[str, Any]
) -> None:
    endpoints = [{**pod, "labels": {"pod": pod["name"]}} for pod in pods()]
    policies = [policy(pod["name"], pod["labels"], OPEN + place % 2, HOST) for place, pod in enumerate(endpoints)]
    world = {"node": "here", "namespaces": {}, "policies": policies, "endpoints": endpoints}
    node.declare(KIND, "podnet", {**world, **backend})
    ends = [(address, port) for place in range(PODS) for address in crossing.addresses(place) for port in (OPEN, SHUT)]
    sockets = crossing.listen(made, ends)
    try:
        with namespace.inside(made.outside):
            for address, port in ends:
                with crossing.udp(address) as sender:
                    sender.sendto(b"", (address, port))
        wanted = {(address, OPEN + place % 2) for place in range(PODS) for address in crossing.addresses(place)}
        arrived: set[tuple[str, int]] = set()
        while True:
            ready, _writable, _failed = select.select([*sockets.values()], [], [], 0.3)
            if not ready:
                break
            for end, each in sockets.items():
                if each in ready:
                    each.recv(64)
                    arrived.add(end)
    finally:
        for each in sockets.values():
            each.close()
    assert arrived == wanted
    saved = node.namespace.run(f"iptables-{backend['iptables_flavour']}-save").splitlines()
    chains = [line.split()[1] for line in saved if line.startswith("-A PODNET-")]
    assert chains.count("PODNET-POLICY-INGRESS") <= 16
    assert max(map(chains.count, chains)) <= 16
