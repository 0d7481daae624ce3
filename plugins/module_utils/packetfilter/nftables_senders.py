# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose addresses come out of pods, as a verdict map and chains of the table ``bridge podnet``.

The table sees frames as they come out of a port of the bridge, before they are bridged or routed, and ARP among them.
A map leads from the port's name to a chain for it, so the time that a frame takes does not depend on the number of
pods. Each chain ends with a rule that counts what it drops.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import NftChain, NftMap
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES_BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import Sender

PREFIX = "senders-"
PORTS = f"{PREFIX}ports"
CHAIN = f"{PREFIX}port-"
HOOK = f"{PREFIX}prerouting"
PRIORITY = -300
"""Before br_netfilter hands the packet to others (NF_BR_PRI_BRNF is 0 in linux/netfilter_bridge.h)."""

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
# ``@th,64,128`` is the target of an advertisement (RFC 4861, 4.4), for which nft 1.0.6 has no word; its first ten bits
# say whether it is one of fe80::/10.
_ADVERTISES = "icmpv6 type nd-neighbor-advert"
_NOT_LINK_LOCAL = "@th,64,10 != 0x3fa"
# What has no address yet says: is this one free (RFC 4862, 5.4.2), and who listens to what (RFC 3810, 5.2.13).
_UNSPECIFIED = (
    "ip6 saddr :: "
    "icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report } return"
)
# A tag would hide the packet from us, and the receiver takes tag 0 off.
_TAGGED = "meta protocol { 8021q, 8021ad } counter drop"
_TAG_INSIDE = "ether type { 8021q, 8021ad } counter drop"


def render(senders: Sequence[Sender]) -> Objects:
    """The objects by (sort, name); none when nothing is known of any port."""
    if not senders:
        return {}
    ports = frozenset((sender.interface, f"jump {_chain_of(sender.interface)}") for sender in senders)
    found: Objects = {("map", PORTS): NftMap(PORTS, "ifname", ports)}
    for sender in senders:
        _put(found, NftChain(_chain_of(sender.interface), "", "", 0, _digests(_rules(sender))))
    _put(found, NftChain(HOOK, "filter", "prerouting", PRIORITY, _digests([f"iifname vmap @{PORTS}"])))
    return found


def _chain_of(interface: str) -> str:
    plain = _PLAIN.fullmatch(interface)
    return CHAIN + (interface if plain else hashlib.sha256(interface.encode()).hexdigest()[:12])


def _rules(sender: Sender) -> list[str]:
    rules = [_TAGGED, _TAG_INSIDE]
    four, six = sender.addresses[4], sender.addresses[6]
    if four:
        texts = ", ".join(str(ipaddress.IPv4Address(each)) for each in four)
        rules.append(f"ip saddr {{ {texts} }} return")
    # 0.0.0.0 asks whether an address is free (RFC 5227, 2.1.1).
    texts = ", ".join(str(ipaddress.IPv4Address(each)) for each in (0, *four))
    rules.append(f"arp saddr ip {{ {texts} }} return")
    advertised = [_ADVERTISES]
    if sender.any_link_local:
        advertised.append(_NOT_LINK_LOCAL)
    if six:
        advertised.append(f"@th,64,128 != {{ {', '.join(f'0x{each:032x}' for each in six)} }}")
    rules.append(" ".join([*advertised, "counter drop"]))
    texts = ", ".join(str(ipaddress.IPv6Address(each)) for each in six)
    if six:
        rules.append(f"ip6 saddr {{ {texts} }} return")
    if sender.any_link_local:
        rules.append("ip6 saddr fe80::/10 return")
    # Whatever else is neither IP nor ARP has no address that we know.
    return [*rules, _UNSPECIFIED, "meta protocol { ip, ip6, arp } counter drop"]


def _digests(rules: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(NFTABLES_BRIDGE.rule, rules))


def _put(found: Objects, chain: NftChain) -> None:
    found["chain", chain.name] = chain
