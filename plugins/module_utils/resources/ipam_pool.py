# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's pools on a node: which addresses are pods, and outgoing NAT for what pods send to anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftChain, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, part
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6, Inspection, Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

CHAIN = "nat-postrouting"
PRIORITY_SRCNAT = 100
OBJECTS = {("chain", CHAIN), *(("set", name + number) for name in ("pools", "nat") for number in "46")}
FIELDS = ("name", "cidr", "nat_outgoing")

# Family: its name in nft, the type of its addresses, what is multicast (never translated).
FAMILIES = {
    AF_INET: ("ip", "ipv4_addr", "224.0.0.0/4"),
    AF_INET6: ("ip6", "ipv6_addr", "ff00::/8"),
}


class IpamPool:
    """See the module's documentation for the parameters."""

    name = "ipam_pool"
    rank = 10
    facilities = (NFTABLES,)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        pools = params["pools"] or []
        if not pools:
            inspection.refuse("pools", "empty", "give at least one pool")
        networks: dict[str, Network] = {}
        for position, pool in enumerate(pools):
            path = f"pools[{position}].cidr"
            prefix = inspection.network(path, pool["cidr"])
            if prefix:
                for other, taken in networks.items():
                    if overlap(prefix, taken):
                        inspection.refuse(
                            path, f"{pool['cidr']} overlaps {other}", "give pools without common addresses"
                        )
                networks[f"{path} {pool['cidr']}"] = prefix
        inspection.conclude()
        return {"pools": [{field: pool[field] for field in FIELDS} for pool in pools]}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: dict[tuple[str, str], Any] = {}
        pools = [pool for item in items.values() for pool in item["pools"]]
        rules: list[str] = []
        for family, (nft, sort, multicast) in FAMILIES.items():
            mine = [pool for pool in pools if (":" in pool["cidr"]) == (family == AF_INET6)]
            if not mine:
                continue
            number = "4" if family == AF_INET else "6"
            for name, members in (("pools", mine), ("nat", [pool for pool in mine if pool["nat_outgoing"]])):
                elements = frozenset(pool["cidr"] for pool in members)
                desired["set", name + number] = NftSet(name + number, sort, elements)
            rules.append(
                f"{nft} saddr @nat{number} {nft} daddr != @pools{number} {nft} daddr != {multicast} "
                "masquerade fully-random"
            )
        if pools:
            digests = tuple(NFTABLES.rule(rule) for rule in rules)
            desired["chain", CHAIN] = NftChain(CHAIN, "nat", "postrouting", PRIORITY_SRCNAT, digests)
        return part(OBJECTS.__contains__, desired)


def overlap(one: Network, other: Network) -> bool:
    """Whether two prefixes share addresses."""
    if one.family != other.family:
        return False
    spare = 8 * len(one.address) - min(one.prefixlen, other.prefixlen)
    return int.from_bytes(one.address, "big") >> spare == int.from_bytes(other.address, "big") >> spare


KIND = IpamPool()
