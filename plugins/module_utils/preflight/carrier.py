# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each dataplane needs of a node: kinds of devices in its kernel, names, ports, protocols let in by firewalls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Carrier(NamedTuple):
    """A dataplane as a node has to know it before it is built there."""

    kinds: Mapping[int, str]  # the kind of device that carries pods of an address family
    devices: tuple[str, ...] = ()  # default names, one for each variable
    variables: tuple[str, ...] = ()  # the inventory's variables of the names
    port: int | None = None  # default UDP port
    vni: int | None = None  # default network identifier
    tcp_port: int | None = None
    protocols: Mapping[int, int] = {}  # of the outer packets, by the address family of the pods: IP protocol numbers


# RFC 2003: IPv4 in IP is protocol 4. RFC 2473: IPv6 in IPv6 is 41. RFC 4271, section 8: BGP is on TCP port 179.
CARRIERS: Mapping[str, Carrier] = {
    "vxlan": Carrier({4: "vxlan", 6: "vxlan"}, ("podnet-vx",), ("podnet_vxlan_device",), port=4789, vni=84),
    "geneve": Carrier({4: "geneve", 6: "geneve"}, ("podnet-gnv",), ("podnet_geneve_device",), port=6081, vni=84),
    "ipip": Carrier(
        {4: "ipip", 6: "ip6tnl"},
        ("podnet-ip4", "podnet-ip6"),
        ("podnet_ipip_device", "podnet_ipip6_device"),
        protocols={4: 4, 6: 41},
    ),
    "wireguard": Carrier({4: "wireguard", 6: "wireguard"}, ("podnet-wg",), ("podnet_wireguard_device",), port=51820),
    "host_gw": Carrier({}),
    "bgp": Carrier({}, tcp_port=179),
}


def kinds_of(dataplane: str, families: Sequence[int]) -> list[str]:
    """The kinds of devices that a dataplane needs for pods of these address families."""
    kinds = CARRIERS[dataplane].kinds
    return list(dict.fromkeys(kinds[family] for family in families or (4,) if family in kinds))
