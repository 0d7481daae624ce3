# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What VXLAN and Geneve share: tunnels with Ethernet inside, whose neighbours are all known (RFC 7348, RFC 8926)."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import NUD_PERMANENT
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import Neighbour, dump_neighbours
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import records
from ansible_collections.podnet.fabric.plugins.module_utils.overhead import BYTES
from ansible_collections.podnet.fabric.plugins.module_utils.resources import tunnel
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import derived_mac, inspect_addresses

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.peers import Block

MAX_VNI = (1 << 24) - 1


def normal(kind: str, name: str, params: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """An item of either kind out of a module's parameters.

    :raises InvalidInput: with every finding
    """
    inspection = Inspection()
    inspection.interface("name", name)
    inspection.integer("vni", params["vni"], 1, MAX_VNI)
    inspection.integer("port", params["port"], 1, 65535)
    item = {
        **tunnel.normal(inspection, params, BYTES[kind], host),
        "vni": params["vni"],
        "port": params["port"],
        "mac": inspection.mac("mac", params["mac"]) if params.get("mac") else derived_mac(name),
        "addresses": inspect_addresses(inspection, params.get("addresses") or []),
    }
    inspection.conclude()
    return item


def neighbours(host: Host, names: Sequence[str]) -> dict[Hashable, Neighbour]:
    """What was set by hand or by us on our devices; what the kernel found out by itself passes by itself."""
    return {
        neighbour[:2]: neighbour
        for name in names
        for neighbour in dump_neighbours(host.netlink, host.names, host.links[name].index)
        if neighbour[3] & NUD_PERMANENT
    }


def wanted_neighbours(name: str, blocks: Iterable[Block]) -> dict[Hashable, Neighbour]:
    """A permanent neighbour for the gateway of each peer and family."""
    places = {(block[3], block[4]) for block in blocks}
    if not places:
        return {}
    gateways, macs = zip(*places)
    entries = records(Neighbour, repeat(name), gateways, macs, repeat(NUD_PERMANENT), repeat(0))
    return dict(zip(zip(repeat(name), gateways), entries))
