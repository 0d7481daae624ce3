# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is told of services one by one has what a run that knows all of them makes of the same.

From one random cluster to another in steps, each of one service; among others that have nothing to do with these, so
that there are chains for every number of backends. PODNET_AGREEMENT sets how many examples there are,
PODNET_AGREEMENT_SEED takes others.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import line, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import ServiceKind
from ansible_collections.podnet.fabric.plugins.module_utils.service import telling, told, update
from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import key_of
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import nothing
from tests.conformance import naive_services as naive
from tests.conformance import service_cases as scene
from tests.conformance.examples import in_turn
from tests.integration.services.clients import Attempt, Clients
from tests.integration.services.conftest import EVERY
from tests.integration.services.offered import (
    ADDRESSES,
    datagrams,
    endpoints,
    service,
    to_service,
    with_node_port,
)
from tests.integration.services.test_agreement import as_expected, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Outcome, Told
    from tests.conformance.naive_services import Cluster
    from tests.integration.services.conftest import Declarer

EXAMPLES = int(os.environ.get("PODNET_AGREEMENT") or 4)
SEED = int(os.environ.get("PODNET_AGREEMENT_SEED") or 20261127)


@pytest.fixture
def teller(declarer: Declarer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teller]:
    """What is told is kept beside the test's own declarations."""
    monkeypatch.setattr(told.RECORDS, "folder", tmp_path / "told-services")
    yield Teller(declarer)
    declarer.declare([])


class Teller:
    """The module service, and service_update, on the node."""

    def __init__(self, declarer: Declarer) -> None:
        self.declarer = declarer

    def declare(self, services: list[Any], slices: list[Any], endpoints: list[Any]) -> None:
        """All anew."""
        kind = ServiceKind(since=nothing)

        def after() -> None:
            with Host() as host:
                former = self.declarer.declarations.read(kind.name)
                params = self.declarer.parameters(services, slices, endpoints=endpoints)
                items = {"podnet": kind.normalise("podnet", params, former.get("podnet"), host)}
                reconcile(kind, items, host, self.declarer.declarations, declared=telling.declared_all)
                telling.after_all(self.declarer.declarations, kind)

        self.declarer.node.run(after)

    def tell(self, given: Told, check: bool = False) -> Outcome:
        return self.declarer.node.run(lambda: telling.tell(given, self.declarer.declarations, check))

    def differences(self) -> list[str]:
        """What a reconcile would change by now."""
        kind = ServiceKind()

        def look() -> list[str]:
            with Host() as host:
                items = self.declarer.declarations.read(kind.name)
                left = reconcile(kind, items, host, self.declarer.declarations, check=True).operations
            facilities = {facility.name: facility for facility in kind.facilities}
            return [
                f"{each.verb} {line(facilities[each.facility], obj)}"
                for each in left
                for obj in (each.before, each.after)
                if obj is not None
            ]

        return self.declarer.node.run(look)


def others() -> tuple[list[Any], list[Any]]:
    """Services with any number of backends, here and elsewhere, of both sorts of clients."""
    services, slices = [], []
    for place, (here, there, affine) in enumerate(
        (here, there, affine) for here in range(3) for there in range(3) for affine in (False, True)
    ):
        name = f"other{place}"
        node_port = {"type": "NodePort", "externalTrafficPolicy": "Local"}
        spec = {
            **node_port,
            "clusterIPs": [f"10.96.9.{place + 1}", f"fd00:10:96::9:{place + 1:x}"],
            "sessionAffinity": "ClientIP" if affine else "None",
            "externalIPs": [f"198.51.100.{100 + place}", f"2001:db8:1::1:{place + 1:x}"],
            "ports": [
                {"name": name, "protocol": name.upper(), "port": 80, "nodePort": 31000 + place}
                for name in ("tcp", "udp")
            ],
        }
        services.append({"metadata": {"name": name}, "spec": spec})
        for family in (4, 6):
            listed = [(f"a{number}", "a", 1) for number in range(here)]
            listed += [(f"b{number}", "b", 2) for number in range(there)]
            slices.append(
                {
                    "metadata": {"name": f"{name}-{family}", "labels": {"kubernetes.io/service-name": name}},
                    "addressType": f"IPv{family}",
                    "ports": [{"name": each, "protocol": each.upper(), "port": 8080} for each in ("tcp", "udp")],
                    "endpoints": [
                        {"addresses": [_address(family, block, 100 + 10 * place + number)], "nodeName": node}
                        for number, (_name, node, block) in enumerate(listed)
                    ],
                }
            )
    return services, slices


def _address(family: int, block: int, host: int) -> str:
    network = ipaddress.ip_network(scene.PODS[family])
    third = f"10.244.{block}.0" if family == 4 else f"fd00:10:244:{block}::"
    assert ipaddress.ip_address(third) in network
    return str(ipaddress.ip_address(third) + host % 250)


@st.composite
def steps(draw: st.DrawFn) -> tuple[Cluster, Cluster, list[tuple[str, str]]]:
    """Two clusters, and the services of both in the order in which they are told of."""
    before, after = draw(naive.clusters()), draw(naive.clusters())
    names = sorted({key_of(each) for each in (*before.services, *after.services)})
    return before, after, draw(st.permutations(names))


@pytest.mark.parametrize("declarer", EVERY, indirect=True)
def test_told_one_by_one_is_declared_all_at_once(
    teller: Teller, clients: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    more, more_slices = others()
    counts = {"elements": 0, "reconciled": 0, "nothing": 0}

    @seed(SEED)
    @in_turn(EXAMPLES)
    @given(steps())
    def agree(example: tuple[Cluster, Cluster, list[tuple[str, str]]]) -> None:
        before, after, names = example
        shown = f"{text(before)}\n{text(after)}\n{names}"
        teller.declare([*more, *before.services], [*more_slices, *before.slices], before.endpoints)
        for document in before.services:
            known = update.inspected([document], before.slices, before.endpoints, is_there=True)
            assert not teller.tell(known).changed, shown
        documents = {key_of(each): each for each in after.services}
        for whose in names:
            told_of: Told = {whose: None}
            if whose in documents:
                told_of = update.inspected([documents[whose]], after.slices, after.endpoints, is_there=True)
            foretold = teller.tell(told_of, check=True)
            outcome = teller.tell(told_of)
            assert foretold.changed == outcome.changed, shown
            assert (foretold.before, foretold.after) == (outcome.before, outcome.after), shown
            counts["reconciled" if outcome.reconciled else "elements" if outcome.changed else "nothing"] += 1
            left = teller.differences()
            assert not left, "\n".join([shown, str(outcome), *left])
            assert not teller.tell(told_of).changed, shown
        table = list(naive.lines(after))
        outcomes = clients.attempt([Attempt(*each[:5]) for each, _expected in table])
        wrong = [
            f"{each}: {expected}, but {outcome}"
            for (each, expected), outcome in zip(table, outcomes, strict=True)
            if not as_expected(each, expected, {outcome})
        ]
        assert not wrong, "\n".join([shown, *wrong[:20]])

    agree()
    with capsys.disabled():
        sys.stdout.write(f"\nservices told by {teller.declarer.backend}, seed {SEED}: {counts}\n")
    assert bool(counts["elements"]) == ("iptables" not in teller.declarer.backend)


def test_a_running_connection_goes_on_and_datagrams_leave_who_has_gone(teller: Teller, clients: Clients) -> None:
    node_port = with_node_port()
    teller.declare([node_port, service(2)], [], endpoints("one", "far"))
    standing = [clients.open(to_service("pod", family)) for family in ADDRESSES for _each in range(8)]
    flows = [clients.open(attempt) for attempt in datagrams()]
    try:
        assert {each.backend for each in clients.ask(standing)} == {"one", "far"}
        clients.ask(flows)
        outcome = teller.tell(update.inspected([node_port], [], endpoints("two", "farther"), is_there=True))
        assert outcome.reconciled == ("iptables" in teller.declarer.backend)
        assert [each.verdict for each in clients.ask(standing)] == ["forward"] * len(standing)
        # Between pods of the other node answers do not come back the way that the question went.
        assert {each.backend for each in clients.ask(flows)} <= {"two", "farther"}
        for family in ADDRESSES:
            seen = {each.backend for each in clients.attempt([to_service("pod", family)] * 60)}
            assert seen == {"two", "farther"}
        teller.tell({key_of(node_port): None})
        assert "forward" not in {each.verdict for each in clients.ask(flows)}
        assert {each.verdict for each in clients.attempt([to_service("pod", 4)] * 5)} == {"drop"}
        other = clients.attempt([Attempt("pod", 4, "tcp", "10.96.7.2", scene.PORT)] * 60)
        assert {each.backend for each in other} == {"one", "far"}
        assert teller.differences() == []
    finally:
        for connection in (*standing, *flows):
            connection.close()
