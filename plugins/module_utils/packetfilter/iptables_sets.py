# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What IP sets of policies are called, and when they are changed in place.

A set bears the digest of its elements in its name. Another content is another set, made before the transaction that
leads the rules to it and removed after it: no packet ever meets a half of a change.

Where pods are going to be attached one by one, that would take iptables for each. There, sets are called by what they
are for, and by a number. As long as the rules are the same and no more than one pod has come or gone, their elements
are changed in place: a pod that comes is guarded before it is a peer. Anything else takes another number for each set
with another content, so that the rules are led from all of those to these at once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import (
    ADDRESSES,
    PREFIXES,
    IpSet,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import SET_FAMILIES, Rendering

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import Objects

SETS = "podnet-policy-"
_ROLE = re.compile(f"({SETS}r[46]-[0-9a-f]{{10}})([0-9a-f]{{4}})")
_NUMBERS = 0xFFFF


@dataclass(frozen=True)
class Names:
    """What sets with a role are called: with the number of the one that stands, or another one.

    :param standing: the names of sets that stand
    :param left: those of them that others take the place of
    """

    standing: frozenset[str]
    left: frozenset[str] = frozenset()

    def name(self, family: int, role: str) -> str:
        """The name of the set for a role."""
        stem = f"{SETS}r{family}-{_digest(role)[:10]}"
        known = self._numbers.get(stem, [0])
        # Several there are after a run that was killed, and nobody knows to which the rules lead.
        stays = len(known) == 1 and known != [0] and f"{stem}{known[0]:04x}" not in self.left
        number = known[0] if stays else max(known) % _NUMBERS + 1
        return f"{stem}{number:04x}"

    @property
    def is_one(self) -> bool:
        """Whether there are sets with roles, one for each."""
        return bool(self._numbers) and all(len(known) == 1 for known in self._numbers.values())

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for match in map(_ROLE.fullmatch, self.standing):
            if match:
                found.setdefault(match[1], []).append(int(match[2], 16))
        return found


def names(of_sets: Iterable[str]) -> Names:
    """The names by what stands."""
    return Names(frozenset(filter(_ROLE.fullmatch, of_sets)))


def by_content(family: int, elements: frozenset[str]) -> IpSet:
    """A set that is called by its elements, addresses or prefixes."""
    plain = _plain(family, elements)
    signature = _digest(" ".join(sorted(elements if plain is None else plain)))
    return _of_addresses(f"{SETS}{'p' if plain is None else 'a'}{family}-{signature}", family, elements)


def by_role(called: Names, family: int, role: str, elements: frozenset[str], counted: bool = False) -> IpSet:
    """A set of addresses that is called by what it is for."""
    return _of_addresses(called.name(family, role), family, elements)._replace(counted=counted)


def fitting(render: Callable[[Names], Rendering], sets: Mapping[str, IpSet], rules: Objects) -> Rendering:
    """The rendering that what stands becomes in place, where it can; else one that takes its place.

    :param sets: those that stand
    :param rules: as well
    """
    standing = names(sets)
    found = render(standing)
    if found.rules == rules and _becomes(sets, found.sets):
        return found
    left = frozenset(name for name in standing.standing if sets[name] != found.sets.get(name, sets[name]))
    return render(replace(standing, left=left)) if left else found


def _becomes(had: Mapping[str, IpSet], wanted: Mapping[str, IpSet]) -> bool:
    """Whether sets are changed by no more than what is of one pod: addresses that come, or that go."""
    come: dict[str, set[str]] = {family: set() for family in SET_FAMILIES.values()}
    gone: dict[str, set[str]] = {family: set() for family in SET_FAMILIES.values()}
    for name, each in wanted.items():
        before = had.get(name)
        if before is None or before._replace(elements=each.elements) != each:
            return False
        come[each.family] |= each.elements - before.elements
        gone[each.family] |= before.elements - each.elements
    return all(len(some) <= 1 for some in (*come.values(), *gone.values())) and not (
        any(come.values()) and any(gone.values())
    )


def _of_addresses(name: str, family: int, elements: frozenset[str]) -> IpSet:
    plain = _plain(family, elements)
    if plain is None:
        return IpSet(name, PREFIXES, SET_FAMILIES[family], elements)
    return IpSet(name, ADDRESSES, SET_FAMILIES[family], plain)


def _plain(family: int, prefixes: frozenset[str]) -> frozenset[str] | None:
    """Addresses without their lengths; None where there is any other prefix."""
    bits = "/128" if family == 6 else "/32"
    if all(prefix.endswith(bits) for prefix in prefixes):
        return frozenset(prefix[: -len(bits)] for prefix in prefixes)
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
