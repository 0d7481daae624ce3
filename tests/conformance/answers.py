# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which probes reach, as the documents say and as the compiler's evaluation does."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import World, compile_policies
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow, Judge
from tests.conformance import naive, surroundings

if TYPE_CHECKING:
    from tests.conformance.prober import Cell


def question(cell: Cell, family: int) -> naive.Question:
    protocol, port, source, destination = cell
    address = surroundings.address_of(destination, family)
    return naive.Question(surroundings.source_of(source, destination, family), address, protocol.upper(), port)


def from_own_node(cell: Cell) -> bool:
    _protocol, _port, source, destination = cell
    return source in surroundings.NODES and surroundings.own_node(destination) == source - surroundings.PODS


def told(cluster: naive.Cluster, family: int, cells: list[Cell]) -> dict[Cell, bool]:
    """What the documents say."""
    return {cell: naive.allows(cluster, question(cell, family), from_own_node=from_own_node(cell)) for cell in cells}


def compiled(cluster: naive.Cluster, family: int, cells: list[Cell]) -> dict[Cell, bool]:
    """What the compiler's evaluation says, of endpoints as the module reads them."""
    pods = [
        endpoints.read({**each, "ports": [{**port, "protocol": port["protocol"].lower()} for port in each["ports"]]})
        for each in cluster.endpoints
    ]
    world = World(cluster.namespaces, pods)
    judge = Judge(compile_policies([documents.read(each) for each in cluster.policies], world, pods), pods)
    found = {}
    for cell in cells:
        asked = question(cell, family)
        source, destination = (int(ipaddress.ip_address(address)) for address in asked[:2])
        flow = Flow(family, source, destination, cell[0], asked.port)
        found[cell] = judge.allows(flow) or (from_own_node(cell) and judge.may_leave(flow))
    return found
