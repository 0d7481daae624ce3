# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled policies as sets, maps and chains of the table ``inet podnet``.

A packet of a flow that stands passes at once, but for a ping: that may have begun before a new pod's policies came, as
the pod's kernel answers it while nothing runs in the pod. The first packet of another goes through two verdict maps, by
its source and by its destination, each of which leads it to the chain of the guard there, if there is one: rules that
return it, as many as the guard knows sets of ports, each with one look into a set of peers, and a last one that drops
it. Each counts, and what is dropped is counted by its pod's address, with the element of a set. So the time that a
packet takes depends on neither the number of policies nor that of pods, and a new pod before which a guard comes that
stands already is some elements and nothing else.

``policy-forward`` sees what goes from pod to pod, also over the bridge (br_netfilter), and to and from elsewhere;
``policy-input`` what goes from a pod to its own node. What a node sends to its own pods no policy sees: probes pass.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftChain, NftMap, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS, prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Compiled,
        Endpoint,
        Guard,
        Ports,
    )
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.denials import Log

PREFIX = "policy-"
# Not policy-denied-: so were maps called once, and there is no going from one to the other by a name.
REFUSED = f"{PREFIX}refused-"
RECEIVERS = f"{PREFIX}receivers"
PRIORITY_FILTER = 0

# Family: its name in nft and the type of its addresses.
FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}

# The end of a packet that is the guarded endpoint, and the one that is its peer.
ENDS = {INGRESS: ("daddr", "saddr"), EGRESS: ("saddr", "daddr")}

STANDING = "ct state established,related accept"
STANDING_BUT_PINGS = (
    "ct state established,related meta l4proto != { icmp, ipv6-icmp } accept",
    "ct state established,related icmp type != { echo-request, timestamp-request } accept",
    "ct state established,related icmpv6 type != echo-request accept",
)
# The kernel takes any packet of a TCP connection that it does not know for its first (nf_conntrack_tcp_loose). One from
# a receiver would turn the connection round: what its policies deny would be replies from then on. Its peer's next
# packet brings back what they allow.
MIDDLE = "tcp flags & (fin | syn | rst | ack) != syn"
# Without these no IPv6 neighbour is found, by pods on a bridge nor by a node (RFC 4861, RFC 2710, RFC 3810).
NEIGHBOURS = (
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, "
    "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept"
)


class Rule(NamedTuple):
    """A rule of a guard, the policies that it is of, and the set that it looks into."""

    text: str
    policies: tuple[str, ...]
    members: NftSet | None


def render(compiled: Compiled, guarded: Iterable[Endpoint], log: Log | None = None) -> Objects:
    """The objects by (sort, name); none when nothing is guarded, nor prepared to be."""
    found: Objects = {}
    guards = {**compiled.prepared, **compiled.guards}
    for guard in guards.values():
        _add_guard(found, guard, log)
    directions = {guard.direction for guard in guards.values()}
    addresses = {(endpoint.namespace, endpoint.name): endpoint.addresses for endpoint in guarded}
    looks: dict[str, list[str]] = {INGRESS: [], EGRESS: []}
    turned: list[str] = []
    for direction in sorted(directions):
        for family, (nft, sort) in FAMILIES.items():
            elements = frozenset(
                (_text(family, address), f"jump {PREFIX}{identity}")
                for whom, identity in compiled.before[direction].items()
                for address in addresses[whom].get(family, ())
            )
            own = frozenset(address for address, _chain in elements)
            _put(found, "set", NftSet(refused(direction, family), sort, own, interval=False, counted=True))
            name = leading(direction, family)
            _put(found, "map", NftMap(name, sort, elements))
            looks[direction].append(f"{nft} {ENDS[direction][0]} vmap @{name}")
            if direction == INGRESS:
                _put(found, "set", NftSet(f"{RECEIVERS}{family}", sort, own, interval=False))
                turned.append(f"{nft} saddr @{RECEIVERS}{family} {MIDDLE} counter drop")
    for hook, rules in (("forward", [*turned, *looks[EGRESS], *looks[INGRESS]]), ("input", looks[EGRESS])):
        if rules:
            texts = map(NFTABLES.rule, [*STANDING_BUT_PINGS, NEIGHBOURS, *rules])
            _put(found, "chain", NftChain(PREFIX + hook, "filter", hook, PRIORITY_FILTER, tuple(texts)))
    return found


def rules(guard: Guard, prefix: str = PREFIX) -> list[Rule]:
    """The rules of a guard's chain but the last ones; the names of their sets begin with the prefix."""
    name = prefix + guard.identity
    found: list[Rule] = []
    for allowance in guard.allowances:
        match = _match(allowance.ports)
        if allowance.peers is None:
            found.append(Rule(f"{match}counter return", allowance.policies, None))
            continue
        for family, (nft, sort) in FAMILIES.items():
            # Where pods are meant, the first one that comes changes nothing but an element, either.
            if family not in allowance.peers and not allowance.pods:
                continue
            ranges = allowance.peers.get(family, ())
            # Single addresses are found, and changed, by hash. The name says which, for a set cannot change its sort.
            # Pods whose addresses touch stay single, so that a new one changes nothing but an element.
            plain = allowance.pods or all(first == last for first, last in ranges)
            if plain:
                singles = (each for first, last in ranges for each in range(first, last + 1))
                peers = frozenset(_text(family, each) for each in singles)
            else:
                peers = frozenset(prefixes(family, ranges))
            of_whom = () if allowance.policies == guard.policies else allowance.policies
            signature = hashlib.sha256("".join((match, *of_whom)).encode()).hexdigest()[:6]
            kind = "addresses" if allowance.pods else "singles" if plain else "prefixes"
            members = NftSet(f"{name}-{signature}-{kind}{family}", sort, peers, not plain)
            text = f"{nft} {ENDS[guard.direction][1]} @{members.name} {match}counter return"
            found.append(Rule(text, allowance.policies, members))
    return found


def leading(direction: str, family: int) -> str:
    """The map that leads from an address to the guard before it."""
    return f"{PREFIX}{direction.lower()}{family}"


def refused(direction: str, family: int) -> str:
    """The set that counts what is denied to, or of, each address."""
    return f"{REFUSED}{direction.lower()}{family}"


def _add_guard(found: Objects, guard: Guard, log: Log | None) -> None:
    made = rules(guard)
    for rule in made:
        if rule.members:
            _put(found, "set", rule.members)
    end = ENDS[guard.direction][0]
    # What is denied is counted by its pod, in a set that no change of policies touches.
    last = [f"{nft} {end} @{refused(guard.direction, family)} drop" for family, (nft, _sort) in FAMILIES.items()]
    texts = [*(rule.text for rule in made), *_logs(guard, log), *last, "counter drop"]
    _put(found, "chain", NftChain(PREFIX + guard.identity, "", "", 0, tuple(map(NFTABLES.rule, texts))))


def _logs(guard: Guard, log: Log | None) -> list[str]:
    if log is None:
        return []
    where = "level info" if log.group is None else f"group {log.group}"
    prefix = log.prefix(guard.direction)
    return [f'limit rate {log.rate} burst {log.burst} packets log prefix "{prefix}" {where}']


def _match(ports: Ports) -> str:
    """What a rule asks of protocol and port; nothing where all are allowed."""
    if ports is None:
        return ""
    texts = [
        f"{each.protocol} . {each.first}" if each.first == each.last else f"{each.protocol} . {each.first}-{each.last}"
        for each in ports
    ]
    return f"meta l4proto . th dport {{ {', '.join(texts)} }} "


def _text(family: int, address: int) -> str:
    return IP_TEXTS[address.to_bytes(BITS[family] // 8, "big")]


def _put(found: Objects, sort: str, obj: Any) -> None:
    found[sort, obj.name] = obj
