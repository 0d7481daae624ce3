# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with policies and pods is said all at once, each with its path; what Kubernetes takes is taken."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy.endpoints import inspect_endpoints, of_others
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_namespaces,
    inspect_policies,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils import policy_check
from ansible_collections.podnet.fabric.plugins.plugin_utils.endpoint_view import endpoints


def told(policies: Any) -> dict[str, str]:
    """Path to what is said of it."""
    inspection = Inspection()
    inspect_policies(inspection, "policies", policies)
    assert len({finding.path for finding in inspection.findings}) == len(inspection.findings)
    return {finding.path: f"{finding.found}; {finding.wanted}" for finding in inspection.findings}


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one", "namespace": "x"}, "spec": {"podSelector": {}, **spec}}


def test_what_kubernetes_takes_is_taken() -> None:
    whole = policy(
        policyTypes=["Ingress", "Egress"],
        ingress=[
            {},
            {
                "from": [
                    {"ipBlock": {"cidr": "10.8.0.0/16", "except": ["10.8.1.0/24"]}},
                    {"ipBlock": {"cidr": "::/0"}},
                    {
                        "namespaceSelector": {},
                        "podSelector": {"matchExpressions": [{"key": "example.org/app", "operator": "Exists"}]},
                    },
                ],
                "ports": [{"port": "http"}, {"protocol": "SCTP"}, {"protocol": "UDP", "port": 1, "endPort": 65535}, {}],
            },
        ],
        egress=None,
    )
    whole.update(apiVersion="networking.k8s.io/v1", kind="NetworkPolicy")
    assert told([whole, {**whole, "metadata": {"name": "one", "namespace": "y", "labels": {"a": "b"}}}]) == {}


def test_every_error_is_told_with_its_path() -> None:
    blocks = [
        {"ipBlock": {"cidr": "10.8.0.0/16", "except": ["10.9.0.0/16", "10.8.0.0/16", "fd00::/64", "10.8.1.1"]}},
        {"ipBlock": {"cidr": "10.8.0.1/16"}, "podSelector": {}},
        {},
        {"podSelector": {"matchLabels": {"a": 1, "-": "x"}}, "namespaceselector": {}},
    ]
    ports = [
        {"port": 0},
        {"port": "HTTP"},
        {"protocol": "tcp"},
        {"port": 90, "endPort": 80},
        {"port": "a", "endPort": 1},
    ]
    expressions = [
        {"key": "a", "operator": "in", "values": ["b"]},
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["b"]},
    ]
    found = told(
        [
            policy(ingress=[{"from": blocks}], egress=[{"ports": ports}], policyTypes=["ingress"]),
            {"metadata": {"name": "Two"}, "spec": {"podSelector": {"matchExpressions": expressions}}, "kind": "Pod"},
            "three",
            policy(),
        ]
    )
    assert found["policies[0].spec.ingress[0].from[0].ipBlock.except[0]"] == (
        "10.9.0.0/16 is not inside 10.8.0.0/16; give a part of it"
    )
    at = "policies[0].spec."
    assert set(found) == {
        f"{at}ingress[0].from[0].ipBlock.except[0]",
        f"{at}ingress[0].from[0].ipBlock.except[1]",
        f"{at}ingress[0].from[0].ipBlock.except[2]",
        f"{at}ingress[0].from[0].ipBlock.except[3]",
        f"{at}ingress[0].from[1].ipBlock.cidr",
        f"{at}ingress[0].from[1]",
        f"{at}ingress[0].from[2]",
        f"{at}ingress[0].from[3].namespaceselector",
        f"{at}ingress[0].from[3].podSelector.matchLabels['a']",
        f"{at}ingress[0].from[3].podSelector.matchLabels['-']",
        f"{at}egress[0].ports[0].port",
        f"{at}egress[0].ports[1].port",
        f"{at}egress[0].ports[2].protocol",
        f"{at}egress[0].ports[3].endPort",
        f"{at}egress[0].ports[4].endPort",
        f"{at}policyTypes[0]",
        "policies[1].kind",
        "policies[1].metadata.name",
        "policies[1].spec.podSelector.matchExpressions[0].operator",
        "policies[1].spec.podSelector.matchExpressions[1].values",
        "policies[1].spec.podSelector.matchExpressions[2].values",
        "policies[2]",
        "policies[3].metadata",
    }


@pytest.mark.parametrize("wrong", [None, "", {}, 7, [[]], [None], [{"metadata": []}], [{"spec": {"ingress": {}}}]])
def test_nothing_makes_the_inspection_itself_fail(wrong: Any) -> None:
    assert told(wrong)


def test_pods_and_namespaces_are_inspected_too() -> None:
    inspection = Inspection()
    inspect_namespaces(inspection, "namespaces", {"X": {}, "y": {"a": "b c"}, "z": None})
    pods = [
        {"name": "a", "addresses": ["10.0.0.1"]},
        {"name": "a", "addresses": ["10.0.0.1"], "ports": [{"name": "http", "port": 80, "protocol": "ICMP"}]},
        {"name": "b", "addresses": ["10.0.0.300"], "label": {}},
    ]
    inspect_endpoints(inspection, "endpoints", pods)
    assert {finding.path for finding in inspection.findings} == {
        "namespaces.X",
        "namespaces.y['a']",
        "endpoints[1]",
        "endpoints[1].addresses[0]",
        "endpoints[1].ports[0].protocol",
        "endpoints[2].addresses[0]",
        "endpoints[2].label",
    }


def test_pods_that_are_declared_already_are_not_judged_again() -> None:
    def inspected(pods: list[dict[str, Any]], declared: list[dict[str, Any]]) -> tuple[list[Any], set[str]]:
        inspection = Inspection()
        return inspect_endpoints(inspection, "x", pods, declared), {each.path for each in inspection.findings}

    given: list[dict[str, Any]] = [{"name": "web", "node": "a", "labels": {"app": "web"}, "addresses": ["10.244.1.2"]}]
    declared, findings = inspected(given, [])
    assert not findings
    assert inspected(given, declared)[0][0] is declared[0]
    # As if an earlier version had let it pass.
    before = [{**declared[0], "labels": {"app": "-"}}]
    assert inspected([{**given[0], "labels": {"app": "-"}}], before) == (before, set())
    again: list[dict[str, Any]] = [
        {**given[0], "labels": {"app": "--"}},
        {"name": "other", "addresses": ["10.244.1.2"]},
    ]
    assert inspected(again, before)[1] == {"x[0].labels['app']", "x[1].addresses[0]"}


def test_the_plan_tells_them_by_its_variables() -> None:
    (problem,) = policy_check.problems({"podnet_policies": [policy(ingress=7)]}, {})
    assert str(problem) == "podnet_policies[0].spec.ingress: 7; give a list"
    wrong = {"rate": "10/fortnight", "burst": 0, "group": 70000, "level": "info"}
    found = [problem.path for problem in policy_check.problems({"podnet_policy_log": wrong}, {})]
    assert found == [f"podnet_policy_log.{key}" for key in ("level", "rate", "burst", "group")]


def test_the_inventory_adds_to_what_attachments_tell() -> None:
    attached = {
        "node1": [{"namespace": "shop", "name": "db", "labels": {"app": "db"}, "addresses": ["10.0.0.1"]}],
        "node2": [{"namespace": "default", "name": "web", "labels": {}, "addresses": ["10.0.1.1"]}],
    }
    stated: list[dict[str, Any]] = [
        {"namespace": "shop", "name": "db", "labels": {"tier": "back"}, "ports": [{"name": "sql", "port": 5432}]},
        {"name": "printer", "addresses": ["10.0.9.9"]},
    ]
    assert endpoints(attached, stated) == [
        {"namespace": "default", "name": "printer", "labels": {}, "addresses": ["10.0.9.9"]},
        {"namespace": "default", "name": "web", "labels": {}, "addresses": ["10.0.1.1"], "node": "node2"},
        {
            "namespace": "shop",
            "name": "db",
            "labels": {"app": "db", "tier": "back"},
            "addresses": ["10.0.0.1"],
            "ports": [{"name": "sql", "port": 5432}],
            "node": "node1",
            "stated": {"tier": "back"},
        },
    ]


def test_pods_of_nodes_that_are_not_asked_stay_unless_they_have_moved() -> None:
    def pod(name: str, node: str, address: str) -> dict[str, Any]:
        return {"namespace": "x", "name": name, "node": node, "addresses": [address]}

    former = {
        "endpoints": [pod("a", "node1", "10.0.0.1"), pod("b", "node2", "10.0.1.1"), pod("c", "node2", "10.0.1.2")]
    }
    known = [pod("b", "node1", "10.0.0.2")]
    assert of_others(former, ["node1"], known) == [pod("c", "node2", "10.0.1.2")]
    assert of_others(former, None, known) == []
    assert of_others(None, ["node1"], known) == []
