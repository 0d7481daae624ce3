# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, services and devices against one another and against the underlay: what no schema can see."""

from __future__ import annotations

import ipaddress
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Network, Node, Pool

# A block holds its network address (the tunnel's), the bridge's address, at least four pods and, for IPv4, a broadcast address.
LONGEST_BLOCK = {4: 29, 6: 125}


def pool_problems(pools: Sequence[Pool], nodes: int) -> list[Problem]:
    """Check the pools by themselves and against the number of nodes."""
    problems = []
    for index, pool in enumerate(pools):
        path = f"podnet_pools[{index}]"
        problems += _unusable(f"{path}.cidr", pool.network)
        problems += _block_size(path, pool)
        twin = next((other for other, former in enumerate(pools[:index]) if former.name == pool.name), None)
        if twin is not None:
            found = f"'{pool.name}', the name of podnet_pools[{twin}] too"
            problems.append(Problem(f"{path}.name", found, "a name of its own for each pool", "rename one of the two"))
    for (one, first), (two, second) in combinations(enumerate(pools), 2):
        if first.network.overlaps(second.network):
            found = f"{second.network}, which overlaps podnet_pools[{one}].cidr {first.network}"
            problems.append(Problem(f"podnet_pools[{two}].cidr", found, "pools that are apart", "move one of the two"))
    return problems or _too_few_blocks(pools, nodes)


def range_problems(pools: Sequence[Pool], services: Sequence[Network], nodes: Sequence[Node]) -> list[Problem]:
    """Check pools and service ranges against each other and against what the underlay uses."""
    ranges = [(f"podnet_pools[{index}].cidr", pool.network) for index, pool in enumerate(pools)]
    problems = []
    for index, service in enumerate(services):
        path = f"podnet_service_cidrs[{index}]"
        for other, network in [*ranges, *((f"podnet_service_cidrs[{n}]", services[n]) for n in range(index))]:
            if service.overlaps(network):
                found = f"{service}, which overlaps {other} {network}"
                problems.append(Problem(path, found, "ranges that are apart", "move one of the two"))
    ranges += [(f"podnet_service_cidrs[{index}]", network) for index, network in enumerate(services)]
    for path, network in ranges:
        problems += _underlay_inside(path, network, nodes)
    return problems


def outside_problems(outside: Sequence[str], pools: Sequence[Pool]) -> list[Problem]:
    """Check that the addresses which stand for the world outside are not in the pod network."""
    problems = []
    for index, text in enumerate(outside):
        for number, pool in enumerate(pools):
            if ipaddress.ip_address(text) in pool.network:
                found = f"{text}, which lies in podnet_pools[{number}].cidr {pool.network}"
                cure = "name a host that is not a pod"
                problems.append(
                    Problem(f"podnet_verify_outside[{index}]", found, "an address outside the pod network", cure)
                )
    return problems


def device_problems(settings: Mapping[str, Any], nodes: Sequence[Node]) -> list[Problem]:
    """Check that no two devices of a node go by one name."""
    problems = []
    bridge, tunnel = settings.get("podnet_bridge_name"), settings.get("podnet_vxlan_device")
    if bridge is not None and bridge == tunnel:
        found = f"'{tunnel}', the name in podnet_bridge_name too"
        problems.append(
            Problem("podnet_vxlan_device", found, "a name of its own for each device", "rename one of the two")
        )
    for variable, name in (("podnet_bridge_name", bridge), ("podnet_vxlan_device", tunnel)):
        clashing = [node.name for node in nodes if name is not None and node.underlay.interface == name]
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


def _block_size(path: str, pool: Pool) -> list[Problem]:
    shortest, longest = pool.network.prefixlen, LONGEST_BLOCK[pool.family]
    if shortest > longest:
        found = f"{pool.network}, smaller than the smallest block"
        cure = "make the pool larger"
        return [Problem(f"{path}.cidr", found, f"a network of /{longest} or larger", cure)]
    if shortest <= pool.block_size <= longest:
        return []
    found = str(pool.block_size)
    if pool.block_size > longest:
        found = f"{found}, a block with fewer than 4 addresses for pods"
    elif pool.block_size < shortest:
        found = f"{found}, a block larger than the pool {pool.network}"
    wanted = f"a whole number from {shortest} to {longest}"
    return [Problem(f"{path}.block_size", found, wanted, "choose a number in that range")]


def _too_few_blocks(pools: Sequence[Pool], nodes: int) -> list[Problem]:
    problems = []
    for family in sorted({pool.family for pool in pools}):
        mine = [(index, pool) for index, pool in enumerate(pools) if pool.family == family]
        blocks = sum(pool.capacity for _index, pool in mine)
        if blocks < nodes:
            of = names(
                [f"podnet_pools[{index}] ({pool.network} in blocks of /{pool.block_size})" for index, pool in mine]
            )
            found = f"{blocks} IPv{family} {'block' if blocks == 1 else 'blocks'} in {of}"
            cure = "enlarge cidr, set a larger number as block_size, or add a pool"
            problems.append(Problem("podnet_pools", found, f"{nodes}, one for each node", cure))
    return problems


def _underlay_inside(path: str, network: Network, nodes: Sequence[Node]) -> list[Problem]:
    """Complain once per range and subnet, naming the nodes; a node's address says more than its subnet."""
    addresses = [node for node in nodes if node.underlay.address in network]
    if addresses:
        first = addresses[0]
        found = f"{network}, which holds the underlay address {first.underlay.address} of {first.name}"
        if len(addresses) > 1:
            found += f" (and of {names([node.name for node in addresses[1:]])})"
        return [Problem(path, found, "a range that the underlay does not use", "move the range")]
    subnets: dict[Network, list[str]] = {}
    for node in nodes:
        if node.underlay.network is not None:
            subnets.setdefault(node.underlay.network, []).append(node.name)
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
