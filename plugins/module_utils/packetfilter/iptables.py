# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled policies as chains of iptables' table ``filter`` and IP sets.

A packet of a flow that stands passes at once. The first packet of another is looked up, by its source and by its
destination, in the set of all addresses that are guarded there, then in the set of each guard: a guard's chain returns
what an allowance covers and drops the rest. Where there are more than a few guards, chains lead to them by the first
digits of their identities, sixteen at a step, each with the set of the addresses below it. So the time that a packet
takes depends on the number of pods not at all, and on that of guards by its logarithm.

Sets are called by their content or, where pods are going to be attached one by one, by what they are for: see
iptables_sets.py. There, guards stand ready for such pods, and nothing in a rule is of one pod only.

What passes is returned to the chain that led here, so the node's other rules have their say, as they would with
nftables. Chains see what packetfilter/nftables.py's see: FORWARD, and INPUT for what a pod sends to its own node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    IptablesChain,
    IptablesJump,
    key,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import iptables_sets
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS, MAX_PORT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS, prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import IpSet
    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_sets import Names
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Allowance,
        Compiled,
        Endpoint,
        Guard,
        Ports,
    )
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.denials import Log
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges

CHAINS = "PODNET-POLICY-"
DENIED = "-D"

WIDTH = 16
"""How many guards a chain may lead to without a step between; also the number of hexadecimal digits."""
MULTIPORT = 15
"""How many ports a multiport match holds, a range counting twice: XT_MULTI_PORTS of linux/netfilter/xt_multiport.h."""

# The end of a packet that is the guarded endpoint, and the one that is its peer.
ENDS = {INGRESS: ("dst", "src"), EGRESS: ("src", "dst")}

STANDING = "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
# A packet out of the middle of a connection that nobody knows, as in packetfilter/nftables.py.
MIDDLE = "-p tcp -m tcp ! --syn "
# Those of packetfilter/nftables.py: neighbour discovery (RFC 4861) and multicast listeners (RFC 2710, RFC 3810).
NEIGHBOURS = tuple(
    f"-p ipv6-icmp -m icmp6 --icmpv6-type {number} -j RETURN" for number in (133, 134, 135, 136, 130, 131, 132, 143)
)

Members = dict[str, frozenset[str]]
"""Guarded addresses by the identity of their guard."""


def render(
    flavour: str,
    compiled: Compiled,
    guarded: Iterable[Endpoint],
    log: Log | None = None,
    called: Names | None = None,
) -> Rendering:
    """The objects in a flavour of iptables; none of a family in which nothing is guarded.

    :param called: what sets are called, where pods may come (iptables_sets.py)
    """
    addresses = {(endpoint.namespace, endpoint.name): endpoint.addresses for endpoint in guarded}
    found = Rendering({}, {}, {})
    for family in BITS:
        drawing = Drawing(flavour, family, found, log, called)
        own = {whom: of_whom.get(family, ()) for whom, of_whom in addresses.items()}
        drawing.guards(compiled, own)
    return found


class Drawing:
    """The chains and sets of one family."""

    def __init__(
        self, flavour: str, family: int, found: Rendering, log: Log | None = None, called: Names | None = None
    ) -> None:
        self._flavour = flavour
        self._family = family
        self._found = found
        self._log = log
        self._called = called

    def guards(self, compiled: Compiled, addresses: Mapping[tuple[str, str], tuple[int, ...]]) -> None:
        """Chains and sets of what stands before pods.

        :param addresses: of the pods of the node
        """
        looks: dict[str, list[str]] = {INGRESS: [], EGRESS: []}
        turned: list[str] = []
        denying: list[tuple[Guard, list[str]]] = []
        for direction in compiled.before:
            members = self._members(compiled, addresses, direction)
            if not members:
                continue
            if direction == INGRESS:
                receivers = self._to(members, ENDS[INGRESS][1], f"{direction} receivers")
                turned.append(f"{MIDDLE}{receivers}-j DROP")
            looks[direction].append(self._lead("-j", members, direction))
            for identity, counting in self._counting(members, direction).items():
                denying.append(({**compiled.prepared, **compiled.guards}[identity], counting))
        # Whoever comes to sets is guarded before it is anybody's peer.
        for guard, counting in denying:
            self._guard(guard, counting)
        for chain, rules in (("FORWARD", [*turned, *looks[EGRESS], *looks[INGRESS]]), ("INPUT", looks[EGRESS])):
            if rules:
                self._chain(CHAINS + chain, [STANDING, *(NEIGHBOURS if self._family == 6 else ()), *rules])
                jump = IptablesJump(self._flavour, self._family, chain, CHAINS + chain)
                self._found.rules[key(jump)] = jump

    def _members(
        self, compiled: Compiled, addresses: Mapping[tuple[str, str], tuple[int, ...]], direction: str
    ) -> Members:
        """By guard; where pods may come, also of those that have none yet."""
        own: dict[str, list[int]] = {}
        for whom, identity in compiled.before[direction].items():
            own.setdefault(identity, []).extend(addresses[whom])
        if self._called is not None:
            for identity, guard in {**compiled.prepared, **compiled.guards}.items():
                if guard.direction == direction:
                    own.setdefault(identity, [])
        return {
            identity: frozenset(prefixes(self._family, tuple((each, each) for each in sorted(found))))
            for identity, found in sorted(own.items())
            if found or self._called is not None
        }

    def _counting(self, members: Members, direction: str) -> dict[str, list[str]]:
        """By guard the rules that count, by pods, what is denied to them or of them."""
        if self._called is None:
            return {identity: [denies(direction, each) for each in sorted(own)] for identity, own in members.items()}
        found = {}
        for identity, own in members.items():
            refusing = self._to({identity: own}, ENDS[direction][0], _refused(identity), counted=True)
            found[identity] = [f"{refusing}-j DROP"]
        return found

    def _lead(self, verb: str, members: Members, direction: str, digits: str = "") -> str:
        """A rule that leads packets of some guards' addresses on, and the chains to which it leads.

        Only the first rule is a jump; those below are gotos (-g), so a packet that a guard returns is back there.

        :param digits: that all of the guards begin with, and are told by so far
        """
        tree = CHAINS + direction.upper()
        chain = f"{tree}-{digits}" if digits else tree
        if len(members) == 1:
            chain = CHAINS + next(iter(members))
        else:
            below: dict[str, Members] = {}
            for identity, own in members.items():
                some = identity if len(members) <= WIDTH else identity[: len(digits) + 1]
                below.setdefault(some, {})[identity] = own
            self._chain(chain, [self._lead("-g", inside, direction, some) for some, inside in sorted(below.items())])
        return f"{self._to(members, ENDS[direction][0], f'{direction} {chain}')}{verb} {chain}"

    def _guard(self, guard: Guard, counting: Iterable[str]) -> None:
        # What is denied is counted by its pod; only packets that are denied pass that chain.
        denied = CHAINS + guard.identity + DENIED
        logs = [] if self._log is None else [_logs(self._log, guard.direction)]
        self._chain(denied, [*logs, *counting, "-j DROP"])
        self._chain(CHAINS + guard.identity, [*(text for text, _policies in self.rules(guard)), f"-g {denied}"])

    def rules(self, guard: Guard) -> list[tuple[str, tuple[str, ...]]]:
        """The rules of a guard's chain but the last one, and the policies that each is of."""
        found: list[tuple[str, tuple[str, ...]]] = []
        peer = ENDS[guard.direction][1]
        for allowance in guard.allowances:
            if allowance.peers is None:
                match = ""
            elif allowance.pods and self._called is not None:
                match = self._look(self.peers(guard, allowance, self._called), peer)
            elif self._family in allowance.peers:
                match = self._ranges(allowance.peers[self._family], peer)
            else:
                continue
            found += [(f"{ports}{match}-j RETURN", allowance.policies) for ports in _matches(allowance.ports)]
        return found

    def _ranges(self, ranges: Ranges, end: str) -> str:
        # A set holds no prefix without bits.
        everybody = ((0, 2 ** BITS[self._family] - 1),)
        return "" if ranges == everybody else self._match(frozenset(prefixes(self._family, ranges)), end)

    def peers(self, guard: Guard, allowance: Allowance, called: Names) -> IpSet:
        """The set of the pods that an allowance means, each of them an element."""
        ranges = (allowance.peers or {}).get(self._family, ())
        singles = tuple((each, each) for first, last in ranges for each in range(first, last + 1))
        allowed = "everything" if allowance.ports is None else [tuple(port) for port in allowance.ports]
        role = f"peers {guard.identity} {allowed} {allowance.policies}"
        elements = frozenset(each for single in singles for each in prefixes(self._family, (single,)))
        return iptables_sets.by_role(called, self._family, role, elements)

    def _to(self, members: Members, end: str, role: str, counted: bool = False) -> str:
        """What asks whether an end of a packet is before one of some guards."""
        wanted = frozenset().union(*members.values())
        if self._called is None:
            return self._match(wanted, end)
        made = iptables_sets.by_role(self._called, self._family, role, wanted, counted)
        for identity in members:
            self._found.ways.setdefault((self._family, identity), []).append(made.name)
        return self._look(made, end)

    def _match(self, wanted: frozenset[str], end: str) -> str:
        return self._look(iptables_sets.by_content(self._family, wanted), end)

    def _look(self, made: IpSet, end: str) -> str:
        self._found.sets[made.name] = made
        return f"-m set --match-set {made.name} {end} "

    def _chain(self, name: str, rules: Iterable[str]) -> None:
        chain = IptablesChain(self._flavour, self._family, name, tuple(map(IPTABLES.rule, rules)))
        self._found.rules[key(chain)] = chain


def refused(called: Names, identity: str, family: int) -> str:
    """The set that counts what a guard denies, by pods."""
    return called.name(family, _refused(identity))


def _refused(identity: str) -> str:
    return f"refused by {identity}"


def denies(direction: str, prefix: str) -> str:
    """The rule that counts what is denied to, or of, a guarded address."""
    return f"{ {INGRESS: '-d', EGRESS: '-s'}[direction] } {prefix} -j DROP"


def _logs(log: Log, direction: str) -> str:
    prefix = log.prefix(direction)
    target = f"LOG --log-prefix {prefix} --log-level info"
    if log.group is not None:
        target = f"NFLOG --nflog-group {log.group} --nflog-prefix {prefix}"
    return f"-m limit --limit {log.rate} --limit-burst {log.burst} -j {target}"


def _matches(ports: Ports) -> Iterator[str]:
    """What rules ask of protocol and port; nothing where all are allowed."""
    if ports is None:
        yield ""
        return
    by_protocol: dict[str, list[str]] = {}
    for each in ports:
        text = str(each.first) if each.first == each.last else f"{each.first}:{each.last}"
        by_protocol.setdefault(each.protocol, []).append(text)
    for protocol, texts in by_protocol.items():
        if texts == [f"0:{MAX_PORT}"]:
            yield f"-p {protocol} "
            continue
        for some in _parcels(texts):
            yield f"-p {protocol} -m multiport --dports {','.join(some)} "


def _parcels(texts: Iterable[str]) -> Iterator[list[str]]:
    """Ports and ranges, as many at a time as a multiport match holds."""
    parcel: list[str] = []
    room = MULTIPORT
    for text in texts:
        takes = 2 if ":" in text else 1
        if takes > room:
            yield parcel
            parcel, room = [], MULTIPORT
        parcel.append(text)
        room -= takes
    yield parcel
