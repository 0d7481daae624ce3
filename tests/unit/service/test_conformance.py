# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiler means by a service what Kubernetes and Cilium mean by it, line by line, on both families."""

from __future__ import annotations

import ipaddress

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import of_networks
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import World, compile_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.evaluation import Place, decide
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices
from tests.conformance import service_cases as scene


def number(text: str) -> int:
    return int(ipaddress.ip_address(text))


PLACE = Place(
    frozenset((family, number(text)) for family, text in scene.NODES["a"].items()),
    of_networks(scene.BLOCKS.values()),
    of_networks(scene.PODS.values()),
    of_networks(scene.SERVICES.values()),
)


def test_the_documents_of_the_table_are_what_kubernetes_takes() -> None:
    services, slices = zip(*(case.documents("TCP", "UDP") for case in scene.cases()), strict=True)
    inspection = Inspection()
    inspect_services(inspection, "services", list(services))
    inspect_slices(inspection, "slices", [each for found in slices for each in found])
    assert inspection.findings == []


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_every_line_of_the_table_holds(family: int, protocol: str) -> None:
    made = [case.documents(protocol) for case in scene.cases()]
    world = World([], documents.slices(each for _service, slices in made for each in slices))
    table = compile_services(documents.services(service for service, _slices in made), world, "a")
    names = {number(scene.pod_address(pod, family)): pod for pod in scene.POD_NODES}
    wrong = []
    lines = 0
    for case in scene.cases():
        for each in case.connections:
            lines += 1
            source, to = scene.client_address(each.client, family), case.address(each.to, family)
            flow = Flow(family, number(source), number(to), protocol.lower(), case.port(each.to))
            found = decide(table, flow, PLACE)
            backends, hidden = (
                frozenset(names[backend.address] for backend in some) for some in (found.backends, found.masqueraded)
            )
            if (found.verdict, backends, hidden) != (each.verdict, each.backends, each.hidden):
                wrong.append(f"{case.name}: {each}: found {found.verdict}, {backends}, hidden {hidden}")
    assert lines >= 60
    assert wrong == []
