# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories, with all that nodes reported, and ledgers give a plan or problems: no traceback."""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from typing import Any

import pytest
from ansible.errors import AnsibleError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import inspect_policies
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents as services
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices
from ansible_collections.podnet.fabric.plugins.plugin_utils import hostvars, ledger_text, planning
from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_etcd import EtcdStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

from .damage import DEEP, VALUES, damaged, written
from .raw import raw, text

POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "one", "namespace": "x"},
    "spec": {
        "podSelector": {
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}],
        },
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]},
        ],
        "egress": [
            {"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": [{"port": "http", "protocol": "UDP"}]},
        ],
    },
}
POD: dict[str, Any] = {
    "name": "a",
    "namespace": "x",
    "node": "node1",
    "labels": {"a": "b"},
    "addresses": ["10.0.0.1"],
    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "one", "namespace": "x"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9", "fd00:96::9"],
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "PreferDualStack",
        "selector": {"a": "b"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "externalIPs": ["198.51.100.1"],
        "loadBalancerIP": "203.0.113.1",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "externalTrafficPolicy": "Local",
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.2", "ipMode": "VIP"}]}},
}
SLICE: dict[str, Any] = {
    "metadata": {"name": "one-1", "namespace": "x", "labels": {"kubernetes.io/service-name": "one"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "nodeName": "node1", "weight": 2}],
    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
}
LEDGER: dict[str, Any] = {
    "format": 2,
    "cluster": "podnet",
    "blocks": {
        "10.244.0.0/24": {"pool": "default", "node": "node1", "order": 0},
        "10.244.1.0/24": {"pool": "default", "node": "node2", "order": 0, "released": "2026-01-01T00:00:00Z"},
    },
    "services": {
        "10.96.0.9": {"service": "x/one"},
        "tcp/30080": {"service": "x/one", "port": "http", "released": "2026-01-01T00:00:00Z"},
    },
}
INVENTORY: dict[str, Any] = {
    "podnet_pools": [{"name": "default", "cidr": "10.244.0.0/16", "block_size": 24, "nat_outgoing": True}],
    "podnet_dataplane": "vxlan",
    "podnet_underlay": {"interface": "auto", "address": "192.0.2.1"},
    "podnet_verify_outside": ["192.0.2.99"],
    "podnet_policies": [POLICY],
    "podnet_namespaces": {"x": {"a": "b"}},
    "podnet_endpoints": [POD],
    "podnet_service_cidrs": ["10.96.0.0/16", "fd00:96::/112"],
    "podnet_services": [SERVICE],
    "podnet_endpoint_slices": [SLICE],
    "podnet_service_node_ports": "30000-32767",
    "podnet_bgp": {"asn": 64512},
}
REPORT: dict[str, Any] = {
    "underlay": {
        "address": "192.0.2.1",
        "interface": "eth0",
        "prefixlen": 24,
        "mtu": 1500,
        "second": {"address": "2001:db8::1", "prefixlen": 64},
    }
}
STORED: dict[str, Any] = {
    "responses": [
        {
            "response_range": {
                "kvs": [{"value": base64.b64encode(json.dumps(LEDGER).encode()).decode(), "mod_revision": "7"}]
            }
        },
        {"response_range": {"kvs": [{"value": base64.b64encode(b'[{"token": "a"}]').decode(), "mod_revision": "7"}]}},
    ]
}


@given(damaged([POLICY, POLICY]))
def test_policies(given_policies: Any) -> None:
    inspection = Inspection()
    inspect_policies(inspection, "policies", given_policies)
    if not inspection.findings:
        for document in given_policies:
            documents.read(document)
    for document in given_policies if isinstance(given_policies, list) else ():
        if isinstance(document, dict):
            with contextlib.suppress(PodnetError):
                documents.read(document)


@given(damaged([SERVICE, SERVICE]), damaged([SLICE]))
def test_services(given_services: Any, given_slices: Any) -> None:
    for found, inspect, read in (
        (given_services, inspect_services, services.services),
        (given_slices, inspect_slices, services.slices),
    ):
        inspection = Inspection()
        inspect(inspection, "given", found)
        if not inspection.findings:
            read(found)
        if isinstance(found, list):
            with contextlib.suppress(PodnetError):
                read(found)


@given(damaged([POD]))
def test_endpoints(given_pods: Any) -> None:
    inspection = Inspection()
    known = endpoints.inspect_endpoints(inspection, "endpoints", given_pods)
    for item in known:
        with contextlib.suppress(PodnetError):
            endpoints.read(item)


@given(st.one_of(st.text(), damaged(LEDGER).map(written)))
def test_ledgers(found: str) -> None:
    with contextlib.suppress(LedgerError):
        ledger = ledger_text.parse(found, "the ledger", "podnet")
        assert ledger_text.parse(ledger_text.render(ledger), "the ledger", "podnet") == ledger


@raw(json.dumps(LEDGER).encode())
def test_texts_of_ledgers(data: bytes) -> None:
    with contextlib.suppress(LedgerError):
        ledger_text.parse(text(data), "the ledger", "podnet")


@given(damaged(INVENTORY))
def test_inventories(variables: Any) -> None:
    """A plan, or problems with their paths."""
    if not isinstance(variables, dict):
        return
    named = {key: value for key, value in variables.items() if key.startswith("podnet_") and value is not None}
    hosts = [Host(name, named, address) for name, address in (("node1", "192.0.2.1"), ("node2", "192.0.2.2"))]
    with tempfile.TemporaryDirectory() as folder:
        outcome = planning.run(hosts, [], folder, allocate=False)
    assert (outcome.plan is None) == bool(outcome.problems)
    assert all(problem.path for problem in outcome.problems)


@given(damaged(REPORT))
def test_what_nodes_have_reported(report: Any) -> None:
    """A plan, or a problem that names the node."""
    hosts = [Host("node1", {}, "192.0.2.1", report), Host("node2", {}, "192.0.2.2")]
    with tempfile.TemporaryDirectory() as folder:
        outcome = planning.run(hosts, [], folder, allocate=False)
    assert (outcome.plan is None) == bool(outcome.problems)


class Variables(dict[str, Any]):
    """As much of Ansible's hostvars as is asked here."""

    def raw_get(self, name: str) -> Any:
        return self[name]


class Odd:
    """What is no data, as a cache or a plugin may leave it."""


@given(VALUES, VALUES, st.sampled_from([Odd(), {1, 2}, b"x", {"a": Odd()}, None, "{{ lookup }}"]))
def test_variables_and_facts_of_hosts(value: Any, facts: Any, odd: Any) -> None:
    itself: list[Any] = []
    itself.append(itself)

    def template(_value: Any) -> Any:
        raise AnsibleError("undefined")

    for kept in (facts, odd, {"podnet_node": odd}, {"podnet_node": facts}, {"podnet_node": itself}):
        of_node = {"podnet_pools": value, "podnet_mtu": odd, "ansible_facts": kept}
        given_vars = {
            "hostvars": Variables(node1=of_node, node2={}),
            "inventory_hostname": "node1",
            "groups": {"all": ["node1", "node2"]},
            **of_node,
        }
        hosts, problems = hostvars.gather(given_vars, template)
        assert all(problem.path for problem in problems)
        with tempfile.TemporaryDirectory() as folder:
            outcome = planning.run(hosts, problems, folder, allocate=False)
        assert (outcome.plan is None) == bool(outcome.problems)


@given(st.one_of(VALUES, damaged(STORED)))
def test_answers_of_etcd(answer: Any) -> None:
    store = EtcdStore(Access(("http://192.0.2.1:2379",)), "/podnet", "podnet", patience=0)
    with contextlib.suppress(LedgerError):
        store.version_in(answer)


def test_json_that_is_nested_too_deep() -> None:
    with pytest.raises(LedgerError):
        ledger_text.parse(DEEP, "the ledger", "podnet")
