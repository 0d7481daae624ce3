# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnel packets come from peers only, and pods send none of their own.

Two chains, whose rules depend on the tunnels but not on the peers; the peers are elements of sets.

``tunnel-input`` stands at the input hook: the packets that a tunnel of this node would open. Packets that pass
through, and answers to what pods sent under the node's address (translated back before), are none of them.
``tunnel-pods`` stands at the prerouting hook and drops, whatever their destination, tunnel packets from the pod bridge:
outgoing NAT would give them the node's own address, which all its peers trust.

Both stand at the priority of ``raw``. A drop holds wherever it stands; there it comes before connection tracking
spends an entry on a pod's packet, and before NAT and other rules change what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from socket import inet_ntop
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftChain, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, part
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import (
    AF_INET,
    AF_INET6,
    Inspection,
    declared_ip,
)
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import GROUP

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

PREFIX = "tunnel-"
INPUT, PODS = PREFIX + "input", PREFIX + "pods"
PRIORITY_RAW = -300

IPPROTO_IPIP, IPPROTO_IPV6 = 4, 41
"""IPv4 inside and IPv6 inside (linux/in.h)."""

# Family: its name in nft, the type of its addresses, the protocols that an IP-in-IP device takes over it: ipip takes
# IPv4 in IPv4, ip6tnl takes both in IPv6. IPv6 in IPv4 (6to4, a broker's tunnel) is another device's and not filtered.
FAMILIES = {
    AF_INET: ("ip", "ipv4_addr", f"{IPPROTO_IPIP}"),
    AF_INET6: ("ip6", "ipv6_addr", f"{{ {IPPROTO_IPIP}, {IPPROTO_IPV6} }}"),
}

# Device kinds of others that receive on the same port, or as the same protocol.
UDP_TUNNELS = ("vxlan", "geneve")
IP_TUNNELS = ("ipip", "ip6tnl")

# Both are written into rules, where an interface name may not end a quotation or, by a star, stand for several.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}\Z")
_INTERFACE = re.compile(r"[A-Za-z0-9_.@+-]{1,15}\Z")


class TunnelFilter:
    """See the module's documentation for the parameters."""

    name = "tunnel_filter"
    # Before the tunnel's device is up, and longer than it.
    rank = 35
    facilities = (NFTABLES,)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        if not _NAME.match(name):
            inspection.refuse("name", f"{name!r} is no name of a set", "give 1 to 32 letters, digits, - and _")
        bridge = params["bridge"]
        inspection.interface("bridge", bridge)
        if not inspection.findings and not _INTERFACE.match(bridge):
            inspection.refuse("bridge", f"{bridge!r} is special in nftables", "give letters, digits, _ . @ + and -")
        protocol, port = params["protocol"], params.get("port")
        if protocol == "udp":
            inspection.integer("port", port, 1, 65535)
        elif protocol != "ipip":
            inspection.refuse("protocol", repr(protocol), "give udp or ipip")
        elif port is not None:
            inspection.refuse("port", str(port), "only protocol udp has a port")
        peers = _addresses(inspection, params["peers"])
        inspection.conclude()
        return {"protocol": protocol, "port": port, "bridge": bridge, "peers": peers}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: dict[tuple[str, str], Any] = {}
        arriving: list[str] = []
        leaving: list[str] = []
        conflicts: list[str] = []
        for name, item in sorted(items.items()):
            _check(name, item)
            udp = item["protocol"] == "udp"
            conflicts += _others(host, item)
            peers: dict[int, set[str]] = {family: set() for family in FAMILIES}
            for text in item["peers"]:
                packed = declared_ip(text)
                family = AF_INET if len(packed) == 4 else AF_INET6
                peers[family].add(inet_ntop(family, packed))
            for family, (nft, sort, protocols) in FAMILIES.items():
                known = f"{PREFIX}{name}-peers{4 if family == AF_INET else 6}"
                desired["set", known] = NftSet(known, sort, frozenset(peers[family]), interval=False)
                tunnel = f"udp dport {item['port']}" if udp else f"meta l4proto {protocols}"
                arriving.append(f'iifname != "lo" {tunnel} {nft} saddr != @{known} counter drop')
            tunnel = f"udp dport {item['port']}" if udp else f"meta l4proto {FAMILIES[AF_INET6][2]}"
            leaving.append(f'iifname "{item["bridge"]}" {tunnel} counter drop')
        for chain, hook, rules in ((INPUT, "input", arriving), (PODS, "prerouting", leaving)):
            if rules:
                digests = tuple(map(NFTABLES.rule, rules))
                desired["chain", chain] = NftChain(chain, "filter", hook, PRIORITY_RAW, digests)
        target = part(lambda key: key[1].startswith(PREFIX), desired)
        return target._replace(conflicts=[*target.conflicts, *conflicts])


def _addresses(inspection: Inspection, peers: Any) -> list[str]:
    """The peers' addresses, of each family in order; a peer is an address, or has one or two."""
    if not isinstance(peers, list):
        inspection.refuse("peers", f"{type(peers).__name__}", "give a list of peers")
        return []
    found: set[tuple[int, bytes]] = set()
    for position, peer in enumerate(peers):
        path = f"peers[{position}]"
        texts = [(path, peer)]
        if isinstance(peer, Mapping):
            texts = [(f"{path}.underlay", peer.get("underlay"))]
            if peer.get("second") is not None:
                texts.append((f"{path}.second", peer["second"]))
        for where, text in texts:
            packed = inspection.ip(where, text)
            if packed:
                found.add((len(packed), packed))
    return [inet_ntop(AF_INET if length == 4 else AF_INET6, packed) for length, packed in sorted(found)]


def _check(name: str, item: Mapping[str, Any]) -> None:
    """:raises DeclarationError: somebody has edited what is about to be written into a rule."""
    if not _NAME.match(name) or not _INTERFACE.match(item["bridge"]):
        raise DeclarationError(
            f"the declaration holds {name!r} or {item['bridge']!r} where names should be; run the playbook again"
        )
    if (item["protocol"], item["port"] is None) not in (("udp", False), ("ipip", True)):
        raise DeclarationError(
            f"the declaration holds protocol {item['protocol']!r} with port {item['port']!r}; run the playbook again"
        )


def _others(host: Host, item: Mapping[str, Any]) -> list[str]:
    """A line for each tunnel of somebody else whose packets would be dropped."""
    if item["protocol"] == "udp":
        return [
            f"{link.kind} device {link.name} is not ours and receives on UDP port {item['port']} too, which would be "
            "closed to its peers; choose another port for our tunnel"
            for link in host.links.values()
            if link.kind in UDP_TUNNELS and _is_foreign(link) and link.data.get("port") == item["port"]
        ]
    return [
        f"{link.kind} device {link.name} is not ours; its peers would be closed out with all of IP in IP that is not "
        "from our peers; take it down, or choose another dataplane"
        for link in host.links.values()
        if link.kind in IP_TUNNELS and _is_foreign(link)
    ]


def _is_foreign(link: Link) -> bool:
    # The kernel's own tunl0 and ip6tnl0 are in every namespace, down.
    return link.up and link.group != GROUP and not link.alias.startswith("podnet:")


KIND = TunnelFilter()
