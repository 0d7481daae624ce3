# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How services are spoken of in iptables: chains, IP sets and their elements, of one flavour and family."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import IpSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    NAT,
    IptablesChain,
    IptablesJump,
    key,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import AHEAD
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import SET_FAMILIES
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS, prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Backend, Frontend

CHAINS = AHEAD
SETS = "podnet-service-"

WIDTH = 16
"""How many ways a chain may lead to without a step between; also the number of hexadecimal digits."""


class Way(NamedTuple):
    """A rule without the match that draws it, and how many of all connections it shall get."""

    target: str
    weight: int


class Drawing:
    """Puts chains and sets into a rendering."""

    def __init__(self, flavour: str, family: int, found: Rendering) -> None:
        self.flavour, self.family, self.found = flavour, family, found

    def draws(self, ways: Sequence[Way]) -> list[str]:
        """Rules that take each way as often as it shall be: no more than a few, with chains between."""
        if len(ways) > WIDTH:
            size = -(-len(ways) // WIDTH)
            parts = [ways[first : first + size] for first in range(0, len(ways), size)]
            ways = [Way(f"-g {self.known(self.draws(part))}", sum(each.weight for each in part)) for part in parts]
        rules = []
        left = sum(each.weight for each in ways)
        for each in ways:
            chance = f"-m statistic --mode random --probability {each.weight / left:.10f} "
            rules.append(f"{chance if each.weight < left else ''}{each.target}")
            left -= each.weight
        return rules

    def known(self, rules: Sequence[str]) -> str:
        """The name of the chain with these rules."""
        name = digest("\n".join(rules))
        self.chain(NAT, name, rules)
        return f"{CHAINS}{name}"

    def chain(self, table: str, name: str, rules: Iterable[str], *built_in: str) -> None:
        """A chain of a table, and jumps to it from chains that are built in there."""
        digests = tuple(map(IPTABLES.rule, rules))
        chain = IptablesChain(self.flavour, self.family, f"{CHAINS}{name}", digests, table)
        self.found.rules[key(chain)] = chain
        for each in built_in:
            jump = IptablesJump(self.flavour, self.family, each, chain.name, table=table)
            self.found.rules[key(jump)] = jump

    def set(self, name: str, sort: str, elements: Iterable[str], flags: str = "", timeout: int = 0) -> str:
        """A set, and what matches the packets that are in it by these of their ends."""
        found = IpSet(self.name(name), sort, SET_FAMILIES[self.family], frozenset(elements), timeout)
        self.found.sets[found.name] = found
        return self.matches(name, flags)

    def matches(self, name: str, flags: str) -> str:
        """The match of a rule, with the space after it."""
        return f"-m set --match-set {self.name(name)} {flags} "

    def name(self, name: str) -> str:
        """A set's name: its letter, the family and what follows."""
        return f"{SETS}{name[0]}{self.family}{name[1:]}"

    def prefixes(self, ranges: Ranges) -> list[str]:
        """A set holds no prefix without bits."""
        halves = {4: ["0.0.0.0/1", "128.0.0.0/1"], 6: ["::/1", "8000::/1"]}[self.family]
        return halves if ranges == ((0, 2 ** BITS[self.family] - 1),) else list(prefixes(self.family, ranges))

    def elements(self, frontend: Frontend) -> list[str]:
        """A node port is one of every address."""
        hosts = self.prefixes(((0, 2 ** BITS[self.family] - 1),))
        if frontend.address is not None:
            hosts = [self.text(frontend.address)]
        return [f"{host},{frontend.protocol}:{frontend.port}" for host in hosts]

    def text(self, address: int) -> str:
        """An address as the tools print it."""
        return IP_TEXTS[address.to_bytes(BITS[self.family] // 8, "big")]

    def place(self, backend: Backend) -> str:
        """A backend as the target DNAT takes it."""
        text = self.text(backend.address)
        return f"{text}:{backend.port}" if self.family == 4 else f"[{text}]:{backend.port}"


def digest(text: str) -> str:
    """Twelve hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
