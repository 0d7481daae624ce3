# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""BGP with a fault at an operation, BIRD included: one message, and the next run ends as if nothing had been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.conditions.test_module_faults import FaultyNode, clear
from tests.integration.rounds import Rounds

if TYPE_CHECKING:
    from pathlib import Path

    from .fabric import Speaker

LEFT = "find /etc/podnet /run/podnet ! -name lock -type f | sort; ip route show proto bird"


def given(node: Speaker, **more: Any) -> dict[str, Any]:
    peers = [{"name": "n2", "underlay": "192.0.2.2", "second": "2001:db8::2", "blocks": ["10.244.2.0/24"]}]
    params = {"local": node.local, "second_local": node.second, "blocks": node.blocks, "peers": peers}
    return {**params, "pools": ["10.244.0.0/16", "fd00:10:244::/48"], **more}


@pytest.mark.parametrize("run", ["apply", "change", "remove"])
def test_a_run_with_a_fault_is_completed_by_the_next(nodes: list[Speaker], tmp_path: Path, run: str) -> None:
    speaker = nodes[0]
    node = FaultyNode(speaker.pid, tmp_path / "fault")
    first, absent = given(speaker), given(speaker, state="absent")
    second = given(speaker, blocks=speaker.blocks[:1], peers=[])
    start, wanted = {"apply": (absent, first), "change": (first, second), "remove": (second, absent)}[run]
    node.module("bgp", **wanted)
    left = node.run("sh", "-c", LEFT)
    rounds = Rounds(9)
    for _fault in rounds:
        node.module("bgp", **start)
        fault, reason, said = node.faulty(rounds, "bgp", **wanted)
        if not fault:
            break
        if said:
            clear(fault, reason, said)
            node.module("bgp", **wanted)
        assert not node.module("bgp", **wanted)["changed"], (fault, said)
        assert len(speaker.birds()) == (run != "remove"), (fault, said)
        assert node.run("sh", "-c", LEFT) == left, (fault, said)
    assert rounds.at > 20
    assert said == ""
