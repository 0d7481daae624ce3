# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one service's change is to a packet filter that has all others, too: elements of sets and maps that are there.

A service is rendered by itself, as it was and as it is to be. What several services have in common stays as long as
another one has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Difference
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftMap, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import (
    service_ebpf,
    service_elements,
    service_nftables,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_target import Declared
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Backend

    Parts = list[NftSet | NftMap]

NAME_BYTES = 8
"""Of a list of backends, at the head of the keys of its elements."""


class Kept(NamedTuple):
    """What others have, too: a backend's address, a list of backends, one that is looked for."""

    host: Callable[[int, int], bool]
    slots: Callable[[int, tuple[Backend, ...]], bool]
    members: Callable[[int, tuple[Backend, ...]], bool]


def nftables(before: Declared, after: Declared, kept: Kept) -> tuple[Parts, Parts]:
    """The parts of sets and maps that a service has before and after."""
    had, has = (service_nftables.render(*each) for each in (before, after))
    old: Parts = []
    new: Parts = []
    for key in sorted({*had, *has}):
        one, other = had.get(key) or has[key], has.get(key) or had[key]
        if not isinstance(one, (NftSet, NftMap)) or not isinstance(other, (NftSet, NftMap)):
            continue
        # What is of the node or of pods is no service's.
        if isinstance(one, NftSet) and one.interval:
            continue
        one = one if key in had else one._replace(elements=frozenset())
        other = other if key in has else other._replace(elements=frozenset())
        if key[1].startswith(service_nftables.HAIRPIN):
            one = one._replace(elements=one.elements - _of_others(before, int(key[1][-1]), kept))
        old.append(one)
        new.append(other)
    return old, new


def _of_others(declared: Declared, family: int, kept: Kept) -> frozenset[bytes]:
    """Pairs of hosts in their set that stay."""
    size = service_elements.SIZES[family]
    hosts = {
        backend.address
        for frontend, handling in declared.table.frontends.items()
        if frontend.family == family
        for answer in handling[1:3]
        for backend in answer.backends
        if kept.host(family, backend.address)
    }
    return service_elements.members(2 * host.to_bytes(size, "big") for host in hosts)


def ebpf(before: Declared, after: Declared, bypass: bool, kept: Kept) -> tuple[dict[str, Difference], dict[str, int]]:
    """How the elements change, and by how many there are more."""
    had, has = (service_ebpf.render(each.table, each.blocks, bypass) for each in (before, after))
    slots: dict[bytes, bool] = {}
    members: dict[bytes, bool] = {}
    for declared, elements in ((before, had), (after, has)):
        for frontend, handling in declared.table.frontends.items():
            if service_ebpf.translates(frontend, handling):
                name = service_ebpf.list_of(elements, frontend)
                of = frontend.family, handling.inside.backends
                slots[name], members[name] = kept.slots(*of), kept.members(*of)
    steps: dict[str, Difference] = {}
    more: dict[str, int] = {}
    standing: Mapping[str, Mapping[bytes, bool]] = {service_ebpf.SLOTS: slots, service_ebpf.MEMBERS: members}
    for of_map in service_ebpf.MAPS:
        old, new = had[of_map], has[of_map]
        if of_map == service_ebpf.INSIDE:
            # Which addresses are pods of this node is no service's.
            old = new
        stays = standing.get(of_map, {})
        puts = {key: each for key, each in new.items() if old.get(key) != each}
        removals = [key for key in old if key not in new and not stays.get(key[:NAME_BYTES])]
        come = [key for key in puts if key not in old and not stays.get(key[:NAME_BYTES])]
        steps[of_map], more[of_map] = Difference(puts, removals), len(come) - len(removals)
    return steps, more
