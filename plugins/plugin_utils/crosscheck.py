# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, services and devices against one another and against the underlay: what no schema can see."""

from __future__ import annotations

import ipaddress
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import DEVICES
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Network, Node, ServiceRange

# A block holds the tunnel's address, the bridge's, four pods' or more and, in IPv4, the broadcast address.
LONGEST_BLOCK = {4: 29, 6: 125}
DEVICE_VARIABLES = ("podnet_bridge_name", *(f"podnet_{setting}" for setting in DEVICES))


def pool_problems(pools: Sequence[Pool]) -> list[Problem]:
    """Check the pools by themselves and against each other."""
    problems = []
    first_of: dict[str, Pool] = {}
    for pool in pools:
        problems += _unusable(f"{pool.path}.cidr", pool.network)
        problems += _block_size(pool)
        twin = first_of.setdefault(pool.name, pool)
        if twin is not pool:
            found = f"'{pool.name}', the name of {twin.path} too"
            problems.append(
                Problem(f"{pool.path}.name", found, "a name of its own for each pool", "rename one of them")
            )
    return problems + _overlaps(pools)


def capacity_problems(pools: Sequence[Pool], nodes: int, wanted: int) -> list[Problem]:
    """Check that there can be the blocks of each family that all nodes want together."""
    problems = []
    for family in sorted({pool.family for pool in pools}):
        mine = [pool for pool in pools if pool.family == family]
        blocks = sum(pool.capacity for pool in mine)
        if blocks < wanted:
            of = names([f"{pool.path} ({pool.network} in blocks of /{pool.block_size})" for pool in mine])
            found = f"{blocks} IPv{family} {'block' if blocks == 1 else 'blocks'} in {of}"
            cure = "enlarge cidr, set a larger number as block_size, or add a pool"
            each = "one for each node" if wanted == nodes else f"as podnet_blocks says for {nodes} nodes"
            problems.append(Problem("podnet_pools", found, f"{wanted}, {each}", cure))
    return problems


def range_problems(pools: Sequence[Pool], services: Sequence[ServiceRange], nodes: Sequence[Node]) -> list[Problem]:
    """Check service ranges against each other and the pools, and all of them against what the underlay uses."""
    problems = _overlaps(services)
    for service in services:
        problems += [_overlap(service, pool) for pool in pools if service.network.overlaps(pool.network)]
    for pool in pools:
        problems += _underlay_inside(f"{pool.path}.cidr", pool.network, nodes)
    for service in services:
        problems += _underlay_inside(service.path, service.network, nodes)
    return problems


def outside_problems(outside: Sequence[str], pools: Sequence[Pool]) -> list[Problem]:
    """Check that the addresses which stand for the world outside are not in the pod network."""
    problems = []
    for index, text in enumerate(outside):
        for pool in pools:
            if ipaddress.ip_address(text) in pool.network:
                found = f"{text}, which lies in {pool.path}.cidr {pool.network}"
                cure = "name a host that is not a pod"
                problems.append(
                    Problem(f"podnet_verify_outside[{index}]", found, "an address outside the pod network", cure)
                )
    return problems


def device_problems(settings: Mapping[str, Any], nodes: Sequence[Node]) -> list[Problem]:
    """Check that no two devices of a node go by one name, those of other dataplanes than the chosen one included."""
    problems = []
    first_of: dict[str, str] = {}
    for variable in DEVICE_VARIABLES:
        name = settings.get(variable)
        if name is None:
            continue  # the schema's problem already
        twin = first_of.setdefault(name, variable)
        if twin != variable:
            found = f"'{name}', the name in {twin} too"
            problems.append(Problem(variable, found, "a name of its own for each device", "rename one of the two"))
        clashing = [node.name for node in nodes if node.underlay.interface == name]
        if clashing:
            found = f"'{name}', the underlay interface of {names(clashing)}"
            problems.append(
                Problem(variable, found, "the name of a device that podnet may make", "choose another name")
            )
    return problems


def _unusable(path: str, network: Network) -> list[Problem]:
    for text, which in (
        ("the unspecified network", network.is_unspecified or network.network_address.is_unspecified),
        ("a loopback range", network.is_loopback),
        ("a multicast range", network.is_multicast),
        ("a link-local range", network.is_link_local),
    ):
        if which:
            cure = "take a private range such as 10.244.0.0/16 or fd00:10:244::/48"
            return [Problem(path, f"{network}, {text}", "a range whose addresses hosts can have", cure)]
    return []


def _block_size(pool: Pool) -> list[Problem]:
    shortest, longest = pool.network.prefixlen, LONGEST_BLOCK[pool.family]
    if shortest > longest:
        found = f"{pool.network}, smaller than the smallest block"
        return [Problem(f"{pool.path}.cidr", found, f"a network of /{longest} or larger", "make the pool larger")]
    if shortest <= pool.block_size <= longest:
        return []
    if pool.block_size > longest:
        found = f"{pool.block_size}, a block with fewer than 4 addresses for pods"
    else:
        found = f"{pool.block_size}, a block larger than the pool {pool.network}"
    wanted = f"a whole number from {shortest} to {longest}"
    return [Problem(f"{pool.path}.block_size", found, wanted, "choose a number in that range")]


def _overlaps(ranges: Sequence[Pool | ServiceRange]) -> list[Problem]:
    return [_overlap(two, one) for one, two in combinations(ranges, 2) if one.network.overlaps(two.network)]


def _overlap(one: Pool | ServiceRange, other: Pool | ServiceRange) -> Problem:
    found = f"{one.network}, which overlaps {_path(other)} {other.network}"
    return Problem(_path(one), found, "ranges that are apart", "move one of the two")


def _path(of: Pool | ServiceRange) -> str:
    return f"{of.path}.cidr" if isinstance(of, Pool) else of.path


def _underlay_inside(path: str, network: Network, nodes: Sequence[Node]) -> list[Problem]:
    """Complain once per range and subnet, naming the nodes; a node's address says more than its subnet."""
    holding = [
        (node.name, foothold.address)
        for node in nodes
        for foothold in node.underlay.footholds
        if foothold.address in network
    ]
    if holding:
        (first, address), *others = holding
        found = f"{network}, which holds the underlay address {address} of {first}"
        if others:
            found += f" (and of {names([name for name, _address in others])})"
        return [Problem(path, found, "a range that the underlay does not use", "move the range")]
    subnets: dict[Network, list[str]] = {}
    for node in nodes:
        for foothold in node.underlay.footholds:
            if foothold.network is not None:
                subnets.setdefault(foothold.network, []).append(node.name)
    return [
        Problem(
            path,
            f"{network}, which overlaps the underlay's subnet {subnet} of {names(found)}",
            "a range that the underlay does not use",
            "move the range",
        )
        for subnet, found in subnets.items()
        if subnet.overlaps(network)
    ]
