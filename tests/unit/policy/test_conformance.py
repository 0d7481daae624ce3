# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiler means by a policy what an independent author's model means by it, cell by cell, on both families."""

from __future__ import annotations

import ipaddress

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    Endpoint,
    World,
    compile_policies,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import read
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow, Judge
from tests.conformance import cases


def endpoint(pod: cases.Pod) -> Endpoint:
    """A pod as the compiler knows it."""
    addresses = {family: (int(ipaddress.ip_address(text)),) for family, text in pod.addresses.items()}
    ports = tuple((name, protocol, number) for name, (protocol, number) in cases.PORTS.items())
    return Endpoint(pod.namespace, pod.name, pod.labels, addresses, ports)


@pytest.mark.parametrize("family", [4, 6])
def test_every_cell_of_every_case_is_right(family: int) -> None:
    wrong: list[str] = []
    cells = steps = blocked = 0
    for world in cases.worlds(family):
        steps += 1
        endpoints = {(pod.namespace, pod.name): endpoint(pod) for pod in world.pods}
        policies = [read(document) for document in world.policies]
        compiled = compile_policies(policies, World(world.namespaces, endpoints.values()), endpoints.values())
        judge = Judge(compiled, endpoints.values())
        by_name = {f"{namespace}/{name}": each for (namespace, name), each in endpoints.items()}
        for (protocol, port), table in world.expected.items():
            assert len(table) == len(endpoints) ** 2
            for (source, destination), expected in table.items():
                cells += 1
                blocked += not expected
                one, other = (by_name[name].addresses[family][0] for name in (source, destination))
                if judge.allows(Flow(family, one, other, protocol, port)) != expected:
                    wrong.append(f"case {world.case} step {world.step}: {source} to {destination} {protocol}/{port}")
    assert (steps, cells, blocked) == (256, 124_884, 21_128)
    assert wrong == []
