# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the pods of each node ask, and how their packets should travel. Pure, and linear in nodes when sampled."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import travel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Above this many nodes `auto` samples: 40 pods asking 39 others in two families are about 3,000 questions.
SAMPLED_ABOVE = 20
RANDOM_PEERS = 3
OUTSIDE = "outside"

Pods = list[dict[str, Any]]
Targets = list[dict[str, Any]]


def of_all_nodes(plan: Mapping[str, Any], pods: Mapping[str, Pods]) -> dict[str, Targets]:
    """Targets of every node's pods, by node.

    :param plan: what podnet.fabric.plan made
    :param pods: the probe pods of each node, as podnet.fabric.pod returns them
    """
    names = sorted(pods)
    scope = plan["settings"]["verify_scope"]
    sampled = scope == "sample" or (scope == "auto" and len(names) > SAMPLED_ABOVE)
    outside = plan["settings"]["verify_outside"]
    return {
        name: [
            *(
                target
                for peer in (_sample(names, place, plan["cluster"]) if sampled else names)
                for target in _pods(way, name, peer, pods[peer])
            ),
            *_outside(plan, pods[name], outside),
        ]
        for place, name in enumerate(names)
        for way in [travel.ways(plan, name)]
    }


def for_prober(pods: Pods) -> Pods:
    """What podnet.fabric.pod returned, in the form that podnet.fabric.reachability takes."""
    return [{key: pod[key] for key in ("name", "netns", "addresses")} for pod in pods]


def _sample(names: Sequence[str], place: int, seed: str) -> list[str]:
    """The node itself, its neighbours in a ring, so that every node is asked, and a few at random."""
    # The same in every run: what failed yesterday is asked again today.
    chooser = random.Random(f"{seed}/{names[place]}")
    ring = {names[place], names[place - 1], names[(place + 1) % len(names)]}
    return sorted(ring | set(chooser.sample(names, min(RANDOM_PEERS, len(names)))))


def _pods(way: travel.Way, asking: str, asked: str, pods: Pods) -> Targets:
    return [
        {
            "name": f"{asked}/{pod['name']}",
            "address": _bare(address),
            "encapsulation": {"type": "local"} if asking == asked else way(asked, ip_address(_bare(address)).version),
        }
        for pod in pods
        for address in pod["addresses"]
    ]


def _outside(plan: Mapping[str, Any], pods: Pods, addresses: Sequence[str]) -> Targets:
    return [
        {
            "name": OUTSIDE,
            "address": address,
            "from": [pod["name"]],
            "source": "node" if _translated(plan, own) else "kept",
            "check_mtu": False,
            "encapsulation": {"type": "plain"},
        }
        for address in addresses
        for pod in pods
        for own in pod["addresses"]
        if ip_address(address).version == ip_address(_bare(own)).version
    ]


def _translated(plan: Mapping[str, Any], address: str) -> bool:
    """Whether packets of this pod leave the pod network under the node's address."""
    found = ip_address(_bare(address))
    return any(
        pool["nat_outgoing"]
        for pool in plan["pools"]
        if ip_network(pool["cidr"]).version == found.version and found in ip_network(pool["cidr"])
    )


def _bare(address: str) -> str:
    return address.partition("/")[0]
