# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled services as chains of iptables' tables ``nat`` and ``filter`` and IP sets.

The first packet of a connection is looked up in the set of all that clients connect to; what is for no service goes no
further. Where there are many, chains lead on by the digits of a digest of that, sixteen at a step, each with the set of
those below it, to a rule for each. So the time that a connection takes depends on the number of services by its
logarithm. Where a digest leads depends neither on who else is there nor on the backends: sets are changed in place, and
one element more than the rules know of does no harm.

The rule leads to a chain that is known by the digest of what it does: it draws one of the backends. Other backends are
another chain, made in the transaction that leads there and removed after it.

Whether a connection's source is hidden is known when it is sent on, and done when it leaves; meanwhile the packet bears
a mark, and only that one packet of a connection does.

Clients that come back to their backend are in a set of that backend's, which packets fill and the kernel empties.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import (
    ADDRESS_PORT_ADDRESSES,
    ADDRESS_PORT_PREFIXES,
    ADDRESS_PORTS,
    ADDRESSES,
    PREFIX_PORTS,
    PREFIXES,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    NAT,
    TABLE,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_iptables_objects import (
    CHAINS,
    Drawing,
    Way,
    digest,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    DROP,
    EVERYBODY,
    FORWARD,
    STRANGERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
        Answer,
        Backend,
        Frontend,
        Handling,
        Table,
    )

MARK = 0x1000
"""Others have 0x2000 (the CNI plugin portmap, netavark), 0x4000 and 0x8000 (kube-proxy), 0xf00 (Cilium), 0xff0000
(Tailscale), 0xffff0000 (Calico) and 0xca6c (wg-quick)."""

LEAVES = 64
"""How many frontends a chain may compare one by one: about as much work as two steps more."""
KEEP = 10800
"""Seconds that a client's set keeps who is in there, where no rule says otherwise (that of sessionAffinityConfig)."""

LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}
REJECTION = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}
DNAT = "-m conntrack --ctstate DNAT "


class _Leaf(NamedTuple):
    """A frontend in a tree: the element of its sets, and its rule."""

    element: str
    rule: str


def render(
    flavour: str,
    table: Table,
    blocks: Mapping[int, Ranges],
    pods: Mapping[int, Ranges],
    ranges: Mapping[int, Ranges],
) -> Rendering:
    """The objects in a flavour of iptables; none of a family without a service.

    :param blocks: the addresses of this node's pods
    :param pods: the addresses of all pods
    :param ranges: those from which services get theirs; what none has is dropped
    """
    found = Rendering({}, {}, {})
    for family in BITS:
        frontends = {each: handling for each, handling in table.frontends.items() if each.family == family}
        if frontends:
            cluster = (address for version, address in table.cluster if version == family)
            networks = {name: each.get(family, ()) for name, each in (("b", blocks), ("p", pods), ("s", ranges))}
            _Services(flavour, family, found).services(frontends, cluster, networks)
    return found


class _Services(Drawing):
    """The chains and sets of one family."""

    def __init__(self, flavour: str, family: int, found: Rendering) -> None:
        super().__init__(flavour, family, found)
        self._looks: list[str] = []
        self._limited: list[str] = []
        self._unserved: list[str] = []
        self._arriving: list[str] = []

    def services(
        self, frontends: Mapping[Frontend, Handling], cluster: Iterable[int], networks: Mapping[str, Ranges]
    ) -> None:
        """All of it.

        :param networks: prefixes by the letter of their set
        """
        for name, ranges in networks.items():
            self.set(name, PREFIXES, self.prefixes(ranges))
        self.set("a", ADDRESSES, map(self.text, cluster))
        self._limit({each: handling for each, handling in frontends.items() if handling.sources is not None})
        for node_ports in (False, True):
            mine = {each: handling for each, handling in frontends.items() if (each.address is None) == node_ports}
            if mine:
                self._look(node_ports, mine)
        self.chain(NAT, "LOOKUP", self._looks, "PREROUTING", "OUTPUT")
        self._leaving(frontends)
        self._stray()

    def _leaving(self, frontends: Mapping[Frontend, Handling]) -> None:
        """Whose source is hidden: what has been marked, and a backend that has come to itself."""
        loops = {
            f"{text},{each.protocol}:{backend.port},{text}"
            for each, handling in frontends.items()
            for backend in (*handling.inside.backends, *handling.outside.backends)
            for text in (self.text(backend.address),)
        }
        hairpin = self.set("h", ADDRESS_PORT_ADDRESSES, loops, "src,dst,dst")
        rules = [f"-m mark --mark {MARK:#x}/{MARK:#x} {DNAT}-g {CHAINS}HIDE", f"{DNAT}{hairpin}-g {CHAINS}HIDE"]
        self.chain(NAT, "HIDE", [f"-j MARK --set-xmark 0x0/{MARK:#x}", "-j MASQUERADE --random-fully"])
        self.chain(NAT, "POSTROUTING", rules, "POSTROUTING")

    def _stray(self) -> None:
        """What has been sent nowhere, and is to be told so or not."""
        new = "-m conntrack ! --ctstate NEW -j RETURN"
        reject, rejection = f"-g {CHAINS}REJECT", f"-j REJECT --reject-with {REJECTION[self.family]}"
        texts = [*self._limited, *self._unserved, f"{self.matches('a', 'dst')}{reject}"]
        texts.append(f"{self.matches('s', 'dst')}-j DROP")
        self.chain(TABLE, "REJECT", ["-p tcp -j REJECT --reject-with tcp-reset", rejection])
        self.chain(TABLE, "STRAY", [new, *texts], "FORWARD")
        # What the node sends to itself is rejected before it is tracked, or the next from that port goes the same way.
        self.chain(TABLE, "ARRIVING", [new, *self._limited, *self._arriving, *texts], "INPUT", "OUTPUT")

    def _limit(self, limited: Mapping[Frontend, Handling]) -> None:
        """Load balancers' addresses that let only some sources in: others are not sent on, and dropped then."""
        if not limited:
            return
        bits = f"/{BITS[self.family]}"
        sources = {
            f"{element},{prefix.removesuffix(bits)}"
            for each, handling in limited.items()
            for element in self.elements(each)
            for prefix in self.prefixes(handling.sources or ())
        }
        self.set("i", ADDRESS_PORT_PREFIXES, sources)
        known = (element for each in limited for element in self.elements(each))
        all_of_them = self.set("l", ADDRESS_PORTS, known, "dst,dst")
        self._limited.append(f"{all_of_them}-m set ! --match-set {self.name('i')} dst,dst,src -j DROP")

    def _look(self, node_ports: bool, frontends: Mapping[Frontend, Handling]) -> None:
        """Where new connections go: first those from inside that fare otherwise than all others, then all."""
        tag = "N" if node_ports else "F"
        before = f"-m addrtype --dst-type LOCAL ! -d {LOOPBACK[self.family]} " if node_ports else ""
        inside = {each: (handling, handling.inside) for each, handling in frontends.items()}
        outside = {each: (handling, handling.outside) for each, handling in frontends.items()}
        different = {each: inside[each] for each in frontends if inside[each] != outside[each]}
        if different:
            look = self._tree(f"{tag}I", self._leaves(different))
            self._looks += [
                f"{who}{before}{look} -j {CHAINS}{tag}I"
                for who in (self.matches("b", "src"), "-m addrtype --src-type LOCAL ")
            ]
        self._looks.append(f"{before}{self._tree(tag, self._leaves(outside))} -j {CHAINS}{tag}")
        sort = PREFIX_PORTS if node_ports else ADDRESS_PORTS
        unserved = self._arriving if node_ports else self._unserved
        for verdict_tag, target in (("d", "-j DROP"), ("r", f"-g {CHAINS}REJECT")):
            elements = (
                element
                for each, (_handling, answer) in outside.items()
                if answer.verdict != FORWARD and (answer.verdict == DROP) == (verdict_tag == "d")
                for element in self.elements(each)
            )
            unserved.append(f"{before}{self.set(f'{verdict_tag}{tag.lower()}', sort, elements, 'dst,dst')}{target}")

    def _leaves(self, answers: Mapping[Frontend, tuple[Handling, Answer]]) -> dict[str, list[_Leaf]]:
        """The rules of those that are sent on, by the digests of what clients connect to."""
        found = {}
        for each, (handling, answer) in answers.items():
            if answer.verdict == FORWARD:
                to = "" if each.address is None else f"-d {self.text(each.address)} "
                let_in = self.matches("i", "dst,dst,src") if handling.sources is not None else ""
                match = f"{to}-p {each.protocol} -m {each.protocol} --dport {each.port} {let_in}"
                rule = f"{match}-g {self._answer(each.protocol, handling, answer)}"
                elements = self.elements(each)
                found[digest(elements[0])] = [_Leaf(element, rule) for element in elements]
        return found

    def _tree(self, tag: str, leaves: Mapping[str, Sequence[_Leaf]], digits: str = "") -> str:
        """What matches all that the chain for a tag and digits leads on."""
        elements = (leaf.element for some in leaves.values() for leaf in some)
        sort = PREFIX_PORTS if tag.startswith("N") else ADDRESS_PORTS
        match = self.set(f"{tag.lower()}{digits and '-'}{digits}", sort, elements, "dst,dst").rstrip()
        if len(leaves) <= LEAVES:
            rules = [leaves[each][0].rule for each in sorted(leaves)]
        else:
            below: dict[str, dict[str, Sequence[_Leaf]]] = {}
            for each, some in leaves.items():
                below.setdefault(each[: len(digits) + 1], {})[each] = some
            rules = [
                f"{self._tree(tag, inside, more)} -g {CHAINS}{tag}-{more}" for more, inside in sorted(below.items())
            ]
        self.chain(NAT, f"{tag}{digits and '-'}{digits}", rules)
        return match

    def _answer(self, protocol: str, handling: Handling, answer: Answer) -> str:
        """The chain of an answer, which others with the same answer lead to as well."""
        rules = self._marks(handling)
        ways = []
        for backend, weight in Counter(answer.backends).items():
            target = f"-p {protocol} -j DNAT --to-destination {self.place(backend)}"
            if handling.affinity:
                match, target = self._client(protocol, handling, backend, target)
                rules.append(f"{match}{target}")
            ways.append(Way(target, weight))
        return self.known([*rules, *self.draws(ways)])

    def _marks(self, handling: Handling) -> list[str]:
        """Whose source is hidden when the packet leaves."""
        who = "-m addrtype --src-type LOCAL "
        if handling.masquerade == EVERYBODY:
            who = ""
        elif handling.masquerade == STRANGERS:
            who = f"-m set ! --match-set {self.name('p')} src "
        return [f"{who}-j MARK --set-xmark {MARK:#x}/{MARK:#x}"]

    def _client(self, protocol: str, handling: Handling, backend: Backend, target: str) -> tuple[str, str]:
        """What matches the clients of a backend, and what leads to the chain that remembers them."""
        name = f"c-{digest(f'{handling.service} {protocol} {self.place(backend)}')}"
        match = self.set(name, ADDRESSES, (), "src", KEEP)
        remember = f"-j SET --add-set {self.name(name)} src --exist --timeout {handling.affinity}"
        return match, f"-g {self.known([remember, target])}"
