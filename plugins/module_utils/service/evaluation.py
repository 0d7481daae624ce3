# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what compiled services do with a new connection, without a packet filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import holds
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    DROP,
    EVERYBODY,
    FORWARD,
    REJECT,
    STRANGERS,
    Backend,
    Frontend,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Handling, Table
    from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import Address

NO_SERVICE = "no service"
LOOPBACK = {4: (127 << 24, (128 << 24) - 1), 6: (1, 1)}
"""No node port is there: a packet from there would have to leave the node (route_localnet)."""


class Place(NamedTuple):
    """The node that a connection passes: its own addresses and pods, and where the cluster's pods and services are."""

    own: frozenset[Address]
    blocks: Mapping[int, Ranges]
    pods: Mapping[int, Ranges]
    services: Mapping[int, Ranges]


class Decision(NamedTuple):
    """What happens, where the connection may end up, and at which backends it does not show the client's address."""

    verdict: str
    backends: frozenset[Backend] = frozenset()
    masqueraded: frozenset[Backend] = frozenset()


def decide(table: Table, flow: Flow, place: Place) -> Decision:
    """What a node does with a connection that begins."""
    handling = _handling(table, flow, place)
    if handling is None:
        if (flow.family, flow.destination) in table.cluster:
            return Decision(REJECT)
        services = place.services.get(flow.family, ())
        return Decision(DROP if holds(services, flow.destination) else NO_SERVICE)
    if handling.sources is not None and not holds(handling.sources, flow.source):
        return Decision(DROP)
    node = (flow.family, flow.source) in place.own
    inside = node or holds(place.blocks.get(flow.family, ()), flow.source)
    answer = handling.inside if inside else handling.outside
    if answer.verdict != FORWARD:
        return Decision(answer.verdict)
    backends = frozenset(answer.backends)
    stranger = not holds(place.pods.get(flow.family, ()), flow.source)
    hidden = {EVERYBODY: True, STRANGERS: stranger}.get(handling.masquerade, node)
    return Decision(FORWARD, backends, frozenset(each for each in backends if hidden or each.address == flow.source))


def _handling(table: Table, flow: Flow, place: Place) -> Handling | None:
    frontend = Frontend(flow.family, flow.destination, flow.protocol, flow.port)
    if frontend in table.frontends:
        return table.frontends[frontend]
    first, last = LOOPBACK[flow.family]
    if (flow.family, flow.destination) in place.own and not first <= flow.destination <= last:
        return table.frontends.get(frontend._replace(address=None))
    return None
