# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random policies mean the same to every backend, to the compiler, and to who reads the documents: packets judge.

Each example is declared in the place of the former one on two nodes for every backend, then probed from pods, from
their nodes and from outside, by both families. The examples are the same in every run; PODNET_AGREEMENT sets how many
there are, PODNET_AGREEMENT_SEED takes others, PODNET_AGREEMENT_BACKENDS some of the backends.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from tests.conformance import declare, drawn, surroundings
from tests.conformance.answers import compiled, question, told
from tests.conformance.examples import in_turn
from tests.conformance.prober import Prober
from tests.integration.policy.conftest import SETTINGS, apply
from tests.integration.policy.node_thread import NodeThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance import naive
    from tests.conformance.prober import Cell

EXAMPLES = int(os.environ.get("PODNET_AGREEMENT") or 10)
SEED = int(os.environ.get("PODNET_AGREEMENT_SEED") or 20261125)
BACKENDS = (os.environ.get("PODNET_AGREEMENT_BACKENDS") or ",".join(declare.BACKENDS)).split(",")
NODES = ("n0", "n1")
ALL_AT_ONCE = ThreadPoolExecutor(len(BACKENDS))


class Ground(NamedTuple):
    """One backend's: nodes, a thread on each, and who probes them, by family."""

    backend: str
    surroundings: surroundings.Ground
    threads: dict[str, NodeThread]
    probers: dict[int, Prober]
    folder: Path

    def declare(self, cluster: naive.Cluster) -> None:
        for name, netns in zip(NODES, self.surroundings.built.nodes, strict=True):
            params = {
                **SETTINGS,
                "flows": 1 << 16,
                **declare.BACKENDS[self.backend]._asdict(),
                "node": name,
                **cluster._asdict(),
            }
            self.threads[netns].run(functools.partial(apply, params, self.folder / name))

    def arrived(self, expected: dict[int, dict[Cell, bool]]) -> dict[int, set[Cell]]:
        found = {family: prober.reached(expected[family]) for family, prober in self.probers.items()}
        self.surroundings.built.forget_flows()
        return found

    def close(self) -> None:
        for prober in self.probers.values():
            prober.close()
        for thread in self.threads.values():
            thread.close()
        self.surroundings.remove()


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Ground]]:
    found = []
    try:
        for number, backend in enumerate(BACKENDS):
            made = surroundings.build(f"a{os.getpid()}{number}-")
            threads = {node: NodeThread(node) for node in made.built.nodes}
            probers = {family: Prober(family, made.row(family)) for family in drawn.FAMILIES}
            found.append(Ground(backend, made, threads, probers, tmp_path_factory.mktemp(backend)))
        yield found
    finally:
        for ground in found:
            ground.close()


def test_every_backend_and_the_compiler_agree_with_the_documents(
    grounds: list[Ground], capsys: pytest.CaptureFixture[str]
) -> None:
    probed = dict.fromkeys(BACKENDS, 0)
    examples = allowed = 0

    @seed(SEED)
    @in_turn(EXAMPLES)
    @given(drawn.clusters(NODES), st.integers(0, 1 << 30))
    def agree(cluster: naive.Cluster, choice: int) -> None:
        nonlocal examples, allowed
        expected = {family: told(cluster, family, drawn.cells(family, choice)) for family in drawn.FAMILIES}
        for family, table in expected.items():
            assert compiled(cluster, family, list(table)) == table, text(cluster)
        found = list(ALL_AT_ONCE.map(lambda ground: probe(ground, cluster, expected), grounds))
        wrong = [line for lines in found for line in lines]
        assert not wrong, "\n".join([text(cluster), *wrong[:20]])
        examples += 1
        allowed += sum(map(sum, (table.values() for table in expected.values())))
        for backend in BACKENDS:
            probed[backend] += sum(map(len, expected.values()))

    agree()
    counts = ", ".join(f"{backend} {count}" for backend, count in probed.items())
    total = sum(probed.values()) // len(BACKENDS)
    with capsys.disabled():
        sys.stdout.write(
            f"\nrandom policies, seed {SEED}: {examples} examples, {allowed} of {total} cells reach; "
            f"cells probed, all as the documents say: {counts}\n"
        )
    assert examples >= min(EXAMPLES, 5)
    assert 0.05 < allowed / total < 0.95, "the examples are too much alike to tell anything"


def probe(ground: Ground, cluster: naive.Cluster, expected: dict[int, dict[Cell, bool]]) -> list[str]:
    """Declare and probe, and what is not as it should be."""
    ground.declare(cluster)
    return [
        f"{ground.backend}: IPv{family} {question(cell, family)} "
        + ("was blocked" if expected[family][cell] else "got through")
        for family, arrived in ground.arrived(expected).items()
        for cell in expected[family]
        if (cell in arrived) != expected[family][cell]
    ]


def text(cluster: naive.Cluster) -> str:
    return json.dumps(cluster._asdict(), indent=1)
