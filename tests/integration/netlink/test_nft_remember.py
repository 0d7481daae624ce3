# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that nft 1.0.6 writes for IPv4 only: ours are the same as its own, and it reads those for IPv6, too."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nft_remember
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter

if TYPE_CHECKING:
    from tests.integration.conftest import Namespace

TABLE = "\n".join(
    [
        "add table inet t",
        *(
            f"add map inet t m{family} {{ type {sort} . {sort} . inet_proto . inet_service : {sort} . inet_service; "
            "flags dynamic,timeout; size 64; }"
            for family, sort in ((4, "ipv4_addr"), (6, "ipv6_addr"))
        ),
        "add chain inet t ours",
        "add chain inet t theirs",
    ]
)
KEY = "{ip} saddr . ct original {ip} daddr . meta l4proto . ct original proto-dst timeout 90s : {ip} daddr"


def shown(netns: Namespace, chain: str) -> list[str]:
    """The kernel's own expressions of a chain's rules."""
    text = netns.run("nft", "--debug=netlink", "list", "chain", "inet", "t", chain)
    return [line.strip() for line in text.splitlines() if line.startswith("  [ ")]


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_a_rule_is_what_nft_would_have_written(netns: Namespace, protocol: str) -> None:
    netns.run("nft", "-f", "-", stdin=TABLE)
    match = f"meta nfproto ipv4 meta l4proto {protocol}"
    line = f'add rule inet t theirs {match} update @m4 {{ {KEY.format(ip="ip")} . th dport }} comment "x"'
    netns.run("nft", "-f", "-", stdin=line)
    rules = [("ours", nft_remember.Remember(family, protocol, f"m{family}", 90, "podnet:abc")) for family in (4, 6)]
    with open_netfilter() as nl:
        assert nft_remember.append(nl, "t", rules[:1]) == []
        # What nft asks twice, because the rule was said so, it is asked once.
        assert list(dict.fromkeys(shown(netns, "theirs"))) == list(dict.fromkeys(shown(netns, "ours")))
        assert nft_remember.append(nl, "t", rules[1:]) == []
    listed = [each for each in netns.run("nft", "list", "chain", "inet", "t", "ours").splitlines() if "update" in each]
    assert [each.strip() for each in listed] == [
        f'update @m{family} {{ {KEY.format(ip=ip).replace("90s", "1m30s")} . {protocol} dport }} comment "podnet:abc"'
        for family, ip in ((4, "ip"), (6, "ip6"))
    ]


def test_of_what_is_refused_nothing_holds(netns: Namespace) -> None:
    netns.run("nft", "-f", "-", stdin=TABLE)
    good, bad = (nft_remember.Remember(4, "tcp", name, 90, "x") for name in ("m4", "nowhere"))
    with open_netfilter() as nl:
        failures = nft_remember.append(nl, "t", [("ours", good), ("ours", bad), ("ours", good)])
        assert [error.errno for error in failures] == [errno.ENOENT]
        assert shown(netns, "ours") == []
        assert len(nft_remember.append(nl, "none", [("ours", good)])) == 1
        assert nft_remember.append(nl, "t", [("ours", good)]) == []
    assert shown(netns, "ours") != []
