# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies on a node: what its pods may send and receive, enforced by nftables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, part
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.nftables import PREFIX, render
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import World, compile_policies
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import inspect_labels, inspect_policies

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
        if isinstance(namespaces, dict):
            for each, labels in namespaces.items():
                inspect_labels(inspection, f"namespaces.{each}", labels)
        else:
            inspection.refuse("namespaces", repr(namespaces), "give a mapping of namespaces to their labels")
        known = endpoints.inspect_endpoints(inspection, "endpoints", params["endpoints"])
        inspection.conclude()
        return {
            "node": params["node"],
            "policies": params["policies"],
            "namespaces": {str(each): labels or {} for each, labels in namespaces.items()},
            "endpoints": known,
        }

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: Objects = {}
        for item in items.values():
            policies = [documents.read(document) for document in item["policies"]]
            everybody = [(entry["node"], endpoints.read(entry)) for entry in item["endpoints"]]
            world = World(item["namespaces"], [endpoint for _node, endpoint in everybody])
            guarded = [endpoint for node, endpoint in everybody if node == item["node"]]
            desired.update(render(compile_policies(policies, world, guarded), guarded))
        return part(lambda key: key[1].startswith(PREFIX), desired)


KIND = PolicyKind()
