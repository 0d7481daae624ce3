# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel does, found out by having it done in a scratch network namespace."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    VERBS,
    attribute,
    message,
    number,
    text,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import supports_nexthops
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.scratch import NoScratch, in_scratch_namespace
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Trial

# linux/if_link.h
_RTM_NEWLINK = 16
_IFINFOMSG = bytes(16)
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_VXLAN_ID = 1
# Kinds whose devices take the outer header from the route: linux/if_link.h, linux/if_tunnel.h (COLLECT_METADATA).
_FLAGS = {"geneve": 6, "ipip": 19, "ip6tnl": 19}

# The same facilities as the collection's own table: sets of prefixes, source NAT with random ports.
_RULESET = """\
table inet trial {
  set pools { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @pools ip daddr != @pools masquerade fully-random
  }
}
"""


def try_features(kinds: Sequence[str], nft: str | None) -> dict[str, Trial]:
    """Whether links of these kinds, nexthop objects and an nftables ruleset can be made.

    The kernel may load the modules that it needs for that, as it would for the network itself.

    :param nft: path of the tool; without it nftables is not tried
    """
    features = [*kinds, "nexthop", *(["nftables"] if nft else [])]
    try:
        results = in_scratch_namespace(lambda: _try(kinds, nft))
    except NoScratch as error:
        return {feature: Trial(None, str(error)) for feature in features}
    return {feature: Trial(not results[feature], results[feature]) for feature in features}


def _try(kinds: Sequence[str], nft: str | None) -> dict[str, str]:
    """Feature -> why it does not work, empty when it does."""
    with Netlink() as netlink:
        results = {kind: _try_link(netlink, kind) for kind in kinds}
        results["nexthop"] = "" if supports_nexthops(netlink) else "the kernel knows no such message"
    if nft:
        results["nftables"] = _try_nftables(nft)
    return results


def _try_link(netlink: Netlink, kind: str) -> str:
    data = attribute(_IFLA_INFO_DATA, number(_IFLA_VXLAN_ID, 1)) if kind == "vxlan" else b""
    if kind in _FLAGS:
        data = attribute(_IFLA_INFO_DATA, attribute(_FLAGS[kind]))
    info = attribute(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, kind) + data)
    failures = netlink.batch(
        [message(_RTM_NEWLINK, VERBS["create"], _IFINFOMSG + text(_IFLA_IFNAME, f"try-{kind}"[:15]) + info)]
    )
    return str(failures[0][1]) if failures else ""


def _try_nftables(nft: str) -> str:
    try:
        run([nft, "-f", "-"], stdin=_RULESET, timeout=20)
    except ToolError as error:
        return error.stderr.splitlines()[0] if error.stderr else str(error)
    return ""
