# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what compiled policies do with a flow, without a packet filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import holds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Allowance,
        Compiled,
        Endpoint,
        Guard,
        Ports,
    )


class Flow(NamedTuple):
    """What a flow's first packet is, addresses as numbers; ``port`` is the destination's, 0 where there is none."""

    family: int
    source: int
    destination: int
    protocol: str
    port: int


class Judge:
    """Knows which guard stands before an address."""

    def __init__(self, compiled: Compiled, guarded: Iterable[Endpoint]) -> None:
        self._before: dict[str, dict[tuple[int, int], Guard]] = {INGRESS: {}, EGRESS: {}}
        for endpoint in guarded:
            for direction, before in compiled.before.items():
                identity = before.get((endpoint.namespace, endpoint.name))
                if identity is not None:
                    for family, addresses in endpoint.addresses.items():
                        for address in addresses:
                            self._before[direction][family, address] = compiled.guards[identity]

    @property
    def addresses(self) -> frozenset[tuple[int, int]]:
        """The addresses, with their family, before which there is a guard."""
        return frozenset().union(*self._before.values())

    def allows(self, flow: Flow) -> bool:
        """Whether a flow may begin. An address always reaches itself."""
        return flow.source == flow.destination or (self.may_leave(flow) and self.may_arrive(flow))

    def may_leave(self, flow: Flow) -> bool:
        """What the guard of the source says."""
        guard = self._before[EGRESS].get((flow.family, flow.source))
        return guard is None or _passes(guard, flow.destination, flow)

    def may_arrive(self, flow: Flow) -> bool:
        """What the guard of the destination says."""
        guard = self._before[INGRESS].get((flow.family, flow.destination))
        return guard is None or _passes(guard, flow.source, flow)


def _passes(guard: Guard, peer: int, flow: Flow) -> bool:
    return any(_covers(each.ports, flow) and _includes(each, peer, flow.family) for each in guard.allowances)


def _includes(allowance: Allowance, peer: int, family: int) -> bool:
    return allowance.peers is None or holds(allowance.peers.get(family, ()), peer)


def _covers(ports: Ports, flow: Flow) -> bool:
    return ports is None or any(
        port.protocol == flow.protocol and port.first <= flow.port <= port.last for port in ports
    )
