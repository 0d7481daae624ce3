# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent author's cases, by packets between pods on two nodes, on both families, with every backend.

Of nftables all steps are probed, of the others a fixed sample; `make conformance`, which sets
PODNET_CONFORMANCE=full, probes them all.
"""

from __future__ import annotations

import functools
import os
import random
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conformance import cases, declare, nodes, prober
from tests.integration.policy.node_thread import NodeThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = os.environ.get("PODNET_CONFORMANCE") == "full"
STEPS, CELLS = 256, 124_884
SAMPLE = 40
SEED = 20261125


@pytest.fixture(scope="module", params=declare.BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ground_of(backend: str) -> Iterator[tuple[nodes.Nodes, dict[str, NodeThread]]]:
    """Nodes for each backend, and a thread on each: none finds what another has left."""
    made = nodes.build(f"c{os.getpid()}-{backend[:1]}{backend[-1:]}-")
    threads = {node: NodeThread(node) for node in made.nodes}
    try:
        yield made, threads
    finally:
        for thread in threads.values():
            thread.close()
        made.remove()


def chosen(backend: str) -> list[int]:
    """The steps that are probed, by their number in the row of all."""
    everything = range(STEPS)
    return list(everything) if FULL or backend == "nftables" else random.Random(SEED).sample(everything, SAMPLE)


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_every_cell_of_every_case_is_right(
    family: int,
    backend: str,
    ground_of: tuple[nodes.Nodes, dict[str, NodeThread]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    built, threads = ground_of
    row = [(netns, str(cases.FIRST[family] + place)) for place, netns in enumerate(built.pods)]
    asking = prober.Prober(family, row)
    wrong: list[str] = []
    probed = steps = 0
    wanted = set(chosen(backend))
    try:
        for number, world in enumerate(cases.worlds(family)):
            if number not in wanted:
                continue
            steps += 1
            for node, thread in threads.items():
                thread.run(functools.partial(declare.here, world, built, node, tmp_path, backend=backend))
            names = {str(pod): declare.PLACES[pod.addresses[4]] for pod in world.pods}
            expected = {
                (protocol, port, names[source], names[destination]): reaches
                for (protocol, port), table in world.expected.items()
                for (source, destination), reaches in table.items()
            }
            arrived = asking.reached(expected)
            built.forget_flows()
            probed += len(expected)
            wrong += [
                f"case {world.case} step {world.step} ({world.description}): {cell} "
                + ("was blocked" if reaches else "got through")
                for cell, reaches in expected.items()
                if (cell in arrived) != reaches
            ]
            assert len(wrong) < 20, "\n".join(wrong)
    finally:
        asking.close()
    part = "" if steps == STEPS else f" (a sample, seed {SEED})"
    right = probed - len(wrong)
    with capsys.disabled():
        sys.stdout.write(f"\n{backend}, IPv{family}: {steps} steps{part}, {probed} cells probed, {right} right\n")
    assert wrong == [], "\n".join(wrong)
    assert steps == len(wanted)
    if steps == STEPS:
        assert probed == CELLS
