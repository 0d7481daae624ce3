# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose addresses come out of pods, as sets and chains of the table ``bridge podnet``.

The table sees frames as they come out of a port of the bridge, before they are bridged or routed, and ARP among them.
The rules are the same whichever pods there are: what a port may send stands in sets of ports with addresses, so the
time that a frame takes does not depend on the number of pods, and a new pod is some elements and nothing else. What is
dropped is counted.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import ADVERTISED, NftChain, NftSet
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES_BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import Sender

PREFIX = "senders-"
# Not senders-ports: so was a map called once, and there is no going from one to the other by a name.
PORTS = f"{PREFIX}known"
# Ports with the addresses that they may have as a source, by family, and with those that they may advertise.
ADDRESSES = {4: f"{PREFIX}addresses4", 6: f"{PREFIX}addresses6"}
ADVERTISE = f"{PREFIX}advertised6"
ANY_LINK_LOCAL = f"{PREFIX}any-link-local"
"""Ports of pods whose link-local address nobody knows."""

ORIGIN = f"{PREFIX}origin"
TARGET = f"{PREFIX}target"
HOOK = f"{PREFIX}prerouting"
PRIORITY = -300
"""Before br_netfilter hands the packet to others (NF_BR_PRI_BRNF is 0 in linux/netfilter_bridge.h)."""

# 0.0.0.0 asks whether an address is free (RFC 5227, 2.1.1).
_ASKS = "arp saddr ip 0.0.0.0 return"
# What has no address yet says: is this one free (RFC 4862, 5.4.2), and who listens to what (RFC 3810, 5.2.13).
_UNSPECIFIED = (
    "ip6 saddr :: "
    "icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report } return"
)
# A tag would hide the packet from us, and the receiver takes tag 0 off.
_TAGGED = "meta protocol { 8021q, 8021ad } counter drop"
_TAG_INSIDE = "ether type { 8021q, 8021ad } counter drop"


# What comes out of a port that is known.
_ORIGIN = (
    _TAGGED,
    _TAG_INSIDE,
    f"iifname . ip saddr @{ADDRESSES[4]} return",
    _ASKS,
    f"iifname . arp saddr ip @{ADDRESSES[4]} return",
    f"icmpv6 type nd-neighbor-advert jump {TARGET}",
    f"iifname . ip6 saddr @{ADDRESSES[6]} return",
    f"iifname @{ANY_LINK_LOCAL} ip6 saddr fe80::/10 return",
    _UNSPECIFIED,
    # Whatever else is neither IP nor ARP has no address that we know.
    "meta protocol { ip, ip6, arp } counter drop",
)
# ``@th,64,128`` is the target of an advertisement (RFC 4861, 4.4), for which nft 1.0.6 has no word; its first ten bits
# say whether it is one of fe80::/10.
_TARGET = (
    f"iifname . @th,64,128 @{ADVERTISE} return",
    f"iifname @{ANY_LINK_LOCAL} @th,64,10 0x3fa return",
    "counter drop",
)


def render(senders: Sequence[Sender], expecting: bool = False) -> Objects:
    """The objects by (sort, name); none when nothing is known of any port, nor expected to be."""
    if not senders and not expecting:
        return {}
    made: list[NftSet | NftChain] = [
        NftSet(name, TYPES[name], frozenset(texts), interval=False) for name, texts in elements(senders).items()
    ]
    made += [
        NftChain(ORIGIN, "", "", 0, _digests(_ORIGIN)),
        NftChain(TARGET, "", "", 0, _digests(_TARGET)),
        NftChain(HOOK, "filter", "prerouting", PRIORITY, _digests([f"iifname @{PORTS} jump {ORIGIN}"])),
    ]
    return {("set" if isinstance(each, NftSet) else "chain", each.name): each for each in made}


TYPES = {
    PORTS: "ifname",
    ANY_LINK_LOCAL: "ifname",
    ADDRESSES[4]: "ifname . ipv4_addr",
    ADDRESSES[6]: "ifname . ipv6_addr",
    ADVERTISE: ADVERTISED,
}


def elements(senders: Iterable[Sender]) -> dict[str, list[str]]:
    """What is in the sets, as nft writes it, by their names."""
    found: dict[str, list[str]] = {name: [] for name in TYPES}
    for sender in senders:
        port = sender.interface
        found[PORTS].append(port)
        if sender.any_link_local:
            found[ANY_LINK_LOCAL].append(port)
        found[ADDRESSES[4]] += [f"{port} . {ipaddress.IPv4Address(each)}" for each in sender.addresses[4]]
        found[ADDRESSES[6]] += [f"{port} . {ipaddress.IPv6Address(each)}" for each in sender.addresses[6]]
        found[ADVERTISE] += [f"{port} . 0x{each:032x}" for each in sender.addresses[6]]
    return found


def _digests(rules: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(NFTABLES_BRIDGE.rule, rules))
