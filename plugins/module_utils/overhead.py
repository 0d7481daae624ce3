# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each dataplane adds to a pod's packet, for the plan on the controller and for the checks on the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_IP = {4: 20, 6: 40}  # RFC 791 without options; RFC 8200 without extension headers
_UDP = 8  # RFC 768
_ETHERNET = 14  # the pod's frame inside, without its check sequence
_VXLAN = 8  # RFC 7348, section 5
_GENEVE = 8  # RFC 8926, section 3.4: without options, which are never sent
# Type 4, receiver, counter and authentication tag (WireGuard paper, 5.4.6). The padding to 16 bytes costs nothing: the
# kernel pads up to the device's MTU and no further (drivers/net/wireguard/send.c, calculate_skb_padding).
_WIREGUARD = 16 + 16

BYTES: Mapping[str, Mapping[int, int]] = {
    "vxlan": {family: _IP[family] + _UDP + _VXLAN + _ETHERNET for family in (4, 6)},
    "geneve": {family: _IP[family] + _UDP + _GENEVE + _ETHERNET for family in (4, 6)},
    # IPv4 travels in IPv4 (RFC 2003) and IPv6 in IPv6 (RFC 2473, without the encapsulation limit of section 4.1.1).
    "ipip": _IP,
    "wireguard": {family: _IP[family] + _UDP + _WIREGUARD for family in (4, 6)},
    "host_gw": {4: 0, 6: 0},
    "bgp": {4: 0, 6: 0},
}
"""Bytes by dataplane, and by the family of the outer addresses."""

OWN_FAMILY = frozenset({"ipip", "host_gw", "bgp"})
"""Dataplanes that carry packets of a family between underlay addresses of the same family; the others carry both."""


def overhead(dataplane: str, underlay: int, pods: Iterable[int]) -> int:
    """Return the bytes by which the pods' MTU is smaller than the underlay's: one MTU for both families of pods.

    :param underlay: address family of the nodes' (first) underlay addresses, 4 or 6
    :param pods: address families of the pods
    """
    outer = list(pods) if dataplane in OWN_FAMILY else []
    return max(BYTES[dataplane][family] for family in outer or [underlay])
