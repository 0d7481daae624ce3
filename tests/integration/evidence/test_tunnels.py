# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels of every kind, made by hand with `ip` and `wg`: followed in the tables and told by their packets."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.inquiry import Probing
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.integration.kinds import needs_link_kind

if TYPE_CHECKING:
    from .conftest import Pair

FOUR, SIX = "10.244.2.1", "fd00:10:244:2::1"


class Tunnel(NamedTuple):
    """How to make it, and what is to be seen of it."""

    link: str  # words for `ip link add NAME`, with {own} and {peer} for the numbers of the nodes
    routes: tuple[str, ...]  # words for `ip route add`
    probed: str
    seen: str
    vni: int | None = None
    port: int | None = None
    ends: str = "192.0.2.{}"


VIA_DEVICE = ("10.244.{peer}.0/24 dev t0", "fd00:10:244:{peer}::/64 dev t0")
HEADER = (
    "10.244.{peer}.0/24 encap ip id 77 dst 192.0.2.{peer} src 192.0.2.{own} via 10.244.{peer}.0 dev t0 onlink",
    "fd00:10:244:{peer}::/64 encap ip6 dst 2001:db8::{peer} src 2001:db8::{own} dev t0",
)
TUNNELS = {
    "ipip": Tunnel("type ipip local 192.0.2.{own} remote 192.0.2.{peer}", VIA_DEVICE[:1], FOUR, "ipip"),
    "ipip by gateway": Tunnel(
        "type ipip local 192.0.2.{own}", ("10.244.{peer}.0/24 via 192.0.2.{peer} dev t0 onlink",), FOUR, "ipip"
    ),
    "ip6tnl": Tunnel(
        "type ip6tnl mode ip6ip6 local 2001:db8::{own} remote 2001:db8::{peer}",
        VIA_DEVICE[1:],
        SIX,
        "ip6ip6",
        ends="2001:db8::{}",
    ),
    "ip6tnl external": Tunnel("type ip6tnl external", HEADER[1:], SIX, "ip6ip6", ends="2001:db8::{}"),
    "geneve": Tunnel(
        "address 02:00:00:00:00:0{own} type geneve id 99 remote 192.0.2.{peer}",
        ("10.244.{peer}.0/24 via 10.244.{peer}.0 dev t0 onlink",),
        FOUR,
        "geneve",
        99,
        6081,
    ),
    "geneve external": Tunnel(
        "address 02:00:00:00:00:0{own} type geneve external dstport 6085", HEADER[:1], FOUR, "geneve", 77, 6085
    ),
    "vxlan external": Tunnel(
        "address 02:00:00:00:00:0{own} type vxlan external dstport 4790", HEADER[:1], FOUR, "vxlan", 77, 4790
    ),
    "wireguard": Tunnel("type wireguard", VIA_DEVICE, FOUR, "wireguard", None, 51820),
}


def _case(name: str) -> Any:
    kind = name.partition(" ")[0]
    return name if kind == "vxlan" else pytest.param(name, marks=needs_link_kind(kind))


def _make(pair: Pair, tunnel: Tunnel) -> None:
    keys = [subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout for _node in (1, 2)]
    public = [
        subprocess.run(["wg", "pubkey"], input=key, capture_output=True, text=True, check=True).stdout for key in keys
    ]
    for own, where in ((1, "-"), (2, pair.other)):
        peer = 3 - own
        with namespace.inside(where):
            pair.netns.ip("link", "add", "t0", *tunnel.link.format(own=own, peer=peer).split())
            if "wireguard" in tunnel.link:
                allowed = f"10.244.{peer}.0/24,fd00:10:244:{peer}::/64"
                pair.netns.run(
                    "wg", "set", "t0", "private-key", "/dev/stdin", "listen-port", "51820", stdin=keys[own - 1]
                )
                words = ["peer", public[peer - 1].strip(), "endpoint", f"192.0.2.{peer}:51820", "allowed-ips", allowed]
                pair.netns.run("wg", "set", "t0", *words)
            pair.netns.ip("link", "set", "t0", "up")
            if "address" in tunnel.link:
                gateway = ["neigh", "add", f"10.244.{peer}.0", "lladdr", f"02:00:00:00:00:0{peer}", "dev", "t0"]
                pair.netns.ip(*gateway, "nud", "permanent")
            for route in tunnel.routes:
                pair.netns.ip(
                    *(["-6"] if "fd00" in route else []), "route", "add", *route.format(own=own, peer=peer).split()
                )


@pytest.mark.parametrize("name", [_case(name) for name in TUNNELS])
def test_a_tunnel_that_nobody_declared_is_told_by_its_packets(pair: Pair, name: str) -> None:
    tunnel = TUNNELS[name]
    _make(pair, tunnel)
    found = pair.inquire(Probing(to=(tunnel.probed,), seconds=5.0))
    (probe,) = found["capture"]["probes"]
    last = probe["sights"][-1]
    assert (last["dev"], last["tunnel"], last["vni"], last["port"]) == ("eth0", tunnel.seen, tunnel.vni, tunnel.port)
    assert (last["outer_src"], last["outer_dst"]) == (tunnel.ends.format(1), tunnel.ends.format(2))
    assert probe["answered"]
    (way,) = found["kernel"]["ways"]
    assert (way["carrier"], way["outer"], way["ours"]) == (tunnel.seen, tunnel.ends.format(2), False)
    verdict = found["verdict"]
    assert verdict["agreement"], verdict
    assert verdict["findings"][0]["text"].endswith("in the kernel's tables through t0 and seen on eth0.")


@needs_link_kind("wireguard")
def test_nothing_shows_through_wireguard_but_the_length(pair: Pair) -> None:
    _make(pair, TUNNELS["wireguard"])
    found = pair.inquire(Probing(to=(FOUR, SIX), seconds=5.0))
    for probe in found["capture"]["probes"]:
        inner, outer = probe["sights"]
        assert (inner["dev"], inner["tunnel"], inner["inner_dst"]) == ("t0", "plain", probe["to"])
        assert (outer["dev"], outer["tunnel"], outer["inner_src"], outer["inner_dst"]) == ("eth0", "wireguard", "", "")


@needs_link_kind("wireguard")
def test_a_peer_without_leave_for_an_address_is_told(pair: Pair) -> None:
    _make(pair, TUNNELS["wireguard"])
    pair.netns.ip("route", "add", "10.244.3.0/24", "dev", "t0")
    (way,) = pair.inquire(None, "10.244.3.1")["kernel"]["ways"]
    assert way["problem"] == "no peer of t0 is allowed 10.244.3.1"
