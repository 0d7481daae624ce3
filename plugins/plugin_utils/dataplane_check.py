# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the dataplane can do what the inventory asks of it, on the underlay that the nodes have."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import CROSS_SUBNET, DATAPLANES, names_where
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Foothold, Network, Node, Pool
    from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import Dataplane

# Of more subnets than these, only how they lie to the largest is told: the pairs grow with the square.
PAIRED_SUBNETS = 4

Footing = tuple["Foothold | None", ...]  # a node's addresses, one for each family that counts
Place = tuple["Network | None", ...]  # their subnets


def problems(cluster: Mapping[str, Any], nodes: Sequence[Node], pools: Sequence[Pool]) -> list[Problem]:
    """Check the dataplane of the cluster.

    :param cluster: the cluster-wide variables that are valid, by full name
    """
    dataplane = DATAPLANES.get(cluster.get("podnet_dataplane", ""))
    if dataplane is None:
        return []  # the schema's problem already
    families = sorted({pool.family for pool in pools})
    return [
        *_encapsulation(dataplane, cluster.get("podnet_encapsulation", "")),
        *(problem for family in families for problem in _without_family(dataplane, family, nodes, pools)),
        *(_apart(dataplane, nodes, families) if dataplane.same_subnet else ()),
    ]


def _encapsulation(dataplane: Dataplane, encapsulation: str) -> list[Problem]:
    if encapsulation != CROSS_SUBNET or dataplane.cross_subnet:
        return []
    why = "encrypts all that it carries" if dataplane.tunnels else "encapsulates nothing"
    found = f"cross_subnet with podnet_dataplane {dataplane.name}, which {why}"
    cure = f"set always, or {names_where('cross_subnet')} as podnet_dataplane"
    return [Problem("podnet_encapsulation", found, f"always with {dataplane.name}", cure)]


def _without_family(dataplane: Dataplane, family: int, nodes: Sequence[Node], pools: Sequence[Pool]) -> list[Problem]:
    """Complain of nodes that are known to have no underlay address of a family that the pods have."""
    if dataplane.carries_both:
        return []
    without = [node.name for node in nodes if node.underlay.second_known and node.underlay.foothold(family) is None]
    if not without:
        return []
    of = names([pool.path for pool in pools if pool.family == family])
    found = f"{dataplane.name} with IPv{family} pods ({of}) and no IPv{family} underlay address on {names(without)}"
    wanted = f"an IPv{family} address on the underlay interface of every node, between which IPv{family} packets travel"
    cure = (
        f"give the nodes one (podnet_underlay.second_address names it), set {names_where('carries_both')}, "
        f"or remove the IPv{family} pools"
    )
    return [Problem("podnet_dataplane", found, wanted, cure)]


def _apart(dataplane: Dataplane, nodes: Sequence[Node], families: Sequence[int]) -> list[Problem]:
    """Complain of nodes that are known to be in other subnets than their peers: one problem per pair of subnets."""
    groups: dict[Place, list[tuple[str, Footing]]] = defaultdict(list)
    for node in nodes:
        footing = tuple(node.underlay.foothold(family) for family in families)
        place = tuple(None if foothold is None else foothold.network for foothold in footing)
        groups[place].append((node.name, footing))
    if len(groups) <= PAIRED_SUBNETS:
        return [
            _problem(dataplane, [(one, groups[one]), (other, groups[other])], split)
            for one, other in combinations(groups, 2)
            if (split := _split(one, groups[one], other, groups[other]))
        ]
    largest = max(groups, key=lambda place: len(groups[place]))
    splits = {place: split for place in groups if (split := _split(largest, groups[largest], place, groups[place]))}
    if not splits:
        return []
    split = sorted({position for found in splits.values() for position in found})
    return [_problem(dataplane, [(place, groups[place]) for place in (largest, *splits)], split)]


def _split(
    one: Place, ones: Sequence[tuple[str, Footing]], other: Place, others: Sequence[tuple[str, Footing]]
) -> list[int]:
    """Return the positions of the families in which nodes of two groups do not see each other in their subnets."""
    found = []
    for position, (first, second) in enumerate(zip(one, other, strict=True)):
        if first is None or second is None or first == second:
            continue
        # Prefix lengths may differ and yet agree on the nodes there are.
        if not (_all_in(second, ones, position) and _all_in(first, others, position)):
            found.append(position)
    return found


def _all_in(subnet: Network, group: Sequence[tuple[str, Footing]], position: int) -> bool:
    footholds = [footing[position] for _name, footing in group]
    return all(foothold is not None and foothold.address in subnet for foothold in footholds)


def _problem(
    dataplane: Dataplane, groups: Sequence[tuple[Place, Sequence[tuple[str, Footing]]]], split: Sequence[int]
) -> Problem:
    told = [
        f"{names([name for name, _footing in group])} in {names([str(place[position]) for position in split])}"
        for place, group in groups
    ]
    apart = " but ".join(told) if len(told) == 2 else f"nodes in {len(told)} subnets ({names(told)})"
    found = f"{dataplane.name} with {apart}"
    tunnels = names_where("tunnels").replace(" or ", ", ")
    cure = f"set {tunnels}, or bgp with top-of-rack routers, or move the nodes into one subnet"
    wanted = "all nodes in one subnet, as the next hop of a packet is the node that it goes to"
    return Problem("podnet_dataplane", found, wanted, cure)
