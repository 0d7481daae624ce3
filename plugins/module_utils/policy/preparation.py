# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guards for pods that are not there yet, so that the chained plugin podnet-attach only has to lead a new one there.

Those are expected that some policies select as they do a pod of the cluster; then one with no more labels than a policy
asks for, and one with no more than two policies of a namespace do, or three, or four. Where policies ask for the names
of ports, each of them without any, and with those of any pod of its namespace. A pod of another sort takes a reconcile,
once.

Which guards there are depends on the sorts of pods alone: that one more of a sort has come changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, islice
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    SEPARATE,
    asked_of,
    guard_of,
    identity_of,
    rules_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import (
    EGRESS,
    INGRESS,
    IPBlock,
    Policy,
    holds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Guard, Names, World

MOST_GUARDS = 64
MOST_PEERS = 16384
"""Pods and prefixes in the sets of all of them."""
MOST_GROUPS = 1024
"""Of two policies and more that are thought of; most make no other guard than each of them."""
LARGEST = 4
"""Policies in a group: of five there are too many groups for there to be room."""

Governing = tuple[str, tuple[Policy, ...], "Names"]
"""A direction, the policies that select a pod there, and its own ports where these ask for names."""


def prepared(policies: Iterable[Policy], world: World) -> dict[str, Guard]:
    """Guards by identity."""
    found: dict[str, Guard] = {}
    room = MOST_PEERS
    for direction, governing, ports in _expected(policies, world):
        if len(found) == MOST_GUARDS:
            break
        takes = sum(_peers(policy, direction, world) for policy in governing)
        if takes <= room and _is_of_elements(governing, direction):
            room -= takes
            identity = identity_of(direction, governing, ports)
            found[identity] = guard_of(identity, direction, governing, ports, world)
    return found


def _is_of_elements(governing: Sequence[Policy], direction: str) -> bool:
    """Whether a pod that one of these policies means changes nothing but elements of sets.

    Where packets leave, a port's name means another number with each of them, and of very many policies some may mean
    it together.
    """
    rules = (rule for policy in governing for rule in policy.egress or ()) if direction == EGRESS else ()
    return len(governing) <= SEPARATE and not any(port.name for rule in rules for port in rule.ports or ())


def _expected(policies: Iterable[Policy], world: World) -> Iterator[Governing]:
    """Each once, the likeliest first."""
    inside: dict[str, list[Policy]] = defaultdict(list)
    for policy in sorted(policies, key=lambda each: (each.namespace, each.name)):
        inside[policy.namespace].append(policy)
    seen: set[tuple[str, tuple[str, ...], Names]] = set()
    for sort in _sorts(inside, world):
        for direction, governing, ports in sort:
            key = (direction, tuple(f"{policy.namespace}/{policy.name}" for policy in governing), ports)
            if governing and key not in seen:
                seen.add(key)
                yield direction, governing, ports


def _sorts(inside: Mapping[str, Sequence[Policy]], world: World) -> Iterator[list[Governing]]:
    known: dict[str, set[tuple[frozenset[tuple[str, str]], Names]]] = defaultdict(set)
    keys = {
        namespace: {requirement.key for policy in own for requirement in policy.selector}
        for namespace, own in inside.items()
    }
    for endpoint in world.endpoints:
        asked = keys.get(endpoint.namespace)
        if asked is not None:
            # Other labels make no difference, and each pod may have some of its own.
            labels = endpoint.labels
            relevant = frozenset((key, labels[key]) for key in asked if key in labels)
            ports = asked_of(INGRESS, inside[endpoint.namespace], endpoint.ports)
            known[endpoint.namespace].add((relevant, ports))
    yield from sorted(
        (
            _governed(inside[namespace], dict(labels), ports)
            for namespace, some in known.items()
            for labels, ports in some
        ),
        key=lambda sort: [
            ([(policy.namespace, policy.name) for policy in governing], ports) for _direction, governing, ports in sort
        ],
    )
    ways = {namespace: sorted({ports for _labels, ports in known[namespace] if ports}) for namespace in inside}
    for own in inside.values():
        for policy in own:
            yield from _with_ports(own, _least(policy), ways[policy.namespace])
    sizes = range(2, LARGEST + 1)
    groups = (group for size in sizes for own in inside.values() for group in combinations(own, size))
    for group in islice(groups, MOST_GROUPS):
        labels = {key: value for policy in group for key, value in _least(policy).items()}
        namespace = group[0].namespace
        yield from _with_ports(inside[namespace], labels, ways[namespace])


def _with_ports(
    own: Sequence[Policy], labels: Mapping[str, str], several: Sequence[Names]
) -> Iterator[list[Governing]]:
    """What stands before a pod with these labels, without named ports and with each of several sets of them."""
    without = _governed(own, labels, ())
    yield without
    every = tuple({port for ports in several for port in ports})
    if any(asked_of(direction, governing, every) for direction, governing, _none in without):
        yield from (_governed(own, labels, ports) for ports in several)


def _governed(own: Sequence[Policy], labels: Mapping[str, str], ports: Names) -> list[Governing]:
    """What stands before a pod with these labels and ports."""
    selecting = [policy for policy in own if holds(policy.selector, labels)]
    found: list[Governing] = []
    for direction in (INGRESS, EGRESS):
        governing = tuple(policy for policy in selecting if rules_of(policy, direction) is not None)
        found.append((direction, governing, asked_of(direction, governing, ports)))
    return found


def _least(policy: Policy) -> dict[str, str]:
    """The labels that a pod needs for a policy to select it."""
    found = {each.key: "" for each in policy.selector if each.operator == "Exists"}
    return {**found, **{each.key: min(each.values) for each in policy.selector if each.operator == "In"}}


def _peers(policy: Policy, direction: str, world: World) -> int:
    """How many peers a policy means, at most."""
    return sum(
        sum(map(len, peer.ranges.values()))
        if isinstance(peer, IPBlock)
        else len(world.selected(policy.namespace, peer))
        for rule in rules_of(policy, direction) or ()
        for peer in rule.peers or ()
    )
