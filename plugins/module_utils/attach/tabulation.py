# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out what attach/table.py goes by, from the declaration whose policies are in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import stamp
from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf, nftables
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import EBPF_NAME, OF_ELEMENTS
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    SEPARATE,
    identity_of,
    numbered,
    rules_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.backends import Enforced
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Allowance, Guard
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import Policy, Rule, Selector


def tabulated(item: Mapping[str, Any], enforced: Enforced) -> dict[str, Any] | None:
    """The table for a declaration's item; None where every pod takes a reconcile.

    With antispoofing by iptables rules come for each pod; nftables and eBPF have elements for it.
    """
    backend = item["backend"]
    if item.get("antispoofing") and backend not in OF_ELEMENTS:
        return None
    if backend == EBPF_NAME and not programs.has_tcx():
        return None
    policies = sorted(map(documents.read, item["policies"]), key=_name)
    # With iptables there are no elements that a pod could be led to its guard by.
    guards = {**enforced.compiled.prepared, **enforced.compiled.guards} if backend in OF_ELEMENTS else {}
    gone = record.gone()
    return {
        "stamp": stamp(),
        "programs": _programs(item["bridge"], policies) if backend == EBPF_NAME else None,
        "senders": item["bridge"] if item.get("antispoofing") else None,
        "claimed": sorted(
            {name for each in item["endpoints"] if each["node"] == item["node"] for name in each.get("interfaces", ())}
            - {item["bridge"]}
        ),
        "namespaces": item["namespaces"],
        "stated": {
            f"{each['namespace']}/{each['name']}": {"labels": each.get("stated", {}), "ports": bool(each["ports"])}
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
        "guards": _ways(guards.values(), {_name(policy): policy for policy in policies}, backend),
        "peers": [each for policy in policies for each in _peers(policy, backend, guards.values())],
    }


def _name(policy: Policy) -> str:
    return f"{policy.namespace}/{policy.name}"


def _ways(guards: Iterable[Guard], policies: Mapping[str, Policy], backend: str) -> dict[str, list[Any]]:
    """What leads an address to each guard, for pods whose ports have no names: by direction and policies.

    A chain, and by family the map with addresses that lead there, and the sets that each such address is in. With eBPF
    the number of the guard, and the direction.
    """
    found: dict[str, list[Any]] = {}
    for guard in guards:
        direction = guard.direction
        if guard.identity == identity_of(direction, [policies[name] for name in guard.policies], ()):
            key = " ".join((direction, *guard.policies))
            by_family: dict[str, list[Any]] = {}
            if backend == EBPF_NAME:
                by_family = {str(family): [direction, []] for family in nftables.FAMILIES}
                found[key] = [f"{ebpf.number_of(guard.identity):x}", by_family]
                continue
            for family in nftables.FAMILIES:
                sets = [nftables.refused(direction, family)]
                if direction == INGRESS:
                    sets.append(f"{nftables.RECEIVERS}{family}")
                by_family[str(family)] = [nftables.leading(direction, family), sets]
            found[key] = [nftables.PREFIX + guard.identity, by_family]
    return found


def _peers(policy: Policy, backend: str, guards: Iterable[Guard]) -> list[Any]:
    """The pods that a policy's rules mean, with the sets by family that they are in; None where it takes more."""
    if backend not in OF_ELEMENTS:
        rules = (*(policy.ingress or ()), *(policy.egress or ()))
        return [[member, None] for rule in rules for member in _members(policy, rule)]
    found: list[Any] = []
    whose = _name(policy)
    # What no guard of this node says does not matter here.
    for guard in guards:
        if whose in guard.policies:
            for rule in rules_of(policy, guard.direction) or ():
                sets = (_entries if backend == EBPF_NAME else _sets)(guard, whose, rule)
                if sets != {}:
                    found += ([member, sets] for member in _members(policy, rule))
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


def _of_pods(guard: Guard, whose: str, rule: Rule) -> list[Allowance] | None:
    """What says of the pods of a rule, and of no blocks, that they are allowed; None where everybody is.

    Empty as well where it is said of many policies together, and where ports go by names.
    """
    if len(guard.policies) > SEPARATE or any(port.name for port in rule.ports or ()):
        return []
    ports = numbered(rule.ports)
    mine = [each for each in guard.allowances if each.policies == (whose,) and each.ports in (None, ports)]
    if any(each.peers is None for each in mine):
        return None
    return [each for each in mine if each.ports == ports and each.pods]


def _sets(guard: Guard, whose: str, rule: Rule) -> dict[str, str] | None:
    """The sets that the pods of a rule are in, by family; none where everybody may do what it says."""
    of_pods = _of_pods(guard, whose, rule)
    if of_pods is None:
        return {}
    members = [made.members for made in nftables.rules(guard._replace(allowances=tuple(of_pods))) if made.members]
    return {"4" if each.type == nftables.FAMILIES[4][1] else "6": each.name for each in members} or None


def _entries(guard: Guard, whose: str, rule: Rule) -> dict[str, str] | None:
    """Where the pods of a rule are in a guard of eBPF, and the ports that they may have, by family."""
    of_pods = _of_pods(guard, whose, rule)
    if not of_pods:
        return {} if of_pods is None else None
    ports = ebpf.ports_number(numbered(rule.ports))
    return {str(family): f"{ebpf.peers_of(guard.identity, family):x} {ports:x}" for family in nftables.FAMILIES}


def _programs(bridge: str, policies: Iterable[Policy]) -> dict[str, Any]:
    """Before whose ports programs are, and the elements of the sets of ports that rules allow to pods."""
    rules = (rule for policy in policies for rule in (*(policy.ingress or ()), *(policy.egress or ())))
    ports = {numbered(rule.ports) for rule in rules} - {None}
    found = {f"{ebpf.ports_number(each):x}": sorted(key.hex() for key in ebpf.ports_elements(each)) for each in ports}
    return {"bridge": bridge, "ports": found}


def _plain(selector: Selector) -> list[Any]:
    return [[each.key, each.operator, sorted(each.values)] for each in selector]
