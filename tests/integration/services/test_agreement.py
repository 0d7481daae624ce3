# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random services mean the same to every packet filter as to who reads the documents: real connections judge.

Each example is declared in the place of the former one, so that what changes is changed by difference. The examples are
the same in every run; PODNET_AGREEMENT sets how many there are, PODNET_AGREEMENT_SEED takes others.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, seed

from tests.conformance import naive_services as naive
from tests.conformance import service_cases as scene
from tests.conformance.examples import in_turn
from tests.integration.services.clients import Attempt, Clients, Outcome
from tests.integration.services.conftest import EVERY
from tests.integration.services.ground import gateway

if TYPE_CHECKING:
    from tests.conformance.naive_services import Cluster, Expected, Line
    from tests.integration.services.conftest import Declarer

EXAMPLES = int(os.environ.get("PODNET_AGREEMENT") or 4)
SEED = int(os.environ.get("PODNET_AGREEMENT_SEED") or 20261126)
ROUNDS = 3
"""Connections of each sort, one after the other, so that a client may come back."""


@pytest.mark.parametrize("declarer", EVERY, indirect=True)
def test_random_services_do_what_the_documents_say(
    declarer: Declarer, clients: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts: dict[str, int] = {}

    @seed(SEED)
    @in_turn(EXAMPLES)
    @given(naive.clusters())
    def agree(cluster: Cluster) -> None:
        declarer.declare(cluster.services, cluster.slices, endpoints=cluster.endpoints)
        again = declarer.declare(cluster.services, cluster.slices, endpoints=cluster.endpoints)
        assert not again.operations, text(cluster)
        table = list(naive.lines(cluster))
        found: list[set[Outcome]] = [set() for _line in table]
        for _round in range(ROUNDS):
            outcomes = clients.attempt([Attempt(*line[:5]) for line, _expected in table])
            for known, outcome in zip(found, outcomes, strict=True):
                known.add(outcome)
        wrong = [
            f"{declarer.backend}: {line}: {expected}, but {sorted(outcomes)}"
            for (line, expected), outcomes in zip(table, found, strict=True)
            if not as_expected(line, expected, outcomes)
        ]
        assert not wrong, "\n".join([text(cluster), *wrong[:20]])
        for _line, expected in table:
            verdicts[expected.verdict] = verdicts.get(expected.verdict, 0) + ROUNDS

    agree()
    with capsys.disabled():
        sys.stdout.write(f"\nrandom services by {declarer.backend}, seed {SEED}: connections {verdicts}\n")
    assert {"forward", "reject", "drop"} <= verdicts.keys(), "the examples are too much alike to tell anything"


def as_expected(line: Line, expected: Expected, outcomes: set[Outcome]) -> bool:
    """Whether all that came of a connection may have come of it."""
    if {outcome.verdict for outcome in outcomes} != {expected.verdict}:
        return False
    backends = {outcome.backend for outcome in outcomes} - {""}
    if not backends <= expected.backends or (line.affine and len(backends) > 1):
        return False
    own = scene.client_address(line.client, line.family)
    nodes = {scene.NODES["a"][line.family], gateway("a", line.family)}
    for outcome in outcomes:
        seen = nodes if expected.hidden else {own}
        if line.client == "node":
            seen = nodes
        elif outcome.backend == line.client:  # from itself to itself, which takes another address
            seen = {*nodes, line.address}
        if outcome.backend and outcome.seen not in seen:
            return False
    return True


def text(cluster: Cluster) -> str:
    """The documents, to be read by a person."""
    return json.dumps(cluster._asdict(), indent=1)
