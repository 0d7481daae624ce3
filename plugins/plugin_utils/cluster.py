# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the controller sees it: pools, nodes, blocks and the plan made of them."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.hardware_address import bridge_mac, vtep_mac

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Pool:
    """A range of pod addresses, handed out in blocks of one size."""

    name: str
    network: Network
    block_size: int  # prefix length
    nat_outgoing: bool
    position: int = 0  # in podnet_pools, for error messages
    reserved: tuple[Network, ...] = ()  # parts that no node gets
    nodes: frozenset[str] | None = None  # those that get blocks of it; None for all of them

    @property
    def path(self) -> str:
        """Where it stands in the inventory."""
        return f"podnet_pools[{self.position}]"

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.network.version

    @property
    def capacity(self) -> int:
        """How many blocks the pool has."""
        return 1 << max(0, self.block_size - self.network.prefixlen)

    @property
    def withheld(self) -> tuple[Network, ...]:
        """The reserved parts in whole blocks, apart from one another, lowest first."""
        whole = [
            part if part.prefixlen <= self.block_size else part.supernet(new_prefix=self.block_size)
            for part in self.reserved
        ]
        return tuple(ipaddress.collapse_addresses(whole))  # type: ignore[type-var]  # of the pool's family, all of them

    def serves(self, node: str) -> bool:
        """Whether a node may get blocks of it."""
        return self.nodes is None or node in self.nodes

    def as_dict(self) -> dict[str, Any]:
        """Return the pool as the facts carry it."""
        return {
            "name": self.name,
            "cidr": str(self.network),
            "family": self.family,
            "block_size": self.block_size,
            "nat_outgoing": self.nat_outgoing,
        }


@dataclass(frozen=True)
class ServiceRange:
    """Addresses of services, which pods and underlay leave alone."""

    network: Network
    position: int = 0  # in podnet_service_cidrs

    @property
    def path(self) -> str:
        """Where it stands in the inventory."""
        return f"podnet_service_cidrs[{self.position}]"


@dataclass(frozen=True)
class Foothold:
    """An address of a node on the underlay; the prefix length is None until the node has been asked."""

    address: Address
    prefixlen: int | None = None

    @property
    def network(self) -> Network | None:
        """The subnet, when known."""
        if self.prefixlen is None:
            return None
        return ipaddress.ip_network(f"{self.address}/{self.prefixlen}", strict=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the facts carry it."""
        return {"address": str(self.address), "prefixlen": self.prefixlen}


@dataclass(frozen=True)
class Underlay:
    """Where a node stands on the underlay. What only the node can tell is None or empty until it has been asked."""

    address: Address
    source: str  # where the address was read: podnet_underlay, node or ansible_host
    interface: str = "auto"
    prefixlen: int | None = None
    mtu: int | None = None
    second: Foothold | None = None  # the address of the other family, on the same interface
    second_known: bool = False  # whether no second address means that there is none

    @property
    def footholds(self) -> tuple[Foothold, ...]:
        """All addresses, the one that names the node first."""
        first = Foothold(self.address, self.prefixlen)
        return (first,) if self.second is None else (first, self.second)

    @property
    def network(self) -> Network | None:
        """The subnet of the first address, when known."""
        return self.footholds[0].network

    def foothold(self, family: int) -> Foothold | None:
        """Return the address of a family, 4 or 6."""
        return next((found for found in self.footholds if found.address.version == family), None)


@dataclass(frozen=True)
class Node:
    """A host of the inventory with its underlay."""

    name: str
    underlay: Underlay


@dataclass(frozen=True)
class Block:
    """A part of a pool that one node hands out to its pods."""

    network: Network
    pool: str

    @property
    def gateway(self) -> Address:
        """The bridge's address: the first one after the network address, which is the tunnel's."""
        return self.network.network_address + 1

    def as_dict(self) -> dict[str, Any]:
        """Return the block as the facts carry it."""
        return {
            "cidr": str(self.network),
            "pool": self.pool,
            "family": self.network.version,
            "gateway": str(self.gateway),
        }


@dataclass(frozen=True)
class Documents:
    """Services and EndpointSlices of the inventory, checked, and the ranges that services get their addresses from."""

    services: tuple[Mapping[str, Any], ...] = ()
    slices: tuple[Mapping[str, Any], ...] = ()
    ranges: tuple[ServiceRange, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A checked inventory: all of the plan but the blocks."""

    cluster: str
    settings: Mapping[str, Any]  # the cluster-wide variables without the podnet_ prefix
    pools: tuple[Pool, ...]
    nodes: tuple[Node, ...]
    mtu: int | None
    overhead: int
    speakers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # with BGP: podnet_bgp_node, by node
    wants: Mapping[str, int] = field(default_factory=dict)  # podnet_blocks, by node
    pins: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)  # podnet_node_blocks, by node
    reports: Mapping[str, Any] = field(default_factory=dict)  # how full nodes are: ledger_growth.Reported, by node
    documents: Documents = Documents()
    ends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of host policies: labels, interfaces, by node


@dataclass(frozen=True)
class Plan:
    """The draft with each node's blocks and hardware addresses."""

    draft: Draft
    blocks: Mapping[str, tuple[Block, ...]]
    usage: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # pool: blocks held, blocks resting
    identities: Mapping[str, str] = field(default_factory=dict)  # of nodes that have another one than their name
    reserved: Mapping[str, int] = field(default_factory=dict)  # pool: blocks that no node has or gets
    services: tuple[Mapping[str, Any], ...] = ()  # with their addresses and node ports

    def as_facts(self) -> dict[str, Any]:
        """Return the plan as ansible_facts carries it."""
        draft = self.draft
        nodes = {node.name: self._node(node) for node in draft.nodes}
        return {
            "cluster": draft.cluster,
            "settings": dict(draft.settings),
            "pools": [{**pool.as_dict(), "blocks": self._usage(pool)} for pool in draft.pools],
            "mtu": draft.mtu,
            "overhead": draft.overhead,
            "nodes": nodes,
            # Text, because templating walks through every container of a structure each time it is touched: for 1,000
            # nodes 0.2 s on every host (ansible#86881).
            # YAML has dates, of which nobody reads any here.
            "services": json.dumps(self.services, default=str),
            "endpoint_slices": json.dumps(draft.documents.slices, default=str),
            "peers": json.dumps([_as_peer(node) for _name, node in sorted(nodes.items())]),
        }

    def _usage(self, pool: Pool) -> dict[str, int]:
        held, resting = self.usage.get(pool.name, (0, 0))
        reserved = self.reserved.get(pool.name, 0)
        return {"total": pool.capacity, "held": held, "resting": resting, "reserved": reserved}

    def _node(self, node: Node) -> dict[str, Any]:
        identity = self.identities.get(node.name, node.name)
        return {
            "name": node.name,
            "underlay": {
                "address": str(node.underlay.address),
                "interface": node.underlay.interface,
                "source": node.underlay.source,
                "second": None if node.underlay.second is None else node.underlay.second.as_dict(),
            },
            "subnets": [str(found.network) for found in node.underlay.footholds if found.network is not None],
            "family": node.underlay.address.version,
            "vtep_mac": vtep_mac(self.draft.cluster, identity),
            "bridge_mac": bridge_mac(self.draft.cluster, identity),
            "blocks": [block.as_dict() for block in self.blocks.get(node.name, ())],
            **({"bgp": dict(self.draft.speakers[node.name])} if node.name in self.draft.speakers else {}),
            **{key: found[node.name] for key, found in self.draft.ends.items() if found.get(node.name)},
        }


def _as_peer(node: Mapping[str, Any]) -> dict[str, Any]:
    second = node["underlay"]["second"]
    return {
        "name": node["name"],
        "underlay": node["underlay"]["address"],
        "second": None if second is None else second["address"],
        "subnets": node["subnets"],
        "mac": node["vtep_mac"],
        "blocks": [block["cidr"] for block in node["blocks"]],
    }
