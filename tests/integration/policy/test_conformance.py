# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent author's cases, by packets between pods on two nodes, on both families."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conformance import cases, declare, nodes, prober

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.policy.node_thread import NodeThread


# All steps, or every sixth: half a minute against six seconds for each backend and family.
EVERY = {"nftables": 1, "ebpf": 1 if os.environ.get("PODNET_TEST_CONFORMANCE") == "all" else 6}
# Steps and packets, so that none is left out unnoticed.
PROBED = {1: (256, 124_884), 6: (43, 21_252)}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("backend", ["nftables", "ebpf"])
def test_every_cell_of_every_case_is_right(
    family: int, backend: str, built: nodes.Nodes, threads: dict[str, NodeThread], tmp_path: Path
) -> None:
    worlds = [world for nth, world in enumerate(cases.worlds(family)) if nth % EVERY[backend] == 0]
    sample = ", ".join(f"{world.case}.{world.step}" for world in worlds)
    sys.stdout.write(f"{backend}, IPv{family}: steps {sample}\n")
    row = [(netns, str(cases.FIRST[family] + place)) for place, netns in enumerate(built.pods)]
    asking = prober.Prober(family, row)
    wrong: list[str] = []
    probed = steps = 0
    try:
        for world in worlds:
            for node, thread in threads.items():
                thread.run(functools.partial(declare.here, world, built, node, tmp_path, backend=backend))
            names = {str(pod): declare.PLACES[pod.addresses[4]] for pod in world.pods}
            expected = {
                (protocol, number, names[source], names[destination]): reaches
                for (protocol, number), table in world.expected.items()
                for (source, destination), reaches in table.items()
            }
            arrived = asking.reached(expected)
            built.forget_flows()
            probed += len(expected)
            steps += 1
            wrong += [
                f"case {world.case} step {world.step} ({world.description}): {cell} "
                + ("was blocked" if reaches else "got through")
                for cell, reaches in expected.items()
                if (cell in arrived) != reaches
            ]
            assert len(wrong) < 20, "\n".join(wrong)
    finally:
        asking.close()
    assert (steps, probed) == PROBED[EVERY[backend]]
    assert wrong == [], "\n".join(wrong)
