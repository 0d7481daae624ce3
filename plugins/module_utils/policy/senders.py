# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses may be a packet's source where it comes out of a pod: those of the pod that is behind the interface.

An interface that no attachment and no inventory tells of has no sender, and what comes out of it is left alone.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint

LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")


class Sender(NamedTuple):
    """What may come out of a pod. ``interface`` is the node's end of its pair, addresses are numbers by family, sorted.

    With ``any_link_local`` it is not known which link-local address the pod has, and each passes.
    """

    interface: str
    addresses: Mapping[int, tuple[int, ...]]
    any_link_local: bool


def senders(guarded: Iterable[Endpoint], ports: Iterable[str]) -> list[Sender]:
    """Those of the pods of a node, by interface.

    :param guarded: the pods of the node
    :param ports: the interfaces on the pods' bridge: an attachment also tells of the bridge itself
    """
    known = set(ports)
    addresses: dict[str, dict[int, set[int]]] = {}
    without: set[str] = set()
    for endpoint in guarded:
        if not endpoint.addresses:
            continue
        for interface in known.intersection(endpoint.interfaces):
            found = addresses.setdefault(interface, {4: set(), 6: set()})
            for family, numbers in endpoint.addresses.items():
                found[family].update(numbers)
            if endpoint.mac:
                found[6].add(link_local(endpoint.mac))
            else:
                without.add(interface)
    return [
        Sender(interface, {family: tuple(sorted(each)) for family, each in found.items()}, interface in without)
        for interface, found in sorted(addresses.items())
    ]


def link_local(mac: str) -> int:
    """The address that the kernel makes out of a MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    own = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return int(LINK_LOCAL.network_address) | int.from_bytes(own, "big")
