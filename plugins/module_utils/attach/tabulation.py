# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out what attach/table.py goes by, from the declaration whose policies are in force."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import stamp
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ipsets
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import (
    backends,
    ebpf,
    iptables,
    iptables_sets,
    nftables,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import DEFAULT, EBPF_NAME
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    SEPARATE,
    asked_of,
    in_words,
    names_asked,
    numbered,
    resolved,
    rules_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.backends import Enforced
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Allowance,
        Guard,
        Names,
        Ports,
    )
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Policy, Rule, Selector

_JOINED, _PAIRS = 3, 256
"""Of how many sets of ports in a guard all that come together are foreseen, and about how many pairs in all."""


def tabulated(item: Mapping[str, Any], enforced: Enforced) -> dict[str, Any]:
    """The table for a declaration's item."""
    backend = item["backend"]
    form = _form(backend, enforced)
    policies = sorted(map(documents.read, item["policies"]), key=_name)
    ports = _ports_by_namespace(policies, item["endpoints"])
    guards = list({**enforced.compiled.prepared, **enforced.compiled.guards}.values())
    gone = record.gone()
    return {
        "stamp": stamp(),
        "sets": isinstance(form, _Iptables),
        "programs": _programs(item["bridge"], guards) if backend == EBPF_NAME else None,
        "senders": item["bridge"] if item.get("antispoofing") else None,
        "claimed": sorted(
            {name for each in item["endpoints"] if each["node"] == item["node"] for name in each.get("interfaces", ())}
            - {item["bridge"]}
        ),
        "namespaces": item["namespaces"],
        "stated": {
            f"{each['namespace']}/{each['name']}": {
                "labels": each.get("stated", {}),
                "ports": in_words(own_ports(each)),
            }
            for each in item["endpoints"]
            if each.get("stated") or each["ports"]
        },
        "held": {
            address: f"{each['namespace']}/{each['name']}"
            for each in item["endpoints"]
            if each["node"] == item["node"]
            for address in {*each["addresses"]} - gone.get((each["namespace"], each["name"]), set())
        },
        "selecting": [
            [
                [policy.namespace, None, _plain(policy.selector)],
                _name(policy),
                [direction for direction in (INGRESS, EGRESS) if rules_of(policy, direction) is not None],
            ]
            for policy in policies
        ],
        "asking": {
            _name(policy): [f"{name}={protocol}" for name, protocol in sorted(names_asked(policy))]
            for policy in policies
            if names_asked(policy)
        },
        "ports": {name: sorted(" ".join(in_words(each)) for each in several) for name, several in ports.items()},
        "guards": {} if form is None else _ways(guards, form),
        "peers": [each for policy in policies for each in _peers(policy, guards, form)],
    }


class _Form(Protocol):
    """What pods come to with a packet filter, by family."""

    def way(self, guard: Guard) -> list[Any]:
        """What leads an address to a guard: a chain, and by family the map, or a set, and the sets that it is in."""

    def peers(self, guard: Guard, of_pods: Sequence[Allowance], ports: Ports) -> dict[str, str]:
        """The sets in which pods are that a guard allows something."""


class _Nftables:
    """A map, and sets."""

    def way(self, guard: Guard) -> list[Any]:
        by_family = {}
        for family in nftables.FAMILIES:
            sets = [nftables.refused(guard.direction, family)]
            if guard.direction == INGRESS:
                sets.append(f"{nftables.RECEIVERS}{family}")
            by_family[str(family)] = [nftables.leading(guard.direction, family), sets]
        return [nftables.PREFIX + guard.identity, by_family]

    def peers(self, guard: Guard, of_pods: Sequence[Allowance], ports: Ports) -> dict[str, str]:
        members = [made.members for made in nftables.rules(guard._replace(allowances=tuple(of_pods))) if made.members]
        return {"4" if each.type == nftables.FAMILIES[4][1] else "6": each.name for each in members}


class _Programs:
    """The number of the guard and the direction; where pods are in a guard, and the ports that they may have."""

    def way(self, guard: Guard) -> list[Any]:
        by_family = {str(family): [guard.direction, []] for family in nftables.FAMILIES}
        return [f"{ebpf.number_of(guard.identity):x}", by_family]

    def peers(self, guard: Guard, of_pods: Sequence[Allowance], ports: Ports) -> dict[str, str]:
        of_ports = ebpf.ports_number(ports)
        return {str(family): f"{ebpf.peers_of(guard.identity, family):x} {of_ports:x}" for family in nftables.FAMILIES}


class _Iptables:
    """IP sets, as those that stand are called."""

    def __init__(self, flavour: str, enforced: Enforced, called: iptables_sets.Names) -> None:
        self._called = called
        self._ways = backends.in_roles(flavour, enforced, called).ways
        nothing = Rendering({}, {}, {})
        self._drawings = {each: iptables.Drawing(flavour, each, nothing, None, called) for each in nftables.FAMILIES}

    def way(self, guard: Guard) -> list[Any]:
        ways = {family: self._ways[family, guard.identity] for family in self._drawings}
        return ["", {str(family): [first, rest] for family, (first, *rest) in ways.items()}]

    def peers(self, guard: Guard, of_pods: Sequence[Allowance], ports: Ports) -> dict[str, str]:
        return {
            str(family): drawing.peers(guard, allowance, self._called).name
            for family, drawing in self._drawings.items()
            for allowance in of_pods
        }


def _form(backend: str, enforced: Enforced) -> _Form | None:
    """None where nothing is prepared for a pod that policies know."""
    if backend in (DEFAULT, EBPF_NAME):
        return _Nftables() if backend == DEFAULT else _Programs()
    called = iptables_sets.names(ipsets.names())
    if not enforced.compiled.prepared or not called.is_one:
        return None
    return _Iptables(backend.partition("-")[2], enforced, called)


def _name(policy: Policy) -> str:
    return f"{policy.namespace}/{policy.name}"


def own_ports(endpoint: Mapping[str, Any]) -> Names:
    """The ports with names of a declared pod."""
    return tuple(sorted((each["name"], each["protocol"], int(each["port"])) for each in endpoint["ports"]))


def _ports_by_namespace(policies: Iterable[Policy], endpoints: Iterable[Mapping[str, Any]]) -> dict[str, set[Names]]:
    """What pods of a namespace have of the ports that its policies ask for."""
    inside: dict[str, list[Policy]] = defaultdict(list)
    for policy in policies:
        inside[policy.namespace].append(policy)
    found: dict[str, set[Names]] = defaultdict(set)
    for each in endpoints:
        ports = asked_of(INGRESS, inside.get(each["namespace"], ()), own_ports(each)) if each["ports"] else ()
        if ports:
            found[each["namespace"]].add(ports)
    return found


def _ways(guards: Iterable[Guard], form: _Form) -> dict[str, list[Any]]:
    """What leads an address to each guard, by direction, policies and, where these ask, the names of ports."""
    return {" ".join((guard.direction, *guard.policies, *in_words(guard.ports))): form.way(guard) for guard in guards}


def _peers(policy: Policy, guards: Iterable[Guard], form: _Form | None) -> list[Any]:
    """The pods that a policy's rules mean, with the sets by family that they are in; None where it takes more."""
    if form is None:
        rules = (*(policy.ingress or ()), *(policy.egress or ()))
        return [[member, None] for rule in rules for member in _members(policy, rule)]
    found: list[Any] = []
    whose = _name(policy)
    # What no guard of this node says does not matter here.
    for guard in guards:
        if whose in guard.policies:
            for rule in rules_of(policy, guard.direction) or ():
                ports = resolved(rule.ports, guard.ports) if guard.direction == INGRESS else numbered(rule.ports)
                of_pods = _of_pods(guard, whose, rule, ports)
                # Where everybody may do what a rule says, nobody is a peer by it, nor where nobody may.
                if of_pods is not None:
                    sets = form.peers(guard, of_pods, ports) if of_pods else {}
                    found += ([member, sets or None] for member in _members(policy, rule))
    return found


def _members(policy: Policy, rule: Rule) -> list[Any]:
    """The pods that a rule means: all there are in one without peers by the names of ports."""
    found: list[Any] = []
    if rule.peers is None and any(port.name for port in rule.ports or ()):
        found.append([policy.namespace, [], []])
    for peer in rule.peers or ():
        if isinstance(peer, documents.PodPeer):
            namespaces = None if peer.namespaces is None else _plain(peer.namespaces)
            found.append([policy.namespace, namespaces, _plain(peer.pods)])
    return found


def _of_pods(guard: Guard, whose: str, rule: Rule, ports: Ports) -> list[Allowance] | None:
    """What says of the pods of a rule, and of no blocks, that they are allowed; None where everybody is, or nobody.

    Empty as well where it is said of many policies together, and where each of the pods has a number of its own for a
    port's name.

    :param ports: what the rule means by its ports before this guard
    """
    by_name = guard.direction == EGRESS and any(port.name for port in rule.ports or ())
    if len(guard.policies) > SEPARATE or by_name:
        return []
    if ports == ():
        return None
    mine = [each for each in guard.allowances if each.policies == (whose,) and each.ports in (None, ports)]
    if any(each.peers is None for each in mine):
        return None
    return [each for each in mine if each.ports == ports and each.pods]


def _programs(bridge: str, guards: Sequence[Guard]) -> dict[str, Any]:
    """Before whose ports programs are; the elements of sets of ports, and what two of these have together."""
    found = {each.ports for guard in guards for each in guard.allowances} - {None}
    joined: dict[str, str] = {}
    for guard in guards:
        several = {each.ports for each in guard.allowances} - {None}
        if 1 < len(several) <= _JOINED:
            sizes = range(1, len(several) + 1)
            unions = {ebpf.union(each) for size in sizes for each in combinations(several, size)}
            found |= unions
            joined.update(_pair(*each) for each in combinations(unions, 2))
        if len(joined) > _PAIRS:
            break
    keys = {f"{ebpf.ports_number(each):x}": sorted(key.hex() for key in ebpf.ports_elements(each)) for each in found}
    return {"bridge": bridge, "ports": keys, "joined": joined}


def _pair(one: Ports, other: Ports) -> tuple[str, str]:
    """What two sets of ports are called, and what has the ports of both."""
    names = sorted(map(ebpf.ports_number, (one, other)))
    return " ".join(f"{each:x}" for each in names), f"{ebpf.ports_number(ebpf.union((one, other))):x}"


def _plain(selector: Selector) -> list[Any]:
    return [[each.key, each.operator, sorted(each.values)] for each in selector]
