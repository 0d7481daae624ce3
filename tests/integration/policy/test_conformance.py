# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent author's cases, by packets between pods on two nodes, on both families."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conformance import cases, declare, nodes, prober

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def built() -> Iterator[nodes.Nodes]:
    made = nodes.build(f"c{os.getpid()}-")
    yield made
    made.remove()


@pytest.mark.parametrize("family", [4, 6])
def test_every_cell_of_every_case_is_right(family: int, built: nodes.Nodes, tmp_path: Path) -> None:
    row = [(netns, str(cases.FIRST[family] + place)) for place, netns in enumerate(built.pods)]
    asking = prober.Prober(family, row)
    wrong: list[str] = []
    probed = steps = 0
    try:
        for world in cases.worlds(family):
            declare.world(world, built, tmp_path)
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
    assert (steps, probed) == (256, 124_884)
    assert wrong == [], "\n".join(wrong)
