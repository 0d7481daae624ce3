# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's own guards in the table ``inet podnet``: at the input and output hooks, which no forwarded packet passes.

What always passes comes first, so that whatever follows closes nobody out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftChain, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.nftables import (
    FAMILIES,
    NEIGHBOURS,
    PRIORITY_FILTER,
    STANDING,
    rules,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Compiled, Endpoint, PortRange
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.failsafe import Needs
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Objects

PREFIX = "host-"
MEMBERSHIP = "meta l4proto igmp accept"
"""What MLD, which is among the neighbours' messages, is to IPv4 (RFC 3376)."""
# A connection that is older than connection tracking on this node is picked up by what the node itself sends next: such
# a packet tells of a connection, for without one the node's TCP sends none. One that came in would tell of nothing.
OLDER = "ct state new tcp flags & (fin | syn | rst | ack) == ack accept"
# Direction: its hook, the word for its interface, the failsafe ports' name for it, the end that is the peer.
HOOKS = {
    INGRESS: ("input", "iifname", "inbound", "saddr"),
    EGRESS: ("output", "oifname", "outbound", "daddr"),
}


class Surroundings(NamedTuple):
    """What always passes, and where guards stand: at the named interfaces, or at all when none is named."""

    failsafe: Mapping[str, Sequence[PortRange]]
    needs: Needs
    nodes: Iterable[Endpoint]
    interfaces: Sequence[str]
    bridge: str


def render(compiled: Compiled, whose: tuple[str, str], around: Surroundings) -> Objects:
    """The objects by (sort, name) for the endpoint that is this node; none when nothing guards it."""
    found: dict[tuple[str, str], NftSet | NftChain] = {}
    for direction, before in compiled.before.items():
        if whose not in before:
            continue
        guard = compiled.guards[before[whose]]
        made = rules(guard, PREFIX)
        found.update({("set", rule.members.name): rule.members for rule in made if rule.members})
        name = PREFIX + guard.identity
        texts = [*(rule.text for rule in made), "counter drop"]
        found["chain", name] = NftChain(name, "", "", 0, tuple(map(NFTABLES.rule, texts)))
        hook = HOOKS[direction][0]
        texts = [*_passing(direction, around), f"jump {name}"]
        digests = tuple(map(NFTABLES.rule, texts))
        found["chain", PREFIX + hook] = NftChain(PREFIX + hook, "filter", hook, PRIORITY_FILTER, digests)
    if found and (around.needs.ports or around.needs.ipip):
        found.update({("set", each.name): each for each in _nodes(around.nodes)})
    return found


def _passing(direction: str, around: Surroundings) -> list[str]:
    _hook, interface, failsafe, peer = HOOKS[direction]
    texts = [f'{interface} "lo" accept', STANDING, NEIGHBOURS, MEMBERSHIP]
    if direction == EGRESS:
        # A node always reaches its own pods, as probes do.
        texts += [f'{interface} "{around.bridge}" accept', OLDER]
    if around.interfaces:
        names = ", ".join(f'"{name}"' for name in sorted(around.interfaces))
        texts.append(f"{interface} != {{ {names} }} accept")
    texts += _ports("", around.failsafe[failsafe])
    for family, (nft, _sort) in FAMILIES.items():
        of_nodes = f"{nft} {peer} @{_nodes_set(family)} "
        texts += _ports(of_nodes, around.needs.ports)
        if around.needs.ipip:
            texts.append(f"{of_nodes}meta l4proto {{ 4, 41 }} accept")
    return texts


def _ports(match: str, ports: Sequence[PortRange]) -> list[str]:
    elements = ", ".join(f"{port.protocol} . {port.first}" for port in ports)
    return [f"{match}meta l4proto . th dport {{ {elements} }} accept"] if ports else []


def _nodes(nodes: Iterable[Endpoint]) -> list[NftSet]:
    elements: dict[int, set[str]] = {family: set() for family in FAMILIES}
    for node in nodes:
        for family, addresses in node.addresses.items():
            elements[family].update(IP_TEXTS[address.to_bytes(BITS[family] // 8, "big")] for address in addresses)
    return [
        NftSet(_nodes_set(family), sort, frozenset(elements[family]), interval=False)
        for family, (_nft, sort) in FAMILIES.items()
    ]


def _nodes_set(family: int) -> str:
    return f"{PREFIX}nodes{family}"
