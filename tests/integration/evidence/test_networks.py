# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""On real networks of our own making: the witnesses agree where the node does what it says, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.inquiry import Probing
from ansible_collections.podnet.fabric.plugins.module_utils.resources import geneve, host_gw, ipip, vxlan
from tests.integration.kinds import needs_link_kind

from .conftest import Pair, params

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

KINDS: dict[str, tuple[Kind, str]] = {
    "vxlan": (vxlan.KIND, "podnet-vx"),
    "geneve": (geneve.KIND, "podnet-gnv"),
    "ipip": (ipip.KIND, "podnet-ip4"),
    "host_gw": (host_gw.KIND, "host_gw"),
}
FOUR, SIX = "10.244.2.1", "fd00:10:244:2::1"
PROBING = Probing(seconds=3.0)

# Dataplane: what carries IPv4 and IPv6 in the tables, on the wire, VNI, port.
EXPECTED: dict[str, tuple[tuple[str, str], tuple[str, str], int | None, int | None]] = {
    "vxlan": (("vxlan", "vxlan"), ("vxlan", "vxlan"), 84, 4789),
    "geneve": (("geneve", "geneve"), ("geneve", "geneve"), 84, 6081),
    "ipip": (("ipip", "ip6ip6"), ("ipip", "ip6ip6"), None, None),
    "host_gw": (("host_gw", "host_gw"), ("plain", "plain"), None, None),
}
CASES = [
    "vxlan",
    "host_gw",
    pytest.param("geneve", marks=needs_link_kind("geneve")),
    pytest.param("ipip", marks=[needs_link_kind("ipip"), needs_link_kind("ip6tnl")]),
]


def _build(pair: Pair, kind: str, **changes: Any) -> None:
    for number in (1, 2):
        pair.declare(number, *KINDS[kind], params(kind, number, **changes))


def _last(found: dict[str, Any], to: str) -> dict[str, Any]:
    (probe,) = [one for one in found["capture"]["probes"] if one["to"] == to]
    assert probe["sights"], json.dumps(found["capture"])
    last = probe["sights"][-1]
    assert isinstance(last, dict)
    return last


@pytest.mark.parametrize("kind", CASES)
def test_declarations_tables_and_packets_agree_on_a_sound_network(pair: Pair, kind: str) -> None:
    _build(pair, kind)
    found = pair.inquire(PROBING)
    assert found["verdict"]["agreement"], found["verdict"]
    assert found["verdict"]["contradictions"] == []
    carriers, tunnels, vni, port = EXPECTED[kind]
    assert found["kernel"]["carriers"] == {"ipv4": {carriers[0]: 1}, "ipv6": {carriers[1]: 1}}
    for to, tunnel in zip((FOUR, SIX), tunnels, strict=True):
        last = _last(found, to)
        assert (last["dev"], last["tunnel"], last["vni"], last["port"]) == ("eth0", tunnel, vni, port)
        assert (last["inner_src"], last["inner_dst"]) == (to.replace("2.1", "1.1").replace("2::1", "1::1"), to)
        six = tunnel == "ip6ip6"
        outer = ("", "") if tunnel == "plain" else ("2001:db8::1", "2001:db8::2") if six else ("192.0.2.1", "192.0.2.2")
        assert (last["outer_src"], last["outer_dst"]) == outer
    assert [probe["answered"] for probe in found["capture"]["probes"]] == [True, True]
    assert [(one["kind"], one["peers"]) for one in found["declarations"]] == [(kind, 1)]
    assert {finding["peer"] for finding in found["verdict"]["findings"]} == {"node2"}


def test_the_sentence_says_all_of_it(pair: Pair) -> None:
    _build(pair, "vxlan")
    text = pair.inquire(PROBING)["verdict"]["findings"][0]["text"]
    assert text == (
        "node2 (10.244.2.1): VXLAN, VNI 84, port 4789 to 192.0.2.2; "
        "declared, in the kernel's tables through podnet-vx and seen on eth0."
    )


def test_without_packets_the_tables_still_contradict_a_declaration(pair: Pair) -> None:
    _build(pair, "vxlan")
    assert pair.inquire()["capture"] is None
    assert pair.inquire()["verdict"]["agreement"]
    # Somebody's more specific route leads past the tunnel.
    pair.netns.ip("route", "add", "10.244.2.0/25", "via", "192.0.2.2")
    verdict = pair.inquire()["verdict"]
    assert (verdict["agreement"], len(verdict["contradictions"])) == (False, 1)
    assert verdict["contradictions"][0] == (
        "node2 (10.244.2.1): declared is VXLAN, VNI 84, port 4789 to 192.0.2.2; "
        "the kernel's tables say no tunnel via 192.0.2.2 through eth0."
    )


def test_packets_contradict_tables_that_look_right(pair: Pair) -> None:
    """A rule for the pods' addresses, which a lookup by destination alone does not see."""
    _build(pair, "vxlan")
    pair.netns.ip("route", "add", "10.244.2.0/24", "via", "192.0.2.2", "table", "99")
    pair.netns.ip("rule", "add", "from", "10.244.1.0/24", "lookup", "99")
    verdict = pair.inquire()["verdict"]
    assert verdict["agreement"]
    verdict = pair.inquire(PROBING)["verdict"]
    assert not verdict["agreement"]
    (text,) = verdict["contradictions"]
    assert text.startswith("node2 (10.244.2.1): declared is VXLAN")
    assert text.endswith("the packets say no tunnel through eth0.")


def test_a_declaration_of_another_tunnel_is_contradicted_by_the_packets(pair: Pair) -> None:
    _build(pair, "vxlan")
    items = pair.declarations[1].read("vxlan")
    items["podnet-vx"]["vni"] = 85
    pair.declarations[1].write("vxlan", items)
    verdict = pair.inquire(PROBING)["verdict"]
    assert len(verdict["contradictions"]) == 2
    assert "declared is VXLAN, VNI 85" in verdict["contradictions"][0]
    assert "the packets say VXLAN, VNI 84, port 4789 to 192.0.2.2 through eth0" in verdict["contradictions"][0]


def test_packets_that_a_filter_drops_are_missed(pair: Pair) -> None:
    _build(pair, "vxlan")
    rules = "table inet t { chain c { type filter hook output priority 0; udp dport 4789 drop; }; }"
    pair.netns.run("nft", "-f", "-", stdin=rules)
    verdict = pair.inquire(Probing(seconds=0.5))["verdict"]
    assert len(verdict["contradictions"]) == 2
    assert "the packets say none of them got out behind podnet-vx" in verdict["contradictions"][0]


def test_a_peer_that_a_table_has_lost_is_told(pair: Pair) -> None:
    _build(pair, "vxlan")
    pair.netns.run("bridge", "fdb", "delete", "02:00:00:00:01:02", "dev", "podnet-vx", "dst", "192.0.2.2", "self")
    verdict = pair.inquire()["verdict"]
    assert "no FDB entry for 02:00:00:00:01:02 on podnet-vx" in verdict["contradictions"][0]


def test_one_interface_can_be_watched_and_one_source_taken(pair: Pair) -> None:
    _build(pair, "vxlan")
    found = pair.inquire(Probing(to=(FOUR,), source=("10.244.1.0",), seconds=3.0, interface="eth0"))
    (probe,) = found["capture"]["probes"]
    assert (probe["source"], [sight["dev"] for sight in probe["sights"]]) == ("10.244.1.0", ["eth0"])


def test_a_way_of_somebody_else_into_our_block_is_no_agreement(pair: Pair) -> None:
    """flannel's device with our very numbers."""
    _build(pair, "vxlan")
    ip = pair.netns.ip
    ip("link", "add", "flannel.1", "type", "vxlan", "id", "84", "dstport", "4790", "local", "192.0.2.1", "nolearning")
    ip("link", "set", "flannel.1", "up")
    ip("neigh", "add", "10.244.2.0", "lladdr", "02:00:00:00:01:02", "dev", "flannel.1", "nud", "permanent")
    pair.netns.run("bridge", "fdb", "append", "02:00:00:00:01:02", "dev", "flannel.1", "dst", "192.0.2.2", "self")
    ip("route", "add", "10.244.2.0/25", "via", "10.244.2.0", "dev", "flannel.1", "onlink")
    found = pair.inquire()
    assert [(one["name"], one["dataplane"]) for one in found["foreign"]] == [("flannel", "vxlan")]
    (text,) = found["verdict"]["contradictions"]
    assert "VXLAN, VNI 84, port 4790 to 192.0.2.2 through flannel.1 (by flannel)" in text
    (way,) = [way for way in found["kernel"]["ways"] if way["to"] == FOUR]
    assert (way["owner"], way["ours"], way["outer"]) == ("flannel", False, "192.0.2.2")
