# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iptables-nft makes for our rules goes with the last of them, and what others have or use by then stays."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import iptables_bases
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND as POLICY
from tests.conformance import service_cases as scene
from tests.integration.services.ground import netns, node_says
from tests.integration.services.offered import PODS, endpoints, service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.services.conftest import Declarer

pytestmark = pytest.mark.parametrize("declarer", ["iptables-nft"], indirect=True)
ISOLATED: dict[str, Any] = {
    "backend": "iptables",
    "iptables_flavour": "nft",
    "node": "a",
    "policies": [{"metadata": {"name": "none"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}],
    "endpoints": endpoints("one"),
}


@pytest.fixture(autouse=True)
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declarer: Declarer) -> Iterator[Path]:
    """One of this test's own, on a node without a rule."""
    monkeypatch.setattr(iptables_bases, "NOTE", tmp_path / "run" / "iptables-made.json")
    _nft("flush ruleset")
    yield iptables_bases.NOTE
    declarer.also(POLICY, None)
    declarer.declare([])
    _nft("flush ruleset")


def _nft(text: str) -> None:
    with namespace.inside(netns("a")):
        subprocess.run(["nft", text], check=True, timeout=60)


def _ruleset() -> str:
    return node_says("nft", "list", "ruleset")


def test_a_node_without_rules_is_without_any_afterwards(declarer: Declarer, note: Path) -> None:
    assert _ruleset() == ""
    declarer.declare([service()], endpoints=endpoints(*PODS))
    assert "chain PREROUTING" in _ruleset()
    assert note.stat().st_mode & 0o777 == 0o600
    declarer.declare([service(), service(2)], endpoints=endpoints(*PODS))
    declarer.declare([])
    assert _ruleset() == ""
    assert not note.exists()


@pytest.mark.parametrize("first", ["policies", "services"])
def test_the_last_of_policies_and_services_takes_them_away(declarer: Declarer, first: str) -> None:
    declarer.also(POLICY, ISOLATED)
    declarer.declare([service()], endpoints=endpoints(*PODS))
    for which in (first, "services" if first == "policies" else "policies"):
        assert _ruleset() != ""
        if which == "policies":
            declarer.also(POLICY, None)
        else:
            declarer.declare([])
    assert _ruleset() == ""


def test_what_was_there_before_and_what_is_used_by_then_stays(declarer: Declarer) -> None:
    # An empty table and chains of somebody's, one of them with a policy.
    _nft("add table ip nat; add chain ip nat OUTPUT { type nat hook output priority -100; policy accept; }")
    _nft("add table ip6 filter; add chain ip6 filter FORWARD { type filter hook forward priority 0; policy drop; }")
    before = _ruleset()
    declarer.declare([service()], endpoints=endpoints(*PODS))
    with namespace.inside(netns("a")):
        # One in a chain that came with our rules.
        subprocess.run(
            ["iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.7", "-j", "ACCEPT"], check=True
        )
        subprocess.run(["iptables-nft", "-P", "INPUT", "DROP"], check=True)
    declarer.declare([])
    told = json.loads(node_says("nft", "-j", "list", "chains"))["nftables"]
    chains = {
        (each["chain"]["family"], each["chain"]["table"], each["chain"]["name"]) for each in told if "chain" in each
    }
    assert chains == {
        ("ip", "nat", "OUTPUT"),
        ("ip6", "filter", "FORWARD"),
        ("ip", "nat", "POSTROUTING"),
        ("ip", "filter", "INPUT"),
    }
    assert "203.0.113.7" in _ruleset()
    _nft("delete chain ip nat POSTROUTING; delete table ip filter")
    assert _ruleset() == before


def test_a_note_that_nobody_can_read_is_none(declarer: Declarer, note: Path) -> None:
    declarer.declare([service()], endpoints=endpoints(*PODS))
    note.write_text('{"at": 3', encoding="utf-8")
    declarer.declare([])
    assert "chain PREROUTING" in _ruleset()
    assert f":{scene.PORT}" not in _ruleset()
