# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies on a node: what its pods may send and receive, enforced by one of several backends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import FLOWS, TrackedFlow, observe
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, part
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf as ebpf_renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.nftables import PREFIX, render
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    Compiled,
    Endpoint,
    World,
    compile_policies,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow, Judge
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_namespaces,
    inspect_policies,
)
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility


DEFAULTS: dict[str, Any] = {"backend": "nftables", "bridge": "podnet0", "flows": 131072, "fragments": 8192}
MAX_ENTRIES = 1 << 24
"""Entries that a map may have: two gigabytes of flows."""


class Guarded(NamedTuple):
    """An item of the declaration and what comes of it: guards, and the node's pods."""

    item: Mapping[str, Any]
    compiled: Compiled
    pods: Sequence[Endpoint]


class PolicyKind:
    """See the module's documentation for the parameters."""

    name = "policy"
    # Before pods are attached: they come under their policies before their first packet.
    rank = 60
    # What the rules deny from now on is forgotten after they are there.
    facilities: Sequence[Facility] = (NFTABLES, ebpf.EBPF, FLOWS)

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
            inspection.integer(each, settings[each], 1, MAX_ENTRIES)
        inspection.conclude()
        return {
            **settings,
            "node": params["node"],
            "policies": params["policies"],
            "namespaces": {name: labels or {} for name, labels in namespaces.items()},
            "endpoints": sorted(
                known + endpoints.of_others(former, params.get("asked"), known),
                key=lambda each: (each["namespace"], each["name"]),
            ),
        }

    def target(self, items: Items, former: Items, host: Host) -> Target:
        guarded = []
        for item in items.values():
            policies = [documents.read(document) for document in item["policies"]]
            everybody = [(entry["node"], endpoints.read(entry)) for entry in item["endpoints"]]
            world = World(item["namespaces"], [endpoint for _node, endpoint in everybody])
            pods = [endpoint for node, endpoint in everybody if node == item["node"]]
            guarded.append(Guarded(item, compile_policies(policies, world, pods), pods))
        # A backend that has nothing to do takes back what it had: the other one stands before that.
        parts = [
            backend([each for each in guarded if each.item["backend"] == name], host)
            for name, backend in BACKENDS.items()
        ]
        return Target(
            {name: objects for each in parts for name, objects in each.current.items()},
            {name: objects for each in parts for name, objects in each.desired.items()},
            [conflict for each in parts for conflict in each.conflicts],
            [note for each in parts for note in each.notes],
        )


def _by_nftables(guarded: Sequence[Guarded], host: Host) -> Target:
    desired: Objects = {}
    for each in guarded:
        desired.update(render(each.compiled, each.pods))
    target = part(lambda key: key[1].startswith(PREFIX), desired)
    judges = [Judge(each.compiled, each.pods) for each in guarded]
    current = {**target.current, "flows": _denied(judges, host) if desired else {}}
    return Target(current, {**target.desired, "flows": {}}, [*target.conflicts, *_unseen(desired)])


def _by_ebpf(guarded: Sequence[Guarded], host: Host) -> Target:
    """At the ports of the pods' bridge."""
    desired: dict[tuple[str, ...], Any] = {}
    notes = []
    for item, compiled, pods in guarded:
        bridge = item["bridge"]
        if bridge not in host.links:
            notes.append(f"policy: there is no bridge {bridge}, so nothing is enforced; run again when there is")
        ports = sorted(name for name, link in host.links.items() if link.master == bridge)
        elements = ebpf_renderer.render(compiled, pods)
        desired.update(ebpf.wanted(elements, ports, item["flows"], item["fragments"], host))
    target = ebpf.part(desired, host)
    return Target(target.current, target.desired, target.conflicts, notes)


BACKENDS: Mapping[str, Callable[[Sequence[Guarded], Host], Target]] = {"nftables": _by_nftables, "ebpf": _by_ebpf}


def _denied(judges: Sequence[Judge], host: Host) -> dict[Hashable, TrackedFlow]:
    """Flows that began before a policy which now denies them. What the node itself sends to its pods is not judged."""
    own = {address.address for address in dump_addresses(host.netlink, host.names)}

    def unwanted(tracked: TrackedFlow) -> bool:
        source, destination = (int.from_bytes(end, "big") for end in (tracked.source, tracked.destination))
        family = 4 if len(tracked.source) == 4 else 6
        flow = Flow(family, source, destination, tracked.protocol, tracked.destination_port)
        if source == destination:
            return False
        return not all(judge.may_leave(flow) and (tracked.source in own or judge.may_arrive(flow)) for judge in judges)

    ends = {
        address.to_bytes(4 if family == 4 else 16, "big") for judge in judges for family, address in judge.addresses
    }
    return observe(ends, unwanted)


def _unseen(desired: Objects) -> list[str]:
    """What is bridged, and passes the rules by, unless br_netfilter hands it over."""
    families = {4: ("iptables", "ipv4_addr"), 6: ("ip6tables", "ipv6_addr")}
    guarded = {obj.type for (sort, _name), obj in desired.items() if sort == "map"}
    blind = [
        f"net.bridge.bridge-nf-call-{tool}"
        for tool, sort in families.values()
        if sort in guarded and _setting(f"/proc/sys/net/bridge/bridge-nf-call-{tool}") != "1"
    ]
    return [
        f"{' and '.join(blind)}: not 1, so policies would not hold between pods of this node; load the module "
        "br_netfilter (modprobe, and a line in /etc/modules-load.d) and set it to 1"
    ] * bool(blind)


def _setting(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


KIND = PolicyKind()
