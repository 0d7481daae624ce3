# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What services do with a new connection on one node, in a form that no packet filter's words are part of.

The meaning is that of kube-proxy's nftables mode (KEP-3866), its choice of backends that of CategorizeEndpoints()
(pkg/proxy/topology.go of Kubernetes, KEP-1669 for those that terminate).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import reduce
from math import gcd
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import Listed, Service, ServicePort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import Address, Probe

FORWARD, REJECT, DROP = "forward", "reject", "drop"

STRANGERS, EVERYBODY, THE_NODE = "strangers", "everybody", "the node"
"""Whose address is hidden from the backend: that of all but pods, of all, or of the node that programs it alone."""


class Frontend(NamedTuple):
    """Where clients connect to; without an address, any address of the node."""

    family: int
    address: int | None
    protocol: str
    port: int


class Backend(NamedTuple):
    """Where a connection may be sent to."""

    address: int
    port: int


Candidates = Sequence[tuple[Backend, Listed]]
"""Backends with their conditions."""

Out = Mapping[str, AbstractSet[tuple[int, Backend]]]
"""By the full name of a service, the families and places at which its checks fail."""

NOBODY: Out = MappingProxyType({})


class Answer(NamedTuple):
    """What happens to a new connection. A backend that stands there twice gets twice as many."""

    verdict: str
    backends: tuple[Backend, ...] = ()


class Handling(NamedTuple):
    """What a service does at a frontend: to those ``inside``, this node and its pods, and to those ``outside``.

    ``affinity`` in seconds, 0 for none; ``sources`` are the only ones let in, None for everybody.
    """

    service: str
    inside: Answer
    outside: Answer
    masquerade: str
    affinity: int
    sources: Ranges | None = None


class Table(NamedTuple):
    """All of it. A connection to one of the ``cluster`` addresses at no frontend is rejected."""

    frontends: Mapping[Frontend, Handling]
    cluster: frozenset[Address]


class World:
    """The backends that there are: pods by their labels, and what slices list."""

    def __init__(
        self,
        pods: Iterable[tuple[str, Endpoint]],
        listed: Mapping[tuple[str, str], Sequence[Listed]],
        others: Mapping[tuple[str, str], World] | None = None,
    ) -> None:
        """:param pods: with the name of their node
        :param others: by namespace and name, the services that have a world of their own
        """
        self._others = others or {}
        self._listed = listed
        self._labelled: dict[tuple[str, str, str], list[tuple[str, Endpoint]]] = defaultdict(list)
        for node, pod in pods:
            for key, value in pod.labels.items():
                self._labelled[pod.namespace, key, value].append((node, pod))
        self._known: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[str, Endpoint]]] = {}

    def candidates(self, service: Service, port: ServicePort, family: int) -> list[tuple[Backend, Listed]]:
        """The backends of a port, whatever their condition."""
        if (service.namespace, service.name) in self._others:
            return self._others[service.namespace, service.name].candidates(service, port, family)
        found = []
        for node, pod in self._selected(service):
            number = _number(port, pod)
            if number:
                found += [
                    (Backend(address, number), Listed((family, address), node))
                    for address in pod.addresses.get(family, ())
                ]
        for each in self._listed.get((service.namespace, service.name), ()):
            for name, protocol, number in each.ports:
                if each.address[0] == family and (name, protocol) == (port.name, port.protocol):
                    found.append((Backend(each.address[1], number), each))
        return found

    def _selected(self, service: Service) -> Sequence[tuple[str, Endpoint]]:
        if not service.selector:
            return ()
        wanted = service.selector.items()
        if len(wanted) == 1:
            return next(self._labelled.get((service.namespace, *label), ()) for label in wanted)
        whose = (service.namespace, frozenset(wanted))
        if whose not in self._known:
            # Of the labels that it asks for, the one that the fewest pods have.
            fewest = min((self._labelled.get((service.namespace, *label), []) for label in wanted), key=len)
            self._known[whose] = [(node, pod) for node, pod in fewest if wanted <= pod.labels.items()]
        return self._known[whose]


def compile_services(services: Iterable[Service], world: World, node: str, out: Out = NOBODY) -> Table:
    """Compile for a node.

    :param out: where checks fail
    """
    frontends: dict[Frontend, Handling] = {}
    cluster: set[Address] = set()
    for service in services:
        cluster.update(service.cluster)
        for port in service.ports:
            for family in families(service):
                found = living(service, family, world.candidates(service, port, family), out)
                frontends.update(_port(service, port, family, found, node))
    return Table(frontends, frozenset(cluster))


def families(service: Service) -> set[int]:
    """The families of all its addresses."""
    return {*service.families, *(family for family, _number in service.external + service.balancers)}


def full_name(service: Service) -> str:
    """By which nodes know it."""
    return f"{service.namespace}/{service.name}"


def living(service: Service, family: int, found: Candidates, out: Out) -> Candidates:
    """The backends without those whose checks fail.

    Where no other could take connections, all stay: a check that fails everywhere tells more of the check, or of this
    node's way to the backends, than of them (what Envoy calls a panic).
    """
    gone = out.get(full_name(service))
    if service.probe is None or not gone:
        return found
    left = [(backend, each) for backend, each in found if (family, probed(service.probe, backend)) not in gone]
    return left if _usable(service, left) else found


def probed(probe: Probe, backend: Backend) -> Backend:
    """Where a backend is asked how it is."""
    return backend._replace(port=probe.port) if probe.port else backend


def _port(
    service: Service, port: ServicePort, family: int, found: Candidates, node: str
) -> Iterator[tuple[Frontend, Handling]]:
    anywhere = _usable(service, found)
    everything = local = Answer(FORWARD, anywhere) if anywhere else Answer(REJECT)
    if service.internal_local or service.external_local:
        here = _usable(service, [(backend, each) for backend, each in found if each.node == node])
        # Where there are others but none here, somebody else may answer: no reason to tell the client that nobody does.
        local = Answer(FORWARD, here) if here else Answer(DROP if anywhere else REJECT)
    name = f"{full_name(service)}{':' if port.name else ''}{port.name}"
    internal = local if service.internal_local else everything
    handling = Handling(name, internal, internal, STRANGERS, service.affinity)
    for address in _of(service.cluster, family):
        yield Frontend(family, address, port.protocol, port.port), handling
    if not (port.node_port or service.external or service.balancers):
        return
    if service.external_local:
        # From inside it is as if the connection went out, to a balancer, and in again at a node that has backends.
        handling = Handling(name, everything, local, THE_NODE, service.affinity)
    else:
        handling = Handling(name, everything, everything, EVERYBODY, service.affinity)
    if port.node_port and family in service.families:
        yield Frontend(family, None, port.protocol, port.node_port), handling
    for address in _of(service.external, family):
        yield Frontend(family, address, port.protocol, port.port), handling
    limited = handling._replace(sources=service.sources.get(family)) if service.sources else handling
    for address in _of(service.balancers, family):
        yield Frontend(family, address, port.protocol, port.port), limited


def _usable(service: Service, found: Candidates) -> tuple[Backend, ...]:
    """Those that are ready; where none is, those that still serve while they terminate."""
    if len(found) == 1 and found[0][1].ready and found[0][1].weight:
        return (found[0][0],)
    ready = [(backend, each.weight) for backend, each in found if each.ready or service.not_ready_too]
    if not ready:
        ready = [(backend, each.weight) for backend, each in found if each.serving and each.terminating]
    weights = {backend: weight for backend, weight in ready if weight}
    if len(weights) == 1:
        return tuple(weights)
    shared = reduce(gcd, weights.values(), 0) or 1
    return tuple(backend for backend in sorted(weights) for _turn in range(weights[backend] // shared))


def _number(port: ServicePort, pod: Endpoint) -> int:
    if isinstance(port.target, int):
        return port.target
    wanted = (port.target, port.protocol)
    return next((number for name, protocol, number in pod.ports if (name, protocol) == wanted), 0)


def _of(addresses: Iterable[Address], family: int) -> Iterator[int]:
    return (address for version, address in addresses if version == family)
