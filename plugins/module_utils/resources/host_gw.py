# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes to the peers' blocks through the peers' own addresses: no device, no header, one L2 subnet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import NEXTHOPS, ROUTES
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.overhead import BYTES
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources import tunnel
from ansible_collections.podnet.fabric.plugins.module_utils.resources.charge import direct_vias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


class HostGw:
    """See the module's documentation for the parameters."""

    name = "host_gw"
    rank = 40
    facilities = (NEXTHOPS, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        item = tunnel.normal(inspection, params, BYTES[self.name], host)
        for position, peer in enumerate(item["peers"]):
            path = f"peers[{position}]"
            if "direct" not in peer:
                inspection.refuse(
                    f"{path}.direct",
                    f"{peer['name']} ({peer['underlay']}) is not on the node's own subnet",
                    "take it out, or take a dataplane that crosses subnets: vxlan, geneve, ipip, wireguard, bgp",
                )
            families = {":" in str(address) for address in (peer["underlay"], peer.get("second")) if address}
            lost = [block for block in peer["blocks"] if (":" in block) not in families]
            if lost:
                inspection.refuse(
                    f"{path}.blocks",
                    f"{', '.join(lost)} of {peer['name']}, which has no underlay address of that family",
                    "give it one (second), or take vxlan, geneve or wireguard, which carry both families over either",
                )
        inspection.conclude()
        return item

    def target(self, items: Items, former: Items, host: Host) -> Target:
        found = tunnel.routing(host, self.name, set(), items, list(direct_vias(items)))
        return Target(found.current, found.desired, found.conflicts, found.notes)


KIND = HostGw()
