# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies allow, endpoint by endpoint and direction, in a form that no packet filter's words are part of.

Endpoints that the same policies select, and that mean the same by the ports' names, share one *guard*: there are as
many guards as there are such sets of policies, however many pods there are.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Optional

from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import (
    EGRESS,
    INGRESS,
    NAMESPACE_NAME,
    IPBlock,
    PodPeer,
    Policy,
    Port,
    Rule,
    Selector,
    holds,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Range, Ranges, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Peer


Names = tuple[tuple[str, str, int], ...]
"""A pod's own ports: name, protocol and number."""


class Endpoint(NamedTuple):
    """A pod. ``addresses`` by family as numbers.

    ``interfaces`` are those of its node that belong to it, as far as that is known, ``mac`` is its own interface's.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    addresses: Mapping[int, tuple[int, ...]]
    ports: Names = ()
    interfaces: tuple[str, ...] = ()
    mac: str = ""


class PortRange(NamedTuple):
    """Ports of a protocol (tcp, udp, sctp), first and last inside."""

    protocol: str
    first: int
    last: int


Ports = Optional[tuple[PortRange, ...]]
"""Sorted, ranges of a protocol neither overlapping nor touching; None is every protocol and port."""


class Allowance(NamedTuple):
    """Peers by family that may be spoken to on these ports; a family that is missing has none, None is everybody.

    ``policies`` are those that say so: one, or of a guard of very many all of them. With ``pods`` all of the peers are
    pods, so that they are single addresses, also where these touch.
    """

    ports: Ports
    peers: Mapping[int, Ranges] | None
    policies: tuple[str, ...] = ()
    pods: bool = False


class Guard(NamedTuple):
    """What a set of policies allows in one direction. Without allowances it lets nothing through.

    ``ports`` are those of its pods for whose names the policies ask.
    """

    identity: str
    direction: str
    policies: tuple[str, ...]
    allowances: tuple[Allowance, ...]
    ports: Names = ()


class Compiled(NamedTuple):
    """Guards by identity, and which of them stands before an endpoint, by direction.

    Those that are ``prepared`` stand ready for endpoints that may come (see policy/preparation.py).
    """

    guards: Mapping[str, Guard]
    before: Mapping[str, Mapping[tuple[str, str], str]]
    prepared: Mapping[str, Guard] = {}


SEPARATE = 16
"""Up to how many policies of a guard are kept apart, to count what each allows: each takes looks of its own."""


class World:
    """Namespaces and endpoints of the whole cluster, asked for what selectors select."""

    def __init__(self, namespaces: Mapping[str, Mapping[str, str]], endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = list(endpoints)
        # Nodes are endpoints in the namespace "", which is none that a selector could select (see policy/hosts.py).
        names = {*namespaces, *(endpoint.namespace for endpoint in self.endpoints)} - {""}
        self.namespaces = {name: {**namespaces.get(name, {}), NAMESPACE_NAME: name} for name in names}
        self._inside: dict[str, list[Endpoint]] = defaultdict(list)
        for endpoint in self.endpoints:
            self._inside[endpoint.namespace].append(endpoint)
        self._selected: dict[tuple[str, PodPeer], list[Endpoint]] = {}

    def selected(self, namespace: str, peer: PodPeer) -> list[Endpoint]:
        """The endpoints that a peer of a policy in a namespace means."""
        key = (namespace if peer.namespaces is None else "", peer)
        if key not in self._selected:
            names = [namespace]
            if peer.namespaces is not None:
                names = [name for name, labels in self.namespaces.items() if holds(peer.namespaces, labels)]
            self._selected[key] = [
                endpoint for name in names for endpoint in self._inside[name] if holds(peer.pods, endpoint.labels)
            ]
        return self._selected[key]


def compile_policies(policies: Sequence[Policy], world: World, guarded: Iterable[Endpoint]) -> Compiled:
    """Compile for some endpoints; those that no policy selects in a direction have no guard there."""
    by_namespace: dict[str, list[Policy]] = defaultdict(list)
    for policy in sorted(policies, key=lambda each: (each.namespace, each.name)):
        by_namespace[policy.namespace].append(policy)
    guards: dict[str, Guard] = {}
    before: dict[str, dict[tuple[str, str], str]] = {INGRESS: {}, EGRESS: {}}
    selecting: dict[tuple[Selector, frozenset[tuple[str, str]]], bool] = {}
    for endpoint in guarded:
        labels = frozenset(endpoint.labels.items())
        own: list[Policy] = []
        for policy in by_namespace[endpoint.namespace]:
            key = (policy.selector, labels)
            if key not in selecting:
                selecting[key] = holds(policy.selector, endpoint.labels)
            if selecting[key]:
                own.append(policy)
        for direction in (INGRESS, EGRESS):
            governing = [policy for policy in own if rules_of(policy, direction) is not None]
            if not governing:
                continue
            identity = identity_of(direction, governing, endpoint.ports)
            if identity not in guards:
                guards[identity] = guard_of(identity, direction, governing, endpoint.ports, world)
            before[direction][endpoint.namespace, endpoint.name] = identity
    return Compiled(guards, before)


def rules_of(policy: Policy, direction: str) -> tuple[Rule, ...] | None:
    """What a policy says of a direction."""
    return policy.ingress if direction == INGRESS else policy.egress


def identity_of(direction: str, governing: Sequence[Policy], ports: Names) -> str:
    """The same for endpoints whose guards are the same, and from run to run as long as the policies say the same.

    Who their peers are may change meanwhile. Policies that say something else make another guard, which takes the place
    of the former one as a whole.
    """
    words = [direction, *(f"{policy.namespace}/{policy.name} {policy.digest}" for policy in governing)]
    words += in_words(asked_of(direction, governing, ports))
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def asked_of(direction: str, governing: Iterable[Policy], ports: Names) -> Names:
    """Those of a pod's own ports for whose names some policies ask that stand before it, sorted."""
    if direction != INGRESS or not ports:
        return ()
    asked = {name for policy in governing for name in names_asked(policy)}
    return tuple(sorted(port for port in ports if port[:2] in asked))


def names_asked(policy: Policy) -> set[tuple[str, str]]:
    """The names of ports that a policy asks the pods for before which it stands, with their protocols."""
    ports = (port for rule in policy.ingress or () for port in rule.ports or ())
    return {(port.name, port.protocol) for port in ports if port.name}


def in_words(ports: Names) -> list[str]:
    """A pod's own ports, each as a word."""
    return [f"{name}={protocol}/{number}" for name, protocol, number in ports]


def guard_of(identity: str, direction: str, governing: Sequence[Policy], ports: Names, world: World) -> Guard:
    """The guard that some policies make for endpoints whose ports have these names."""
    names = tuple(f"{policy.namespace}/{policy.name}" for policy in governing)
    if len(governing) > SEPARATE:
        parts = [(names, governing)]
    else:
        parts = [((name,), [policy]) for name, policy in zip(names, governing)]
    found = [allowance for own, policies in parts for allowance in _allowances(own, direction, policies, ports, world)]
    # In the order of the ports, so that a guard reads the same whoever says what.
    found.sort(key=_order)
    return Guard(identity, direction, names, tuple(found), asked_of(direction, governing, ports))


def _allowances(
    names: tuple[str, ...], direction: str, policies: Iterable[Policy], own: Names, world: World
) -> Sequence[Allowance]:
    """What some policies allow together."""
    gathered = _Gathered()
    for policy in policies:
        for rule in rules_of(policy, direction) or ():
            ports = resolved(rule.ports, own) if direction == INGRESS else numbered(rule.ports)
            if rule.peers is None:
                gathered.allow_everybody(ports)
            for peer in rule.peers or ():
                gathered.allow(ports, _ranges_of(peer, policy.namespace, world), isinstance(peer, PodPeer))
            if direction == INGRESS:
                continue
            for port in rule.ports or ():
                if port.name:
                    for number, found in _by_number(port, rule, policy.namespace, world).items():
                        gathered.allow((PortRange(port.protocol, number, number),), found, pods=True)
    return [each._replace(policies=names) for each in gathered.allowances()]


class _Gathered:
    """Peers by the ports on which they are allowed, pods apart from others."""

    def __init__(self) -> None:
        self._everybody: set[Ports] = set()
        self._peers: dict[tuple[Ports, bool], dict[int, list[Range]]] = {}

    def allow_everybody(self, ports: Ports) -> None:
        """Allow all peers on ports, of which there may be none."""
        if ports != ():
            self._everybody.add(ports)

    def allow(self, ports: Ports, peers: Mapping[int, Iterable[Range]], pods: bool) -> None:
        """Allow some, of whom there may be none so far if they are ``pods``."""
        if ports != ():
            known = self._peers.setdefault((ports, pods), {})
            for family, ranges in peers.items():
                known.setdefault(family, []).extend(ranges)

    def allowances(self) -> tuple[Allowance, ...]:
        """What is allowed, without what that covers."""
        if None in self._everybody:
            return (Allowance(None, None),)
        found = [Allowance(ports, None) for ports in self._everybody]
        found += [
            Allowance(ports, {each: merged(peers[each]) for each in sorted(peers)}, pods=pods)
            for (ports, pods), peers in self._peers.items()
            if ports not in self._everybody and (peers or pods)
        ]
        return tuple(sorted(found, key=_order))


def _order(allowance: Allowance) -> tuple[bool, tuple[PortRange, ...], bool]:
    return allowance.ports is not None, allowance.ports or (), allowance.pods


def _ranges_of(peer: Peer, namespace: str, world: World) -> Mapping[int, Iterable[Range]]:
    if isinstance(peer, IPBlock):
        return peer.ranges
    found: dict[int, list[Range]] = defaultdict(list)
    for endpoint in world.selected(namespace, peer):
        _add(found, endpoint)
    return found


def _add(found: dict[int, list[Range]], endpoint: Endpoint) -> None:
    for family, addresses in endpoint.addresses.items():
        found[family].extend((address, address) for address in addresses)


def _by_number(port: Port, rule: Rule, namespace: str, world: World) -> Mapping[int, Mapping[int, list[Range]]]:
    """A port's name, where packets leave, means each receiving pod's own number: the pods by that."""
    endpoints: Iterable[Endpoint] = world.endpoints
    if rule.peers is not None:
        # An address of an ipBlock has no names.
        pods = [peer for peer in rule.peers if isinstance(peer, PodPeer)]
        endpoints = [endpoint for peer in pods for endpoint in world.selected(namespace, peer)]
    found: dict[int, dict[int, list[Range]]] = defaultdict(lambda: defaultdict(list))
    for endpoint in endpoints:
        # One that is expected, of which only the ports are known, is none of them yet.
        for number in _numbers(port, endpoint.ports) if endpoint.addresses else ():
            _add(found[number], endpoint)
    return found


def _numbers(port: Port, own: Names) -> list[int]:
    return [number for name, protocol, number in own if (name, protocol) == (port.name, port.protocol)]


def resolved(ports: Sequence[Port] | None, own: Names) -> Ports:
    """The ports of a rule at an endpoint; empty when its own have none of those names."""
    if ports is None:
        return None
    plain = [PortRange(*port[:3]) for port in ports if not port.name]
    named = [PortRange(port.protocol, number, number) for port in ports if port.name for number in _numbers(port, own)]
    return _union(plain + named)


def numbered(ports: Sequence[Port] | None) -> Ports:
    """The ports of a rule but for those that go by names."""
    return None if ports is None else _union([PortRange(*port[:3]) for port in ports if not port.name])


def _union(ports: Iterable[PortRange]) -> tuple[PortRange, ...]:
    by_protocol: dict[str, list[Range]] = defaultdict(list)
    for port in ports:
        by_protocol[port.protocol].append((port.first, port.last))
    return tuple(
        PortRange(protocol, first, last)
        for protocol, ranges in sorted(by_protocol.items())
        for first, last in merged(ranges)
    )
