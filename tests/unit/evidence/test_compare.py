# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Witnesses agree when nothing that two of them know differs, and the sentence says who knows what."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence import claims, compare
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.claims import PLAIN, Claim
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.compare import Case
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.trail import Sight, Trail
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.ways import Way

TO = "10.244.2.1"
CLAIM = Claim("vxlan", "podnet-vx", "node2", "vxlan", "192.0.2.2", 84, 4789, "eth0")
DIRECT = Claim("host_gw", "host_gw", "node2", PLAIN, "192.0.2.2", None, None, "eth0")
WAY = Way(TO, "vxlan", True, "podnet-vx", "vxlan", "10.244.2.0", "", "192.0.2.2", 84, 4789, 84)
SIGHT = Sight("eth0", "vxlan", 84, 4789, "192.0.2.1", "192.0.2.2", "10.244.1.1", TO)
NOWHERE = Way(TO, "", problem="no route")
INNER = {"podnet-vx", "podnet0"}


def trail(*sights: Sight, sent: int = 3, error: str = "") -> Trail:
    return Trail(TO, "10.244.1.1", sent, False, error, sights)


def judged(*claimed: Claim, way: Way = WAY, seen: Trail | None = None, foreign: str = "") -> compare.Finding:
    return compare.judge(Case(TO, claimed, way, seen, foreign), INNER)


@pytest.mark.parametrize(
    ("claim", "way", "seen"),
    [
        (CLAIM, WAY, trail(SIGHT)),
        (CLAIM, WAY, None),
        (CLAIM, WAY, trail(SIGHT._replace(dev="podnet-vx", tunnel=PLAIN, vni=None, port=None), SIGHT)),
        # The endpoint of a WireGuard peer may be known to nobody but the packets.
        (CLAIM, WAY._replace(outer=""), trail(SIGHT)),
        (
            DIRECT,
            Way(TO, "host_gw", True, "eth0", outer="192.0.2.2"),
            trail(SIGHT._replace(tunnel=PLAIN, vni=None, port=None)),
        ),
        (DIRECT._replace(kind="bgp", outer=""), Way(TO, "bgp", dev="eth0", outer="192.0.2.254"), None),
    ],
)
def test_agreement(claim: Claim, way: Way, seen: Trail | None) -> None:
    found = judged(claim, way=way, seen=seen)
    assert found.agreement, found.text
    assert found.peer == "node2"
    assert found.how


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"way": WAY._replace(vni=85)}, "VNI 85"),
        ({"way": WAY._replace(outer="192.0.2.9")}, "192.0.2.9"),
        ({"way": WAY._replace(problem="no FDB entry")}, "the kernel's tables say no FDB entry"),
        ({"way": NOWHERE}, "the kernel's tables say no route"),
        ({"way": Way(TO, "bridge", True, "podnet0", "bridge")}, "this node itself through podnet0"),
        ({"seen": trail(SIGHT._replace(port=4790))}, "port 4790"),
        ({"seen": trail(SIGHT._replace(tunnel="geneve"))}, "the packets say Geneve"),
        ({"seen": trail(SIGHT._replace(tunnel=PLAIN, vni=None, port=None))}, "the packets say no tunnel through eth0"),
        ({"seen": trail(SIGHT._replace(dev="podnet-vx", tunnel=PLAIN))}, "none of them got out behind podnet-vx"),
        ({"seen": trail()}, "none of them left the node"),
        ({"seen": trail(sent=0, error="Operation not permitted")}, "nothing could be sent (Operation not permitted)"),
        ({"foreign": "flannel"}, "(by flannel)"),
    ],
)
def test_contradiction(changes: dict[str, Any], words: str) -> None:
    found = judged(CLAIM, **changes)
    assert not found.agreement
    assert words in found.text
    assert found.text.startswith("node2 (10.244.2.1): declared is VXLAN, VNI 84, port 4789 to 192.0.2.2; ")
    assert found.how == ""


def test_nobody_is_contradicted_where_nobody_claims_anything() -> None:
    assert judged(way=NOWHERE).agreement
    assert judged(way=NOWHERE, seen=trail(sent=0, error="Network is unreachable")).agreement
    here = judged(way=Way(TO, "bridge", True, "podnet0", "bridge"), seen=trail())
    assert (here.agreement, here.text) == (True, "10.244.2.1: on this node through podnet0.")


def test_while_a_node_moves_the_claim_counts_that_it_has_reached() -> None:
    moved = Way(TO, "host_gw", True, "eth0", outer="192.0.2.2")
    assert judged(CLAIM, DIRECT, way=moved).agreement
    assert judged(CLAIM, DIRECT).agreement
    assert (
        "a move from one dataplane to another is not finished"
        in compare.summarise([], ["vxlan", "host_gw"], [])["summary"]
    )


def test_the_family_of_the_outer_packet_names_ipv6_in_ip() -> None:
    assert compare.words(compare.Statement("ip6ip6", "2001:db8::2")) == "IPv6 in IPv6 to 2001:db8::2"
    assert compare.words(compare.Statement("ip6ip6", "192.0.2.2")) == "IPv6 in IPv4 to 192.0.2.2"


PEER = {
    "name": "node2",
    "underlay": "192.0.2.2",
    "second": "2001:db8::2",
    "mac": "02:00:00:00:01:02",
    "blocks": ["10.244.2.0/24", "fd00:2::/64"],
}
ITEM = {"peers": [PEER], "underlay": "eth0", "port": 4789, "vni": 84}


@pytest.mark.parametrize(
    ("kind", "item", "four", "six"),
    [
        ("vxlan", ITEM, ("vxlan", "192.0.2.2", 84), ("vxlan", "192.0.2.2", 84)),
        (
            "vxlan",
            {**ITEM, "peers": [{**PEER, "direct": True}]},
            (PLAIN, "192.0.2.2", None),
            (PLAIN, "2001:db8::2", None),
        ),
        ("ipip", {"peers": [PEER]}, ("ipip", "192.0.2.2", None), ("ip6ip6", "2001:db8::2", None)),
        (
            "wireguard",
            {"peers": [PEER], "port": 51820},
            ("wireguard", "192.0.2.2", None),
            ("wireguard", "192.0.2.2", None),
        ),
        ("bgp", {"peers": [{"name": "node2", "blocks": PEER["blocks"]}]}, (PLAIN, "", None), (PLAIN, "", None)),
    ],
)
def test_a_declaration_claims_each_block(
    kind: str, item: dict[str, Any], four: tuple[Any, ...], six: tuple[Any, ...]
) -> None:
    found = claims.index({kind: {"one": item}})
    for address, wanted in ((TO, four), ("fd00:2::99", six)):
        (claim,) = claims.of(found, address)
        assert (claim.kind, claim.peer) == (kind, "node2")
        assert (claim.tunnel, claim.outer, claim.vni) == wanted
    assert list(claims.gateways(found)) == ["10.244.2.1", "fd00:2::1"]
    assert claims.of(found, "10.244.3.1") == ()


def test_what_stands_by_claims_nothing() -> None:
    found = claims.index({"vxlan": {"one": {**ITEM, "standby": True}}})
    assert not found.blocks
    assert claims.describe({"vxlan": {"one": {**ITEM, "standby": True}}})[0]["standby"] is True
