# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies on a node: what its pods may send and receive, enforced by nftables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, part
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.nftables import PREFIX, render
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import World, compile_policies
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_namespaces,
    inspect_policies,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target


class PolicyKind:
    """See the module's documentation for the parameters."""

    name = "policy"
    # Before pods are attached: they come under their policies before their first packet.
    rank = 60
    facilities = (NFTABLES,)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspect_policies(inspection, "policies", params["policies"])
        namespaces = params.get("namespaces") or {}
        inspect_namespaces(inspection, "namespaces", namespaces)
        known = endpoints.inspect_endpoints(inspection, "endpoints", params["endpoints"])
        inspection.conclude()
        return {
            "node": params["node"],
            "policies": params["policies"],
            "namespaces": {name: labels or {} for name, labels in namespaces.items()},
            "endpoints": sorted(
                known + endpoints.of_others(former, params.get("asked"), known),
                key=lambda each: (each["namespace"], each["name"]),
            ),
        }

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: Objects = {}
        for item in items.values():
            policies = [documents.read(document) for document in item["policies"]]
            everybody = [(entry["node"], endpoints.read(entry)) for entry in item["endpoints"]]
            world = World(item["namespaces"], [endpoint for _node, endpoint in everybody])
            guarded = [endpoint for node, endpoint in everybody if node == item["node"]]
            desired.update(render(compile_policies(policies, world, guarded), guarded))
        target = part(lambda key: key[1].startswith(PREFIX), desired)
        return target._replace(conflicts=[*target.conflicts, *(_unseen(desired))])


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
