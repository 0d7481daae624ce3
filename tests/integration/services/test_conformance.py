# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every line of the table of services holds for packets, with real clients and servers, on both families."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import service_cases as scene
from tests.integration.services import sctp
from tests.integration.services.clients import Attempt, Clients, Outcome
from tests.integration.services.conftest import EVERY
from tests.integration.services.ground import gateway

if TYPE_CHECKING:
    from tests.integration.services.conftest import Declarer

TURNS = 60
"""Rounds in which every backend has to have been seen: one of three is missed by all 180 connections never."""
AT_ONCE = 3


def wrong(family: int, line: scene.Connection, asked: str, outcomes: set[Outcome]) -> str:
    """What is not as the table says.

    :param asked: the address that was connected to, from which eBPF has a pod reach itself
    """
    if {outcome.verdict for outcome in outcomes} != {line.verdict}:
        return f"found {sorted(outcomes)}"
    own = scene.client_address(line.client, family)
    others = {scene.NODES["a"][family], gateway("a", family)}
    for outcome in outcomes:
        if outcome.backend not in {"", *line.backends}:
            return f"{outcome.backend} answered"
        allowed = {own} if outcome.backend not in line.hidden else others
        if outcome.backend == line.client:
            allowed = allowed | {asked}
        if outcome.backend and outcome.seen not in allowed:
            return f"{outcome.backend} saw {outcome.seen}"
    return ""


@pytest.mark.parametrize("declarer", EVERY, indirect=True)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_every_line_of_the_table_holds(declarer: Declarer, clients: Clients, family: int, protocol: str) -> None:
    documents = [case.documents("TCP", "UDP") for case in scene.cases()]
    declarer.declare(
        [service for service, _slices in documents], [each for _service, found in documents for each in found]
    )
    lines = [(case, line) for case in scene.cases() for line in case.connections]
    seen: dict[int, set[Outcome]] = {place: set() for place in range(len(lines))}
    asked = [case.address(line.to, family) for case, line in lines]
    pending = list(seen)
    for _turn in range(TURNS):
        places = [place for place in pending for _more in range(AT_ONCE)]
        attempts = [
            Attempt(line.client, family, protocol, case.address(line.to, family), case.port(line.to))
            for case, line in (lines[place] for place in places)
        ]
        for place, outcome in zip(places, clients.attempt(attempts), strict=True):
            seen[place].add(outcome)
        pending = [
            place
            for place in pending
            if not wrong(family, lines[place][1], asked[place], seen[place])
            and lines[place][1].backends - {outcome.backend for outcome in seen[place]}
        ]
        if not pending:
            break
    assert not pending, [f"{lines[place][0].name}: {lines[place][1]}: only {seen[place]}" for place in pending]
    found = [
        f"{case.name}: {line}: {text}"
        for place, (case, line) in enumerate(lines)
        if (text := wrong(family, line, asked[place], seen[place]))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("declarer", EVERY, indirect=True)
@pytest.mark.parametrize("family", [4, 6])
def test_associations_are_sent_on_as_the_table_says(declarer: Declarer, family: int) -> None:
    documents = [case.documents("SCTP") for case in scene.cases()]
    declarer.declare(
        [service for service, _slices in documents], [each for _service, found in documents for each in found]
    )
    found = []
    lines = [(case, line) for case in scene.cases() for line in case.connections if line.verdict == "forward"]
    with sctp.Ends(family, ("outside", "node", *scene.POD_NODES)) as ends:
        for case, line in lines:
            asked = case.address(line.to, family)
            for _each in range(3):
                made = ends.associate(line.client, asked, case.port(line.to))
                assert made, (case.name, line)
                assert made.stands()
                text = wrong(family, line, asked, {Outcome("forward", made.backend, made.peer)})
                if text:
                    found.append(f"{case.name}: {line}: {text}")
    assert not found, "\n".join(found)
