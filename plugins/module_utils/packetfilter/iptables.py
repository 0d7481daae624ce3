# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled policies as chains of iptables' table ``filter`` and IP sets.

A packet of a flow that stands passes at once. The first packet of another is looked up, by its source and by its
destination, in the set of all addresses that are guarded there, then in the set of each guard: a guard's chain returns
what an allowance covers and drops the rest. Where there are more than a few guards, chains lead to them by the first
digits of their identities, sixteen at a step, each with the set of the addresses below it. So the time that a packet
takes depends on the number of pods not at all, and on that of guards by its logarithm.

A set bears the digest of its elements in its name. Another content is another set, made before the transaction that
leads the rules to it and removed after it: no packet ever meets a half of a change.

What passes is returned to the chain that led here, so the node's other rules have their say, as they would with
nftables. Chains see what packetfilter/nftables.py's see: FORWARD, and INPUT for what a pod sends to its own node.
Before all that comes whether a packet's source belongs to the pod behind the port of the bridge that it came out of.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import ADDRESSES, PREFIXES, IpSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    IptablesChain,
    IptablesJump,
    key,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import SET_FAMILIES, Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS, MAX_PORT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS, prefixes
from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import LINK_LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Compiled,
        Endpoint,
        Guard,
        Ports,
    )
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.denials import Log
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import Sender

CHAINS = "PODNET-POLICY-"
DENIED = "-D"
SETS = "podnet-policy-"

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
# What has no address yet: is this one free, where are routers, who listens to what, as in nftables_senders.py.
UNSPECIFIED = (135, 133, 131, 143)

Members = dict[str, frozenset[str]]
"""Guarded addresses by the identity of their guard."""


def render(
    flavour: str,
    compiled: Compiled,
    guarded: Iterable[Endpoint],
    senders: Sequence[Sender] = (),
    log: Log | None = None,
) -> Rendering:
    """The objects in a flavour of iptables; none of a family in which nothing is guarded."""
    addresses = {(endpoint.namespace, endpoint.name): endpoint.addresses for endpoint in guarded}
    found = Rendering({}, {})
    for family in BITS:
        drawing = Drawing(flavour, family, found, log)
        drawing.guards(compiled, {whom: of_whom.get(family, ()) for whom, of_whom in addresses.items()}, senders)
    return found


class Drawing:
    """The chains and sets of one family."""

    def __init__(self, flavour: str, family: int, found: Rendering, log: Log | None = None) -> None:
        self._flavour = flavour
        self._family = family
        self._found = found
        self._log = log

    def guards(
        self, compiled: Compiled, addresses: Mapping[tuple[str, str], tuple[int, ...]], senders: Sequence[Sender]
    ) -> None:
        looks: dict[str, list[str]] = {INGRESS: [], EGRESS: []}
        turned: list[str] = []
        origin = self._origin(senders)
        for direction, before in compiled.before.items():
            numbers: dict[str, list[int]] = {}
            for whom, identity in before.items():
                numbers.setdefault(identity, []).extend(addresses[whom])
            members = {
                identity: frozenset(prefixes(self._family, tuple((each, each) for each in sorted(own))))
                for identity, own in sorted(numbers.items())
                if own
            }
            for identity in members:
                self._guard(compiled.guards[identity], numbers[identity])
            if members:
                looks[direction].append(self._lead("-j", members, direction, CHAINS + direction.upper()))
            if members and direction == INGRESS:
                receivers = self._match(frozenset().union(*members.values()), ENDS[INGRESS][1])
                turned.append(f"{MIDDLE}{receivers}-j DROP")
        for chain, rules in (("FORWARD", [*turned, *looks[EGRESS], *looks[INGRESS]]), ("INPUT", looks[EGRESS])):
            if rules or origin:
                self._chain(CHAINS + chain, [*origin, STANDING, *(NEIGHBOURS if self._family == 6 else ()), *rules])
                jump = IptablesJump(self._flavour, self._family, chain, CHAINS + chain)
                self._found.rules[key(jump)] = jump

    def _origin(self, senders: Sequence[Sender]) -> list[str]:
        """The rule that leads to where a packet's source is compared with the port of the bridge that it came out of.

        A source leads to the ports behind which it belongs, in as many steps as for guards. What comes out of another
        port is dropped if somebody knows that port; so only what is spoofed is compared with all of them.
        """
        if not senders:
            return []
        ports = CHAINS + "PORTS"
        behind: dict[int, tuple[str, ...]] = {}
        for sender in senders:
            for address in sender.addresses[self._family]:
                behind[address] = (*behind.get(address, ()), sender.interface)
        members: dict[str, frozenset[str]] = {}
        for interfaces in sorted(set(behind.values())):
            identity = hashlib.sha256(" ".join(interfaces).encode()).hexdigest()[:12]
            own = tuple((address, address) for address in sorted(behind) if behind[address] == interfaces)
            members[identity] = frozenset(prefixes(self._family, own))
            self._chain(CHAINS + identity, [*(f"{_out_of(each)}-j RETURN" for each in interfaces), f"-g {ports}"])
        rules = []
        if self._family == 6:
            rules = [f"-s :: -p ipv6-icmp -m icmp6 --icmpv6-type {number} -j RETURN" for number in UNSPECIFIED]
            unsure = (sender.interface for sender in senders if sender.any_link_local)
            rules += [f"-s {LINK_LOCAL} {_out_of(interface)}-j RETURN" for interface in unsure]
        if members:
            rules.append(self._lead("-g", members, EGRESS, CHAINS + "SENDER", tree=CHAINS + "SENDER"))
        self._chain(CHAINS + "SENDERS", [*rules, f"-g {ports}"])
        self._chain(ports, [f"{_out_of(sender.interface)}-j DROP" for sender in senders])
        return [f"-m physdev --physdev-is-in -j {CHAINS}SENDERS"]

    def _lead(self, verb: str, members: Members, direction: str, name: str, depth: int = 0, tree: str = "") -> str:
        """A rule that leads packets of some guards' addresses on, and the chains to which it leads.

        Only the first rule is a jump; those below are gotos (-g), so a packet that a guard returns is back there.
        """
        match = self._match(frozenset().union(*members.values()), ENDS[direction][0])
        if len(members) == 1:
            return f"{match}{verb} {CHAINS}{next(iter(members))}"
        tree = tree or CHAINS + direction.upper()
        below: dict[str, Members] = {}
        for identity, own in members.items():
            digits = identity if len(members) <= WIDTH else identity[: depth + 1]
            below.setdefault(digits, {})[identity] = own
        self._chain(
            name,
            [
                self._lead("-g", inside, direction, f"{tree}-{digits}", depth + 1, tree)
                for digits, inside in sorted(below.items())
            ],
        )
        return f"{match}{verb} {name}"

    def _guard(self, guard: Guard, members: Iterable[int]) -> None:
        # What is denied is counted by its pod; only packets that are denied pass that chain.
        denied = CHAINS + guard.identity + DENIED
        own = sorted(members)
        logs = [] if self._log is None else [_logs(self._log, guard.direction)]
        self._chain(denied, [*logs, *(denies(guard.direction, self._family, each) for each in own), "-j DROP"])
        self._chain(CHAINS + guard.identity, [*(text for text, _policies in self.rules(guard)), f"-g {denied}"])

    def rules(self, guard: Guard) -> list[tuple[str, tuple[str, ...]]]:
        """The rules of a guard's chain but the last one, and the policies that each is of."""
        found: list[tuple[str, tuple[str, ...]]] = []
        peer = ENDS[guard.direction][1]
        for allowance in guard.allowances:
            if allowance.peers is None:
                match = ""
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

    def _match(self, wanted: frozenset[str], end: str) -> str:
        bits = f"/{BITS[self._family]}"
        plain = all(prefix.endswith(bits) for prefix in wanted)
        elements = frozenset(prefix[: -len(bits)] for prefix in wanted) if plain else wanted
        signature = hashlib.sha256(" ".join(sorted(elements)).encode()).hexdigest()[:12]
        name = f"{SETS}{'a' if plain else 'p'}{self._family}-{signature}"
        self._found.sets[name] = IpSet(name, ADDRESSES if plain else PREFIXES, SET_FAMILIES[self._family], elements)
        return f"-m set --match-set {name} {end} "

    def _chain(self, name: str, rules: Iterable[str]) -> None:
        chain = IptablesChain(self._flavour, self._family, name, tuple(map(IPTABLES.rule, rules)))
        self._found.rules[key(chain)] = chain


def denies(direction: str, family: int, address: int) -> str:
    """The rule that counts what is denied to, or of, a guarded address."""
    end = {INGRESS: "-d", EGRESS: "-s"}[direction]
    return f"{end} {next(prefixes(family, ((address, address),)))} -j DROP"


def _logs(log: Log, direction: str) -> str:
    prefix = log.prefix(direction)
    target = f"LOG --log-prefix {prefix} --log-level info"
    if log.group is not None:
        target = f"NFLOG --nflog-group {log.group} --nflog-prefix {prefix}"
    return f"-m limit --limit {log.rate} --limit-burst {log.burst} -j {target}"


def _out_of(interface: str) -> str:
    return f"-m physdev --physdev-in {interface} "


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
