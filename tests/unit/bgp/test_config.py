# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of each mode, word for word: golden/*.conf, which BIRD takes (tests/integration/bgp)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bgp.config import render, render_secrets, symbol
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.speakers import (
    Here,
    inspect_peers,
    sessions_of,
    speaker_of,
    subnet,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, declared_network

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = ["10.244.1.0/24", "fd00:10:244:1::/64"]
LOCALS = {4: "192.0.2.1", 6: "2001:db8::1"}
SUBNETS = [subnet(*declared_network(text)[1:]) for text in ("192.0.2.0/24", "2001:db8::/64")]


def peer(number: int, net: str = "192.0.2", net6: str = "2001:db8::", **more: Any) -> dict[str, Any]:
    """A node as the plan gives it."""
    blocks = [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]
    first, second = f"{net}.{number}", f"{net6}{number}"
    return {"name": f"node{number}", "underlay": first, "second": second, "blocks": blocks, **more}


def item(
    mode: str,
    peers: list[dict[str, Any]],
    neighbours: list[dict[str, Any]] | None = None,
    secret: str = "",
    **more: Any,
) -> dict[str, Any]:
    """What is declared, made as the kind does."""
    inspection = Inspection()
    known = {"asn": 64512, "reflector": False, "routed": False, **more}
    here = Here(known["asn"], mode, known["reflector"], LOCALS, SUBNETS, BLOCKS, known["routed"])
    sessions = sessions_of(inspection, here, inspect_peers(inspection, peers, known["asn"]), neighbours or [])
    inspection.conclude()
    return {
        **known,
        "router_id": "192.0.2.1",
        "cluster_id": known.get("cluster_id", ""),
        "port": 179,
        "blocks": BLOCKS,
        "pools": ["10.244.0.0/16", "fd00:10:244::/48"],
        "sessions": [{**session, "secret": secret} for session in sessions],
    }


ROUTERS = [
    {"name": "tor", "address": "192.0.2.254", "asn": 64513},
    {"name": "tor", "address": "2001:db8::254", "asn": 64513},
]
CASES = {
    "mesh": item("mesh", [peer(2), peer(3)], secret="podnet_password"),  # noqa: S106 - a constant's name
    "reflector": item("reflectors", [peer(2), peer(3, reflector=True)], reflector=True, cluster_id="192.0.2.200"),
    "client": item("reflectors", [peer(2), peer(3, reflector=True)]),
    "top_of_rack": item("top_of_rack", [peer(2)], ROUTERS),
    "routed": item("mesh", [peer(2, "198.51.100", "2001:db8:1::")], routed=True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_configuration_of_each_mode_word_for_word(case: str) -> None:
    text = render(speaker_of(CASES[case], "/etc/podnet/bird/secrets.conf"))
    assert text == (GOLDEN / f"{case}.conf").read_text(encoding="utf-8")


def test_no_password_is_in_the_configuration_but_its_name() -> None:
    secrets = render_secrets({"podnet_password": "hush"})
    assert secrets.splitlines()[1:] == ['define podnet_password = "hush";']
    assert "hush" not in (GOLDEN / "mesh.conf").read_text(encoding="utf-8")


def test_names_become_what_bird_takes() -> None:
    assert symbol("node-1.example.org", 4) == "node-1.example.org.v4"
    assert symbol("rack 7/größe'; down", 6) == "rack_7_gr__e___down.v6"


def _findings(mode: str, peers: list[dict[str, Any]], neighbours: list[dict[str, Any]] | None = None) -> list[str]:
    inspection = Inspection()
    here = Here(64512, mode, False, LOCALS, SUBNETS, BLOCKS, False)
    sessions_of(inspection, here, inspect_peers(inspection, peers, 64512), neighbours or [])
    return [str(finding) for finding in inspection.findings]


def test_a_peer_without_an_address_of_a_family_that_it_has_blocks_of() -> None:
    assert _findings("mesh", [peer(2, second=None)]) == [
        "peers: node2 has blocks of IPv6 but no underlay address of that family; set its podnet_underlay.second_address"
    ]


def test_two_sessions_that_bird_could_not_tell_apart() -> None:
    twins = [{**ROUTERS[0], "address": "192.0.2.253"}, *ROUTERS]
    assert _findings("top_of_rack", [], twins) == [
        "neighbours: tor has the name tor.v4 of another session; rename one of them"
    ]
    assert _findings("mesh", [peer(2)], [{"name": "again", "address": "192.0.2.2", "asn": 64513}]) == [
        "neighbours: again has the address 192.0.2.2 of another session; take one of them out"
    ]


def test_every_bad_peer_is_told_at_once() -> None:
    inspection = Inspection()
    inspect_peers(inspection, [peer(2, colour="red"), {"name": "node3"}, peer(4, underlay="four", asn=-1)], 64512)
    assert [finding.path for finding in inspection.findings] == [
        "peers[0].colour",
        "peers[1]",
        "peers[2].underlay",
        "peers[2].asn",
    ]
