# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies on a node: what its pods may send and receive, enforced by a packet filter of one's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import service_pins
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf import EBPF
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_flows import REMEMBERED_FLOWS
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import FLOWS
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import backends
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.bridged import ports, unseen
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import (
    EBPF_NAME,
    chosen,
    has_programs,
    sees_nothing,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy import (
    attached,
    denials,
    denied_flows,
    documents,
    endpoints,
    told,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import World, compile_policies
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Judge
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_namespaces,
    inspect_policies,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.preparation import prepared
from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import senders
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility
    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Told

_UNTRANSLATED = (
    "policy: the services of this node are not sent on at the pods' interfaces, so policies by eBPF see a service's "
    "address, not the backend's; run podnet.fabric.services"
)

DEFAULTS: dict[str, Any] = {
    "bridge": "podnet0",
    "flows": 131072,
    "fragments": 8192,
    "antispoofing": True,
    "attach": True,
}


class PolicyKind:
    """See the module's documentation for the parameters."""

    name = "policy"
    # Before pods are attached: they come under their policies before their first packet.
    rank = 60
    # What the rules deny from now on is forgotten after they are there.
    facilities: Sequence[Facility] = (*backends.FACILITIES, FLOWS, REMEMBERED_FLOWS)

    def __init__(self, since: Callable[[], Told] = told.RECORDS.read_all) -> None:
        """:param since: what is known beyond the declaration; of who declares all anew, nothing."""
        self._since = since
        # A run asks twice, before and after its changes, with the same items.
        self._compiled: list[tuple[Mapping[str, Any], backends.Enforced]] = []

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspect_policies(inspection, "policies", params["policies"])
        namespaces = params.get("namespaces") or {}
        inspect_namespaces(inspection, "namespaces", namespaces)
        known = endpoints.inspect_endpoints(inspection, "endpoints", params["endpoints"])
        settings = {each: params.get(each, default) for each, default in DEFAULTS.items()}
        for each in ("flows", "fragments"):
            inspection.integer(each, settings[each], 1, maps.MOST)
        log = denials.inspect_log(inspection, "log", params.get("log"))
        inspection.conclude()
        return {
            **settings,
            "log": log,
            "node": params["node"],
            "backend": chosen({**params, **settings}, former),
            "policies": params["policies"],
            "namespaces": {name: labels or {} for name, labels in namespaces.items()},
            "endpoints": sorted(
                known + endpoints.of_others(_by_now(former), params.get("asked"), known),
                key=lambda each: (each["namespace"], each["name"]),
            ),
        }

    def target(self, items: Items, former: Items, host: Host) -> Target:
        self._compiled = [(item, self._enforced(item, host, item in former.values())) for item in items.values()]
        wanted = {item["backend"]: each for item, each in self._compiled}
        target = backends.target(wanted, [item["backend"] for item in former.values()], host)
        known = {name: Judge(each.compiled, each.guarded) for name, each in wanted.items()}
        judging = {name: judge for name, judge in known.items() if judge.addresses}
        # eBPF has its own flows, and stands where bridged packets pass.
        by_programs = judging.pop(EBPF_NAME, None)
        judges = list(judging.values())
        ended = {
            FLOWS.name: denied_flows.tracked(judges, host) if judges else {},
            REMEMBERED_FLOWS.name: denied_flows.remembered(by_programs, _standing(target)) if by_programs else {},
        }
        conflicts = [*target.conflicts, *_unseen(judges)]
        # The declaration may be large; whichever of the two comes to the other is refused.
        if wanted.keys() - {EBPF_NAME} and any(map(service_pins.passes, service_pins.folders())):
            conflicts += sees_nothing(items, host.declarations.read("service"))
        notes = [_UNTRANSLATED] if EBPF_NAME in wanted and _lacks_programs(host) else []
        return Target(
            {**target.current, **ended},
            {**target.desired, **{name: {} for name in ended}},
            conflicts,
            [*target.notes, *notes],
        )

    def in_force(self, item: Mapping[str, Any], host: Host) -> backends.Enforced:
        """What a declared item means by now: of a run, what that has put in force."""
        return self._enforced(item, host, True)

    def _enforced(self, item: Mapping[str, Any], host: Host, known: bool) -> backends.Enforced:
        made = next((each for former, each in self._compiled if former is item), None)
        return made or enforced(item, host, known, self._since())


def enforced(item: Mapping[str, Any], host: Host, known: bool = True, since: Told | None = None) -> backends.Enforced:
    """What a declaration means on this node, for the pods that are there by now (see policy/attached.py).

    :param since: what has been told of pods of other nodes since
    """
    policies = [documents.read(document) for document in item["policies"]]
    present = attached.present(told.overlaid(item["endpoints"], since or {}), item["node"], known)
    everybody = [(entry["node"], endpoints.read(entry)) for entry in present]
    world = World(item["namespaces"], [endpoint for _node, endpoint in everybody])
    # One that is expected, of which the inventory tells ports or labels, stands behind none before it is there.
    guarded = [endpoint for node, endpoint in everybody if node == item["node"] and endpoint.addresses]
    settings = backends.Settings(item["bridge"], item["flows"], item["fragments"])
    # A declaration of an earlier version says nothing of it.
    guarding = ports(item["bridge"], host) if item.get("antispoofing") else ()
    compiled = compile_policies(policies, world, guarded)
    if item.get("attach"):
        compiled = compiled._replace(prepared=prepared(policies, world))
    expecting = bool(compiled.prepared) and bool(item.get("antispoofing"))
    return backends.Enforced(
        compiled, guarded, settings, senders(guarded, guarding), denials.read(item), expecting=expecting
    )


def _by_now(former: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A declaration with what has been told since, for the nodes that are not asked anew."""
    return None if former is None else told.included(former)


def _standing(target: Target) -> set[str]:
    """The datapaths whose table is as it should be."""
    current, desired = (state.get(EBPF.name, {}) for state in (target.current, target.desired))
    return {key[1] for key, obj in current.items() if key[0] == "table" and desired.get(key) == obj}


def _unseen(judges: Sequence[Judge]) -> list[str]:
    """What is bridged, and passes the rules by, unless br_netfilter hands it over."""
    guarded = {family for judge in judges for family, _address in judge.addresses}
    return unseen(guarded, "policies would not hold between pods of this node")


def _lacks_programs(host: Host) -> bool:
    """Whether services were declared for policies by another packet filter.

    Theirs is another run, which somebody may have forgotten. Where programs are, the declaration is not read, as it may
    be large; what is wrong with it is told by the kind that it is of.
    """
    if service_pins.datapaths():
        return False
    try:
        items = host.declarations.read("service").values()
    except DeclarationError:
        return False
    return any(item["services"] and not has_programs(item) for item in items)


KIND = PolicyKind()
