# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of a node itself: what it may be sent and may send, past ports that no policy closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import FLOWS, TrackedFlow, observe
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, part
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS, Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import nftables_hosts
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints, failsafe, hosts
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Compiled, World, compile_policies
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow, Judge
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_namespaces,
    inspect_policies,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS, holds, of_networks
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target, line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint

SHOWN = 10
"""Flows that a note names."""
IP_IN_IP = ("4", "41")
"""The protocols as flows have them, IPPROTO_IPIP and IPPROTO_IPV6 (linux/in.h)."""


class HostPolicyKind:
    """See the module's documentation for the parameters."""

    name = "host_policy"
    # After all else, tunnels and pods too.
    rank = 80
    facilities = (NFTABLES,)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspect_policies(inspection, "policies", params["policies"], hosts=True)
        namespaces = params.get("namespaces") or {}
        inspect_namespaces(inspection, "namespaces", namespaces)
        known = endpoints.inspect_endpoints(inspection, "endpoints", params.get("endpoints") or [])
        nodes = hosts.inspect_nodes(inspection, "nodes", params["nodes"])
        if not inspection.findings and params["node"] not in [node["name"] for node in nodes]:
            inspection.refuse("node", repr(params["node"]), "give the name of one of the nodes")
        interfaces = [*(params.get("interfaces") or [])]
        for path, text in (("bridge", params["bridge"]), *((f"interfaces[{n}]", e) for n, e in enumerate(interfaces))):
            if not endpoints.INTERFACE.match(str(text)) or "*" in str(text):
                inspection.refuse(path, repr(text), "give the name of an interface")
        ports = failsafe.inspect_failsafe(inspection, "failsafe", params.get("failsafe") or {})
        needs = failsafe.inspect_needs(inspection, "needs", params.get("needs") or [])
        inspection.conclude()
        return {
            "node": params["node"],
            "bridge": params["bridge"],
            "interfaces": sorted(interfaces),
            "failsafe": ports,
            "needs": sorted(needs),
            "policies": params["policies"],
            "namespaces": {name: labels or {} for name, labels in namespaces.items()},
            "nodes": nodes,
            "endpoints": sorted(
                known + endpoints.of_others(former, params.get("asked"), known),
                key=lambda each: (each["namespace"], each["name"]),
            ),
        }

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: dict[tuple[str, str], Any] = {}
        notes: list[str] = []
        for name, item in items.items():
            nodes, compiled = compiled_for(item)
            around = _surroundings(item, nodes)
            desired.update(nftables_hosts.render(compiled, (hosts.NAMESPACE, item["node"]), around))
            if desired and former.get(name) != item:
                notes += _denied(compiled, item["node"], around, host)
        return part(lambda key: key[1].startswith(nftables_hosts.PREFIX), desired)._replace(notes=notes)


def compiled_for(item: Mapping[str, Any]) -> tuple[list[Endpoint], Compiled]:
    """The nodes of a declaration, and what its policies mean for this one."""
    nodes = [hosts.read_node(node) for node in item["nodes"]]
    pods = [endpoints.read(entry) for entry in item["endpoints"]]
    policies = [hosts.read(document) for document in item["policies"]]
    own = [node for node in nodes if node.name == item["node"]]
    return nodes, compile_policies(policies, World(item["namespaces"], [*nodes, *pods]), own)


def _surroundings(item: Mapping[str, Any], nodes: Sequence[Endpoint]) -> nftables_hosts.Surroundings:
    """:raises DeclarationError: somebody has edited what is about to be written into a rule."""
    wrong = [
        each for each in (*item["interfaces"], item["bridge"]) if not endpoints.INTERFACE.match(each) or "*" in each
    ]
    if wrong:
        raise DeclarationError(f"the declaration holds {wrong[0]!r} for an interface; run the playbook again")
    ports, needs = failsafe.read(item)
    return nftables_hosts.Surroundings(ports, needs, nodes, item["interfaces"], item["bridge"])


def _denied(compiled: Compiled, name: str, around: nftables_hosts.Surroundings, host: Host) -> list[str]:
    """What now stands and could not begin any more. It goes on: among it may be what the operator is here by."""
    addresses = dump_addresses(host.netlink, host.names)
    packed = {each.address for each in addresses}
    # What policies do not hold for: other interfaces than the named ones, and the way to the node's own pods.
    spared = {each.address for each in addresses if around.interfaces and each.dev not in around.interfaces}
    pods = of_networks(f"{IP_TEXTS[each.address]}/{each.prefixlen}" for each in addresses if each.dev == around.bridge)
    others = {(family, each) for node in around.nodes for family, found in node.addresses.items() for each in found}
    whole = hosts.read_node({"name": name, "labels": {}, "addresses": []})
    held = {
        family: tuple(int.from_bytes(each, "big") for each in packed - spared if len(each) == bits // 8)
        for family, bits in BITS.items()
    }
    judge = Judge(compiled, [whole._replace(addresses=held)])

    def unwanted(tracked: TrackedFlow) -> bool:
        inbound, outbound = tracked.destination in packed, tracked.source in packed
        if inbound == outbound:
            return False
        source, destination = (int.from_bytes(end, "big") for end in (tracked.source, tracked.destination))
        family = 4 if len(tracked.source) == 4 else 6
        if outbound and holds(pods.get(family, ()), destination):
            return False
        always = around.failsafe["inbound" if inbound else "outbound"]
        if (family, source if inbound else destination) in others:
            always = (*always, *around.needs.ports)
            if around.needs.ipip and tracked.protocol in IP_IN_IP:
                return False
        if any((tracked.protocol, tracked.destination_port) == (port.protocol, port.first) for port in always):
            return False
        return not judge.allows(Flow(family, source, destination, tracked.protocol, tracked.destination_port))

    found = sorted(line(FLOWS, flow) for flow in observe(packed, unwanted).values())
    if not found:
        return []
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    count = f"{len(found)} flow{'s' if len(found) > 1 else ''}"
    listed = "; ".join([*found[:SHOWN], *more])
    return [f"host_policy: {count} of this node could not begin any more, and will go on until they end: {listed}"]


KIND = HostPolicyKind()
