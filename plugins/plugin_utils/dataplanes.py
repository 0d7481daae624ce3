# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan has to know of each dataplane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.overhead import OWN_FAMILY, overhead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ALWAYS = "always"
CROSS_SUBNET = "cross_subnet"


@dataclass(frozen=True)
class Dataplane:
    """How packets get from node to node. Settings are named without the prefix ``podnet_``."""

    name: str
    devices: tuple[str, ...] = ()  # settings that hold the names of its devices
    port: str | None = None  # setting that holds its UDP port
    vni: str | None = None  # setting that holds its network identifier
    tunnels: bool = True  # packets travel inside others; else as they are, and the next hop is the peer or a router
    cross_subnet: bool = False  # whether peers in one subnet can be reached past the tunnel
    same_subnet: bool = False  # whether every peer must be in one subnet

    @property
    def carries_both(self) -> bool:
        """Whether underlay addresses of one family carry pods of both."""
        return self.name not in OWN_FAMILY

    def overhead(self, underlay: int, pods: Iterable[int]) -> int:
        """Return the bytes that it takes from the underlay's MTU; see module_utils/overhead.py."""
        return overhead(self.name, underlay, pods)

    def may_go_direct(self, encapsulation: str) -> bool:
        """Whether packets to peers in the node's own subnet travel as they are."""
        return not self.tunnels or encapsulation == CROSS_SUBNET

    def outer_families(self, underlay: int, pods: Collection[int]) -> list[int]:
        """Return the families of which every node needs an underlay address."""
        return [underlay] if self.carries_both else sorted(pods)


DATAPLANES = {
    dataplane.name: dataplane
    for dataplane in (
        Dataplane("vxlan", ("vxlan_device",), port="vxlan_port", vni="vxlan_vni", cross_subnet=True),
        Dataplane("geneve", ("geneve_device",), port="geneve_port", vni="geneve_vni", cross_subnet=True),
        Dataplane("ipip", ("ipip_device", "ipip6_device"), cross_subnet=True),
        Dataplane("wireguard", ("wireguard_device",), port="wireguard_port"),
        Dataplane("host_gw", tunnels=False, same_subnet=True),
        Dataplane("bgp", tunnels=False),
    )
}

DEVICES = tuple(setting for dataplane in DATAPLANES.values() for setting in dataplane.devices)
"""The settings of all devices: while a cluster moves, two dataplanes are on a node."""


def names_where(attribute: str) -> str:
    """Return the names of the dataplanes of which a fact is true, for a sentence."""
    return " or ".join(", ".join(found for found in _true_of(attribute)).rsplit(", ", 1))


def _true_of(attribute: str) -> list[str]:
    return [name for name, dataplane in DATAPLANES.items() if getattr(dataplane, attribute)]
