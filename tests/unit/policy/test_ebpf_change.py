# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of eBPF's that is changed in place says of every peer what it said before or will say after, at each step."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf, ebpf_change
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    Allowance,
    Compiled,
    Endpoint,
    Guard,
    PortRange,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import merged

POD = Endpoint("default", "pod", {}, {4: (1,)})
PORTS = ((PortRange("tcp", 80, 80),), (PortRange("tcp", 443, 443), PortRange("udp", 53, 53)), None)
WEB, OTHER, ALL = PORTS

# Prefixes within one another, and on both sides of where others end.
PEERS = st.lists(st.integers(0, 15).map(lambda number: (number, number)), max_size=9).map(merged)
PEERS_BY_PORTS = st.fixed_dictionaries({}, optional=dict.fromkeys(PORTS, PEERS))


def table(ingress: dict, egress: dict | None = None, identity: str = "in", pod: Endpoint = POD) -> Columns:  # type: ignore[type-arg]
    """A pod with a guard of either direction."""
    guards = {
        name: Guard(name, direction, (), tuple(Allowance(ports, {4: peers}) for ports, peers in said.items()))
        for name, direction, said in ((identity, INGRESS, ingress), ("out", EGRESS, egress or {}))
    }
    return ebpf.render(Compiled(guards, {INGRESS: {pod[:2]: identity}, EGRESS: {pod[:2]: "out"}}), [pod])


def guards_of(elements: Columns) -> list[int]:
    return sorted({ebpf.VALUE.unpack(elements[key])[0] for key in elements if ebpf.KEY.unpack(key)[1] < 4})


def meanings(elements: Mapping[bytes, bytes], guards: list[int]) -> list[frozenset[bytes] | None]:
    """What each guard says of each peer: the ports themselves, not what they are called by."""
    said: list[frozenset[bytes] | None] = []
    for guard in guards:
        for peer in range(17):
            ports = ebpf_change.looked_up(elements, ebpf.KEY.pack(96, guard, peer.to_bytes(4, "big")))
            if ports is not None and ports != ebpf.VALUE.pack(ebpf.EVERY):
                said.append(frozenset(key for key in elements if key[4:12] == ports))
            else:
                said.append(None if ports is None else frozenset({b"every"}))
    return said


@given(PEERS_BY_PORTS, PEERS_BY_PORTS, PEERS_BY_PORTS, PEERS_BY_PORTS)
def test_each_step_leaves_what_was_before_or_what_is_after(one: dict, other: dict, out: dict, more: dict) -> None:  # type: ignore[type-arg]
    joined = {ports: merged([*one.get(ports, ()), *other.get(ports, ())]) for ports in {**one, **other}}
    for before, after in (
        (table(one, out), table(other, more)),
        (table(one, out), table(joined, out)),
        (table(joined, out), table(one, out)),
    ):
        steps = ebpf_change.steps(before, after)
        if steps is None:
            continue
        guards = guards_of(before)
        was, becomes = meanings(before, guards), meanings(after, guards)
        standing = dict(before)
        for key, value in (*steps.puts, *((key, None) for key in steps.removals)):
            if value is None:
                del standing[key]
            else:
                standing[key] = value
            assert all(now in ends for now, *ends in zip(meanings(standing, guards), was, becomes, strict=True))
        assert standing == after
        # All of it gives, or all of it takes.
        grants, withdraws = (
            all(a is None or b in (a, frozenset({b"every"})) for a, b in zip(*each, strict=True))
            for each in ((was, becomes), (becomes, was))
        )
        assert grants or withdraws


PEER = ((4, 4),)
NEXT = ((4, 5),)
APART = ((4, 4), (9, 9))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (table({WEB: PEER}), table({WEB: APART}), (1, 0)),
        (table({WEB: APART}), table({WEB: PEER}), (0, 1)),
        # Two that are one prefix; the ports of the first peer come along, or go.
        (table({WEB: PEER}), table({WEB: NEXT}), (1, 1)),
        (table({}), table({OTHER: PEER}), (3, 0)),
        (table({OTHER: PEER}), table({}), (0, 3)),
        (table({WEB: PEER}), table({WEB: PEER, ALL: PEER}), (1, 1)),
        # One comes and another goes, here and in the other direction; one set of ports for another.
        (table({WEB: PEER}), table({WEB: ((9, 9),)}), None),
        (table({WEB: PEER}, {}), table({}, {WEB: PEER}), None),
        (table({WEB: PEER}), table({OTHER: PEER}), None),
        # Other policies, another pod, many at once.
        (table({WEB: PEER}), table({WEB: PEER}, identity="other"), None),
        (table({WEB: PEER}), table({WEB: PEER}, pod=Endpoint("default", "pod", {}, {4: (2,)})), None),
        (table({}), table({WEB: tuple((2 * nth, 2 * nth) for nth in range(ebpf_change.MANY))}), None),
    ],
)
def test_what_is_changed_in_place(before: Columns, after: Columns, expected: tuple[int, int] | None) -> None:
    steps = ebpf_change.steps(before, after)
    assert (None if steps is None else tuple(map(len, steps))) == expected
