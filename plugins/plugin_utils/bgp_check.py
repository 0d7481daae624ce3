# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the nodes can learn the way to each other by BGP, as the inventory has them speak it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import names_where
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Network, Node, Pool

Speakers = dict[str, dict[str, Any]]


def speakers(cluster: Mapping[str, Any], variables: Mapping[str, Mapping[str, Any]]) -> Speakers:
    """Return podnet_bgp_node of each node, where the dataplane is BGP."""
    if cluster.get("podnet_dataplane") != "bgp":
        return {}
    return {name: settled["podnet_bgp_node"] for name, settled in variables.items() if "podnet_bgp_node" in settled}


def problems(
    cluster: Mapping[str, Any], found: Speakers, nodes: Sequence[Node], pools: Sequence[Pool]
) -> list[Problem]:
    """Check the modes against the nodes.

    :param cluster: the cluster-wide variables that are valid, by full name
    """
    bgp = cluster.get("podnet_bgp")
    if not found or bgp is None:
        return []
    families = sorted({pool.family for pool in pools})
    told = _shared_ids(found)
    if bgp["mode"] == "reflectors" and len(found) > 1 and not any(speaker["reflector"] for speaker in found.values()):
        told.append(
            Problem(
                "podnet_bgp.mode",
                "'reflectors' and no node that is one",
                "one route reflector or more",
                "set podnet_bgp_node.reflector: true on one node, better on two",
            )
        )
    if bgp["mode"] == "top_of_rack":
        told += [problem for family in families for problem in _without_router(found, family)]
    elif not bgp["routed"]:
        told += [problem for family in families for problem in _apart(bgp["mode"], nodes, family)]
    return told


def _shared_ids(found: Speakers) -> list[Problem]:
    bearers: dict[str, list[str]] = defaultdict(list)
    for name, speaker in found.items():
        if speaker["router_id"] != "auto":
            bearers[speaker["router_id"]].append(name)
    return [
        Problem(
            "podnet_bgp_node.router_id",
            f"'{router_id}' on {names(those)}",
            "a router id of its own for each node",
            "change all but one of them, or remove them to get the underlay addresses",
        )
        for router_id, those in bearers.items()
        if len(those) > 1
    ]


def _without_router(found: Speakers, family: int) -> list[Problem]:
    lonely = [
        name
        for name, speaker in found.items()
        if not any((":" in peer["address"]) == (family == 6) for peer in speaker["peers"])
    ]
    if not lonely:
        return []
    cure = f"name the routers of its rack with their IPv{family} addresses, or choose another podnet_bgp.mode"
    return [
        Problem(
            f"podnet_bgp_node.peers ({names(lonely)})",
            f"no router with an IPv{family} address",
            f"one or more, to which the node tells its IPv{family} blocks",
            cure,
        )
    ]


def _apart(mode: str, nodes: Sequence[Node], family: int) -> list[Problem]:
    """Complain of nodes in several subnets, between which a router would drop what is for pods."""
    subnets: dict[Network, list[str]] = defaultdict(list)
    for node in nodes:
        foothold = node.underlay.foothold(family)
        if foothold is not None and foothold.network is not None:
            subnets[foothold.network].append(node.name)
    if len(subnets) < 2:
        return []
    where = names([f"{names(those)} in {subnet}" for subnet, those in subnets.items()])
    cure = (
        "set podnet_bgp.mode to top_of_rack and name the routers in podnet_bgp_node.peers; or, when the routers have "
        f"routes to all blocks, set podnet_bgp.routed: true; or set {names_where('carries_both')} as podnet_dataplane"
    )
    return [
        Problem(
            "podnet_bgp.mode", f"'{mode}' and {where}", f"all nodes in one IPv{family} subnet of the underlay", cure
        )
    ]
