# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what a compiled policy does with the first packet of a flow, without a packet filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import holds

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Allowance,
        Compiled,
        Endpoint,
        Guard,
        Ports,
    )


class Flow(NamedTuple):
    """The first packet of a flow between two pods, by addresses of one family."""

    source: Endpoint
    destination: Endpoint
    family: int
    protocol: str
    port: int


def allows(compiled: Compiled, flow: Flow) -> bool:
    """Whether a flow may begin. A pod always reaches itself."""
    ends = ((EGRESS, flow.source, flow.destination), (INGRESS, flow.destination, flow.source))
    if flow.source[:2] == flow.destination[:2]:
        return True
    for direction, guarded, peer in ends:
        identity = compiled.before[direction].get((guarded.namespace, guarded.name))
        if identity is not None and not _passes(compiled.guards[identity], peer, flow):
            return False
    return True


def _passes(guard: Guard, peer: Endpoint, flow: Flow) -> bool:
    return any(_covers(each.ports, flow) and _includes(each, peer, flow.family) for each in guard.allowances)


def _includes(allowance: Allowance, peer: Endpoint, family: int) -> bool:
    if allowance.peers is None:
        return True
    ranges = allowance.peers.get(family, ())
    return any(holds(ranges, address) for address in peer.addresses.get(family, ()))


def _covers(ports: Ports, flow: Flow) -> bool:
    return ports is None or any(
        port.protocol == flow.protocol and port.first <= flow.port <= port.last for port in ports
    )
