# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled services as sets, maps and chains of the table ``inet podnet``.

A new connection is looked up by its destination, protocol and port in a verdict map, which leads to the chain for as
many backends as the service has: there are as many chains as there are such numbers, however many services there are.
The chain draws a number and looks the backend up by that and the same three. So the time that a connection takes
depends neither on the number of services nor on that of backends, and a change of a service is one of elements.

What has to be known of the connection after that, whether its source is hidden and whether its client comes back to
the same backend, is looked up by its original destination. No mark is set on packets.

Where the chain draws a number that a change, in force since its first look, has taken away, it takes the first backend.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftChain, NftMap, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import PROTOCOLS
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_elements
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_words import (
    ADDRESSES,
    FAMILIES,
    KEYS,
    NODE_PORTS,
    ORIGINALS,
    SORTS,
    key_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import prefixes
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    DROP,
    EVERYBODY,
    FORWARD,
    STRANGERS,
    THE_NODE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
        Answer,
        Frontend,
        Handling,
        Table,
    )

PREFIX = "service-"

# Before destinations are translated; when they are (NF_IP_PRI_NAT_DST); before network policies, which would drop what
# is to be rejected; and before what translates the sources of pods that leave the pod network (resources/ipam_pool.py).
BEFORE_NAT, NAT, FILTER, AFTER_NAT = -110, -100, -10, 90

REJECTION = PREFIX + "reject"
HIDING = {EVERYBODY: PREFIX + "hide-all", STRANGERS: PREFIX + "hide-strangers", THE_NODE: PREFIX + "hide-node"}
STICKY = PREFIX + "sticky"
HAIRPIN = PREFIX + "hairpin"


def render(
    table: Table,
    blocks: Mapping[int, Ranges],
    pods: Mapping[int, Ranges],
    ranges: Mapping[int, Ranges],
) -> Objects:
    """The objects by (sort, name); none when there is no service.

    :param blocks: the addresses of this node's pods
    :param pods: the addresses of all pods
    :param ranges: those from which services get theirs; what none has is dropped
    """
    found: Objects = {}
    if not table.frontends:
        return found
    rendering = _Rendering(found, table)
    for family, words in FAMILIES.items():
        frontends = {each: handling for each, handling in table.frontends.items() if each.family == family}
        if frontends:
            cluster = service_elements.addresses(
                family, sorted(address for version, address in table.cluster if version == family)
            )
            for name, networks in (("blocks", blocks), ("pods", pods), ("ranges", ranges)):
                texts = frozenset(prefixes(family, networks.get(family, ())))
                _put(found, NftSet(f"{PREFIX}{name}{family}", words.sort, texts))
            _put(found, NftSet(f"{PREFIX}addresses{family}", words.sort, cluster, interval=False))
            rendering.family(family, frontends)
    rendering.conclude()
    return found


class _Rendering:
    """Gathers the rules of the hooks, family by family."""

    def __init__(self, found: Objects, table: Table) -> None:
        self._found = found
        self._cluster = table.cluster
        self._keys = {frontend: service_elements.key_of(frontend) for frontend in table.frontends}
        self._limits: list[str] = []
        self._looks: list[str] = []
        self._rejects: list[str] = []
        self._at_node: list[str] = []
        self._remember: list[str] = []
        self._hide: list[str] = []
        self._strangers: list[str] = []

    def family(self, family: int, frontends: Mapping[Frontend, Handling]) -> None:
        """All of a family's frontends."""
        ip, sort, loopback = FAMILIES[family]
        self._strangers.append(f"{ip} saddr != @{PREFIX}pods{family} masquerade fully-random")
        self._limit(family, frontends)
        hosts = {
            backend.address
            for handling in frontends.values()
            for answer in ((handling.inside,) if handling.inside is handling.outside else handling[1:3])
            for backend in answer.backends
        }
        pairs = service_elements.members(
            2 * host.to_bytes(service_elements.SIZES[family], "big") for host in sorted(hosts)
        )
        _put(self._found, NftSet(f"{HAIRPIN}{family}", f"{sort} . {sort}", pairs, interval=False))
        self._hide.append(f"{ip} saddr . {ip} daddr @{HAIRPIN}{family} masquerade fully-random")
        if any(handling.affinity for handling in frontends.values()):
            key, value = f"{sort} . {sort} . inet_proto . inet_service", f"{sort} . inet_service"
            _put(self._found, NftMap(f"{STICKY}{family}", key, frozenset(), value, dynamic=True))
        local = f"fib daddr type local {ip} daddr != {loopback} "
        for where, before in ((ADDRESSES, ""), (NODE_PORTS, local)):
            mine = {each: handling for each, handling in frontends.items() if (each.address is None) == bool(before)}
            if mine:
                self._look(family, where, before, mine)
                self._unserved(family, where, before, mine)
                self._after(family, where, mine)
        asked = f"meta nfproto ipv{family} ct original {ip} daddr @{PREFIX}addresses{family}"
        self._hide.append(f"{asked} goto {HIDING[STRANGERS]}")
        self._rejects.append(f"{ip} daddr @{PREFIX}addresses{family} goto {REJECTION}")
        self._rejects.append(f"{ip} daddr @{PREFIX}ranges{family} counter drop")

    def conclude(self) -> None:
        """The chains of the hooks, and those that all services share."""
        new = "ct state != new accept"
        if self._limits:
            self._chain("limit", "filter", "prerouting", BEFORE_NAT, [new, *self._limits])
            self._chain("limit-output", "filter", "output", BEFORE_NAT, [new, *self._limits])
        self._chain("prerouting", "nat", "prerouting", NAT, self._looks)
        self._chain("output", "nat", "output", NAT, self._looks)
        after = ["ct status & dnat == 0 accept", *self._remember]
        self._chain("postrouting", "nat", "postrouting", AFTER_NAT, [*after, *self._hide])
        if self._remember:
            self._chain("input", "nat", "input", AFTER_NAT, after)
        self._chain("forward", "filter", "forward", FILTER, [new, *self._rejects])
        # What the node sends to itself is rejected before it is tracked, or the next from that port goes the same way.
        for name, hook in (("leaving", "output"), ("arriving", "input")):
            self._chain(name, "filter", hook, FILTER, [new, *self._at_node, *self._rejects])
        _chain(self._found, REJECTION, ["meta l4proto tcp reject with tcp reset", "reject"])
        _chain(self._found, HIDING[EVERYBODY], ["masquerade fully-random"])
        _chain(self._found, HIDING[STRANGERS], self._strangers)
        _chain(self._found, HIDING[THE_NODE], ["fib saddr type local masquerade fully-random"])

    def _chain(self, name: str, sort: str, hook: str, priority: int, rules: Iterable[str]) -> None:
        _put(self._found, NftChain(PREFIX + name, sort, hook, priority, tuple(map(NFTABLES.rule, rules))))

    def _limit(self, family: int, frontends: Mapping[Frontend, Handling]) -> None:
        """Load balancers' addresses that let only some sources in."""
        ip, sort, _loopback = FAMILIES[family]
        limited = {each: handling.sources for each, handling in frontends.items() if handling.sources is not None}
        if not limited:
            return
        bits = f"/{32 if family == 4 else 128}"
        sources = {
            f"{key_of(each)} . {prefix.removesuffix(bits)}"
            for each, ranges in limited.items()
            for prefix in prefixes(family, ranges)
        }
        key, of = KEYS[ADDRESSES].format(ip=ip), SORTS[ADDRESSES].format(sort=sort)
        keys = service_elements.members(map(self._keys.__getitem__, limited))
        _put(self._found, NftSet(f"{PREFIX}limited{family}", of, keys, interval=False))
        _put(self._found, NftSet(f"{PREFIX}sources{family}", f"{of} . {sort}", frozenset(sources)))
        self._limits.append(
            f"{key} @{PREFIX}limited{family} {key} . {ip} saddr != @{PREFIX}sources{family} counter drop"
        )

    def _look(self, family: int, where: str, before: str, frontends: Mapping[Frontend, Handling]) -> None:
        """Where new connections go: first those from inside that fare otherwise than all others, then all."""
        ip = FAMILIES[family].ip
        key = KEYS[where].format(ip=ip)
        inside = {each: handling for each, handling in frontends.items() if handling.inside != handling.outside}
        if inside:
            answers = {each: handling.inside for each, handling in inside.items()}
            name = self._lead(family, where, "-inside", answers, inside)
            self._looks.append(f"{ip} saddr @{PREFIX}blocks{family} {before}{key} vmap @{name}")
            self._looks.append(f"fib saddr type local {before}{key} vmap @{name}")
        answers = {each: handling.outside for each, handling in frontends.items()}
        name = self._lead(family, where, "", answers, frontends)
        self._looks.append(f"{before}{key} vmap @{name}")

    def _lead(
        self,
        family: int,
        where: str,
        which: str,
        answers: Mapping[Frontend, Answer],
        handlings: Mapping[Frontend, Handling],
    ) -> str:
        """The verdict map, its chains and the map of their backends; the name of the first."""
        ip, sort, _loopback = FAMILIES[family]
        name = f"{PREFIX}{where}{which}{family}"
        backends_name = f"{PREFIX}backends-{where}{which}{family}"
        chains: dict[tuple[int, bool], list[bytes]] = defaultdict(list)
        places = service_elements.Places(family)
        for frontend, answer in answers.items():
            if answer.verdict == FORWARD:
                key = self._keys[frontend]
                chains[len(answer.backends), bool(handlings[frontend].affinity)].append(key)
                places.add(key, answer.backends)
        leads = {f"goto {_lead_name(name, *each)}": keys for each, keys in chains.items()}
        of = SORTS[where].format(sort=sort)
        _put(self._found, NftMap(name, of, service_elements.leads(leads)))
        backends = places.elements()
        _put(self._found, NftMap(backends_name, f"{of} . integer", backends, f"{sort} . inet_service"))
        asked = KEYS[where].format(ip=ip)
        for number, affine in chains:
            # The first rule that a run of nft 1.0.6 adds to use such a map holds for TCP only, as the declared type of
            # the port would have it (facilities/nftables.py); so each stands there twice.
            rules = [
                f"dnat {ip} to {asked} . numgen random mod {modulus} map @{backends_name}"
                for modulus in dict.fromkeys((number, 1))
                for _again in range(2)
            ]
            if affine:
                rules.insert(0, f"dnat {ip} to {ip} saddr . {KEYS[ADDRESSES].format(ip=ip)} map @{STICKY}{family}")
            _chain(self._found, _lead_name(name, number, affine), rules)
        return name

    def _unserved(self, family: int, where: str, before: str, frontends: Mapping[Frontend, Handling]) -> None:
        """What has been sent nowhere, and is to be told so or not."""
        ip, sort, _loopback = FAMILIES[family]
        said: dict[str, list[bytes]] = defaultdict(list)
        for each, handling in frontends.items():
            if handling.outside.verdict != FORWARD:
                said["drop" if handling.outside.verdict == DROP else f"goto {REJECTION}"].append(self._keys[each])
        name = f"{PREFIX}unserved-{where}{family}"
        _put(self._found, NftMap(name, SORTS[where].format(sort=sort), service_elements.leads(said)))
        (self._at_node if before else self._rejects).append(f"{before}{KEYS[where].format(ip=ip)} vmap @{name}")

    def _after(self, family: int, where: str, frontends: Mapping[Frontend, Handling]) -> None:
        """What is looked up by the original destination."""
        ip, sort, _loopback = FAMILIES[family]
        of, original = SORTS[where].format(sort=sort), ORIGINALS[where].format(ip=ip)
        served = [
            (each, handling)
            for each, handling in frontends.items()
            if FORWARD in (handling.inside.verdict, handling.outside.verdict)
        ]
        hidden: dict[str, list[bytes]] = defaultdict(list)
        for each, handling in served:
            # Those at cluster addresses, nearly all there are, are known by these.
            if handling.masquerade != STRANGERS or (family, each.address) not in self._cluster:
                hidden[f"goto {HIDING[handling.masquerade]}"].append(self._keys[each])
        _put(self._found, NftMap(f"{PREFIX}hidden-{where}{family}", of, service_elements.leads(hidden)))
        self._hide += _by_protocol(family, f"{original} vmap @{PREFIX}hidden-{where}{family}")
        seconds: dict[int, list[bytes]] = defaultdict(list)
        for each, handling in served:
            if handling.affinity:
                seconds[handling.affinity].append(self._keys[each])
        if not seconds:
            return
        for timeout in seconds:
            rules = [
                NFTABLES.remember(family, protocol, f"{STICKY}{family}", timeout) for protocol in PROTOCOLS.values()
            ]
            _put(self._found, NftChain(f"{STICKY}{family}-{timeout}", "", "", 0, tuple(rules)))
        remembered = {f"jump {STICKY}{family}-{timeout}": keys for timeout, keys in seconds.items()}
        _put(self._found, NftMap(f"{STICKY}-{where}{family}", of, service_elements.leads(remembered)))
        self._remember += _by_protocol(family, f"{original} vmap @{STICKY}-{where}{family}")


def _by_protocol(family: int, text: str) -> list[str]:
    """A rule for each protocol: nft 1.0.6 knows the type of a connection's port only after that of its protocol."""
    return [f"meta nfproto ipv{family} meta l4proto {protocol} {text}" for protocol in PROTOCOLS.values()]


def _lead_name(name: str, backends: int, affine: bool) -> str:
    return f"{name}-{backends}{'-sticky' if affine else ''}"


def _chain(found: Objects, name: str, rules: Iterable[str]) -> None:
    _put(found, NftChain(name, "", "", 0, tuple(map(NFTABLES.rule, rules))))


def _put(found: Objects, obj: NftSet | NftMap | NftChain) -> None:
    sort = "set" if isinstance(obj, NftSet) else "map" if isinstance(obj, NftMap) else "chain"
    found[sort, obj.name] = obj
