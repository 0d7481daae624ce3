# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with services and their endpoints is said all at once, each with its path."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices

if TYPE_CHECKING:
    from collections.abc import Callable


def told(inspect: Callable[..., object], values: Any) -> dict[str, str]:
    """Path to what is said of it."""
    inspection = Inspection()
    inspect(inspection, "x", values)
    assert len({finding.path for finding in inspection.findings}) == len(inspection.findings)
    return {finding.path: f"{finding.found}; {finding.wanted}" for finding in inspection.findings}


def service(name: str = "one", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": 80}], **spec}}


def test_what_kubernetes_takes_is_taken() -> None:
    whole = service(
        type="LoadBalancer",
        clusterIP="10.96.0.9",
        clusterIPs=["10.96.0.9", "fd00:10:96::9"],
        ipFamilies=["IPv4", "IPv6"],
        ipFamilyPolicy="RequireDualStack",
        selector={"app": "web", "example.org/tier": ""},
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
        externalIPs=["198.51.100.7"],
        loadBalancerIP="203.0.113.7",
        loadBalancerSourceRanges=["10.0.0.0/8", "2001:db8::/32"],
        externalTrafficPolicy="Local",
        internalTrafficPolicy="Cluster",
        publishNotReadyAddresses=True,
        healthCheckNodePort=31000,
        ports=[
            {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "appProtocol": "http"},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    )
    whole.update(apiVersion="v1", kind="Service", status={"loadBalancer": {"ingress": [{"hostname": "lb"}]}})
    alone = service("headless", clusterIP="None", ports=None, selector={"app": "db"})
    named = service("elsewhere", type="ExternalName", externalName="example.org", ports=None)
    assert told(inspect_services, [whole, alone, named, service("plain")]) == {}
    assert [each.name for each in documents.services([alone, named])] == []


def test_every_error_is_told_with_its_path() -> None:
    wrong = service(
        type="Balancer",
        clusterIP="10.96.0",
        ipFamilies=["IPv4", "IPv5"],
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}},
        externalTrafficPolicy="Local",
        internalTrafficPolicy="Near",
        loadBalancerSourceRanges=["10.0.0.1/8"],
        externalIPs=None,
        publishNotReadyAddresses="yes",
        selector={"app": 1},
        port=80,
        ports=[
            {"port": 0, "protocol": "tcp", "targetPort": "no_name", "nodePort": 30000},
            {"name": "Web", "port": 80},
            {"name": "a", "port": 80, "weight": 1},
            {"name": "a", "port": 70000, "targetPort": True},
        ],
    )
    found = told(inspect_services, [wrong, {**wrong, "metadata": {}}, 7, service("x", ports=[])])
    spec = {path.removeprefix("x[0].spec.") for path in found if path.startswith("x[0].spec.")}
    assert spec == {
        *(
            "type",
            "clusterIP",
            "ipFamilies[1]",
            "sessionAffinityConfig",
            "sessionAffinityConfig.clientIP.timeoutSeconds",
        ),
        *("externalTrafficPolicy", "internalTrafficPolicy", "loadBalancerSourceRanges", "loadBalancerSourceRanges[0]"),
        *("publishNotReadyAddresses", "selector['app']", "port"),
        *("ports[0].name", "ports[0].port", "ports[0].protocol", "ports[0].targetPort", "ports[0].nodePort"),
        *("ports[1].name", "ports[2].weight", "ports[2].port", "ports[3].name", "ports[3].port", "ports[3].targetPort"),
    }
    assert {"x[1].metadata.name", "x[2]", "x[3].spec.ports"} < found.keys()
    assert found["x[0].spec.ports[2].port"] == "TCP 80 again; give each port once"


def test_nobody_gets_what_another_has() -> None:
    one = service("one", clusterIP="10.96.0.9", externalIPs=["198.51.100.7"], type="NodePort")
    one["spec"]["ports"] = [{"port": 80, "nodePort": 30080}]
    two = service("two", clusterIPs=["10.96.0.9"], externalIPs=["198.51.100.7"], type="NodePort")
    two["spec"]["ports"] = [{"port": 80, "nodePort": 30080}]
    other = service("three", externalIPs=["198.51.100.7"], type="NodePort")
    other["spec"]["ports"] = [{"port": 81, "nodePort": 30081}, {"name": "b", "port": 80, "protocol": "UDP"}]
    other["spec"]["ports"][0]["name"] = "a"
    assert told(inspect_services, [one, two, other, one]) == {
        "x[1].spec.clusterIPs": "10.96.0.9; x[0] has it already",
        "x[1].spec.ports[0].nodePort": "TCP 30080; x[0] has it already",
        "x[1].spec.ports[0].port": "198.51.100.7 TCP 80; x[0] has it already",
        "x[3].metadata": "shop/one again; x[0] is that already",
        "x[3].spec.clusterIP": "10.96.0.9; x[0] has it already",
        "x[3].spec.ports[0].nodePort": "TCP 30080; x[0] has it already",
        "x[3].spec.ports[0].port": "198.51.100.7 TCP 80; x[0] has it already",
    }


def test_what_is_declared_already_is_not_judged_again() -> None:
    # As if an earlier version had let it pass.
    before = [
        service("one", clusterIP="10.96.0.9", colour="red"),
        service("two", clusterIP="10.96.0.8", colour="red"),
    ]
    one, two = copy.deepcopy(before)
    inspection = Inspection()
    found = inspect_services(inspection, "x", [two, service("new", clusterIP="10.96.0.7"), one], before)
    assert not inspection.findings
    assert found[0] is before[1]
    assert found[2] is before[0]
    # What is given beside it, and in its place, is; so is what somebody has edited the declaration into.
    two["spec"]["ports"][0]["port"] = 0
    nothing: dict[str, Any] = {"spec": None}
    assert told(
        partial(inspect_services, declared=[*before, nothing]),
        [one, two, dict(nothing), service("new", clusterIP="10.96.0.9")],
    ).keys() == {
        *("x[1].spec.colour", "x[1].spec.ports[0].port", "x[2].metadata", "x[2].spec"),
        "x[3].spec.clusterIP",
    }
    assert "shop/one again" in told(partial(inspect_services, declared=before), [one, one])["x[1].metadata"]


def test_slices_are_inspected_too() -> None:
    labels = {"kubernetes.io/service-name": "one"}
    good = {
        "metadata": {"name": "one-1", "namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "a", "conditions": {"ready": True}, "weight": 3}],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }
    wrong = {
        "metadata": {"name": "one-2", "labels": {}},
        "addressType": "FQDN",
        "endpoints": [
            {"addresses": []},
            {"addresses": ["example.org"], "nodeName": 1, "weight": 101, "conditions": {"ready": "yes", "warm": True}},
        ],
        "ports": [{"port": "http", "protocol": "ICMP", "name": 3}],
    }
    assert told(inspect_slices, [good, {**good, "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}]) == {}
    assert told(inspect_slices, [wrong]).keys() == {
        *("x[0].metadata.labels", "x[0].addressType", "x[0].endpoints[0].addresses", "x[0].endpoints[1].addresses[0]"),
        *("x[0].endpoints[1].nodeName", "x[0].endpoints[1].weight", "x[0].endpoints[1].conditions.ready"),
        *("x[0].endpoints[1].conditions.warm", "x[0].ports[0].port", "x[0].ports[0].protocol", "x[0].ports[0].name"),
    }
    assert told(inspect_slices, [{**good, "addressType": "IPv6"}]).keys() == {"x[0].endpoints[0].addresses[0]"}


@pytest.mark.parametrize(
    "edited",
    [
        {},
        {"metadata": {"name": "x"}},
        {"metadata": {}, "spec": {"clusterIP": "10.96.0.1"}},
        service(ports=[1]),
        service(ports=[{"port": 80, "protocol": "tcp . 80 : drop"}]),
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": -1}}),
    ],
)
def test_an_edited_declaration_is_refused(edited: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="run the playbook again"):
        documents.services([edited])
