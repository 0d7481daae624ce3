# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random services for the scene of service_cases.py, and what becomes of connections to them, read off the documents.

Nothing of the collection's own code is asked. The meaning is that of Kubernetes' documentation of services, of KEP-1669
(endpoints that terminate) and of KEP-3866 (what is rejected).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from tests.conformance import service_cases as scene

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = ("pod", "one", "farther", "node", "outside")
BACKENDS = ("one", "two", "far", "farther")
ON_THE_NODE = ("pod", "one", "node")
EXTERNALS = {4: "198.51.100.0/24", 6: "2001:db8:1::/112"}
BALANCERS = {4: "203.0.113.0/24", 6: "2001:db8:2::/112"}
OUTSIDE_RANGES = {4: f"{scene.OUTSIDE[4]}/32", 6: f"{scene.OUTSIDE[6]}/128"}
NAMED = "web"
_FIRST = 20
"""Of the addresses in the ranges, so that none is one of the cases'."""
PORTS = (("tcp", "TCP", scene.PORT), ("udp", "UDP", scene.PORT), ("alt", "TCP", 8081))
CONDITIONS: tuple[dict[str, bool], ...] = (
    {"ready": True},
    {"ready": True},
    {},
    {"ready": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
)


class Cluster(NamedTuple):
    """Documents, as the module takes them."""

    services: list[dict[str, Any]]
    slices: list[dict[str, Any]]
    endpoints: list[dict[str, Any]]


class Line(NamedTuple):
    """A connection that somebody makes."""

    client: str
    family: int
    protocol: str
    address: str
    port: int
    affine: bool


class Expected(NamedTuple):
    """What may come of it."""

    verdict: str
    backends: frozenset[str] = frozenset()
    hidden: bool = False


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Some services, one of which may have the pods of another."""
    endpoints = [draw(_pods(name)) for name in BACKENDS if draw(st.integers(0, 5))]
    services, slices = [], []
    for place in range(draw(st.integers(1, 4))):
        service = draw(_services(place))
        services.append(service)
        if "selector" not in service["spec"]:
            slices += draw(_slices(service))
    return Cluster(services, slices, endpoints)


@st.composite
def _pods(draw: st.DrawFn, name: str) -> dict[str, Any]:
    ports = [{"name": NAMED, "protocol": protocol, "port": scene.TARGET} for protocol in draw(_SOME_PROTOCOLS)]
    families = draw(_FAMILIES)
    return {
        "name": name,
        "node": scene.POD_NODES[name],
        "labels": {"app": draw(st.sampled_from("abc"))},
        "addresses": [scene.pod_address(name, family) for family in families],
        "ports": ports,
    }


_FAMILIES = st.sampled_from(((4, 6), (4, 6), (4, 6), (4,), (6,)))
_SOME_PROTOCOLS = st.sampled_from((("TCP", "UDP"), ("TCP", "UDP"), ("TCP",), ("UDP",), ()))
_POLICY = st.sampled_from(("Cluster", "Cluster", "Local"))
_SELDOM = st.integers(0, 3).map(lambda number: number == 0)
_TYPES = st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"))


@st.composite
def _services(draw: st.DrawFn, place: int) -> dict[str, Any]:
    families = draw(_FAMILIES)
    sort = draw(_TYPES)
    ports = draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=3, unique=True))
    named = draw(_SELDOM)
    spec: dict[str, Any] = {
        "type": sort,
        "clusterIPs": [_at(scene.SERVICES[family], place) for family in families],
        "internalTrafficPolicy": draw(_POLICY),
        "publishNotReadyAddresses": draw(_SELDOM),
        "sessionAffinity": "ClientIP" if draw(_SELDOM) else "None",
        "ports": [
            {
                "name": name,
                "protocol": protocol,
                "port": port,
                "targetPort": NAMED if named else scene.TARGET,
                **({"nodePort": _node_port(place, number)} if sort != "ClusterIP" else {}),
            }
            for number, (name, protocol, port) in enumerate(ports)
        ],
    }
    if draw(st.booleans()):
        spec["selector"] = {"app": draw(st.sampled_from("abc"))}
    external = draw(st.booleans())
    if external:
        spec["externalIPs"] = [_at(EXTERNALS[family], place) for family in families]
    if external or sort != "ClusterIP":
        spec["externalTrafficPolicy"] = draw(_POLICY)
    found: dict[str, Any] = {"metadata": {"name": f"service{place}"}, "spec": spec}
    if sort == "LoadBalancer":
        found["status"] = {"loadBalancer": {"ingress": [{"ip": _at(BALANCERS[family], place)} for family in families]}}
        ranges = draw(st.sampled_from(((), (), (scene.PODS,), (OUTSIDE_RANGES,), (scene.PODS, OUTSIDE_RANGES))))
        if ranges:
            spec["loadBalancerSourceRanges"] = [each[family] for each in ranges for family in (4, 6)]
    return found


@st.composite
def _slices(draw: st.DrawFn, service: dict[str, Any]) -> list[dict[str, Any]]:
    name = service["metadata"]["name"]
    conditions = {pod: draw(st.sampled_from(CONDITIONS)) for pod in BACKENDS if draw(st.booleans())}
    ports = [
        {"name": port["name"], "protocol": port["protocol"], "port": scene.TARGET}
        for port in service["spec"]["ports"]
        if not draw(_SELDOM)
    ]
    return [
        {
            "metadata": {"name": f"{name}-{family}", "labels": {"kubernetes.io/service-name": name}},
            "addressType": f"IPv{family}",
            "ports": ports,
            "endpoints": [
                {
                    "addresses": [scene.pod_address(pod, family)],
                    "nodeName": scene.POD_NODES[pod],
                    "conditions": told,
                }
                for pod, told in conditions.items()
            ],
        }
        for family in draw(_FAMILIES)
    ]


def _at(network: str, place: int) -> str:
    return str(ipaddress.ip_network(network)[_FIRST + place])


def _node_port(place: int, number: int) -> int:
    return 30100 + 10 * place + number


def lines(cluster: Cluster) -> Iterator[tuple[Line, Expected]]:
    """Every connection that can be told something of, and what has to come of it."""
    for service in cluster.services:
        spec = service["spec"]
        for family in (4, 6):
            cluster_address = _of(spec["clusterIPs"], family)
            if not cluster_address:
                continue
            for client in CLIENTS:
                yield Line(client, family, "tcp", cluster_address, scene.OTHER_PORT, False), Expected("reject")
            for port in spec["ports"]:
                for client in CLIENTS:
                    for line, expected in _to_port(cluster, service, port, family, client):
                        if _can_be_told(line, expected):
                            yield line, expected


def _can_be_told(line: Line, expected: Expected) -> bool:
    """Whether answers come back the way that the connection went: between pods of the other node they do not."""
    crosses = line.client == "farther" and any(scene.POD_NODES[pod] == "b" for pod in expected.backends)
    return expected.hidden or not crosses


def _to_port(
    cluster: Cluster, service: dict[str, Any], port: dict[str, Any], family: int, client: str
) -> Iterator[tuple[Line, Expected]]:
    spec = service["spec"]
    protocol, affine = port["protocol"].lower(), spec["sessionAffinity"] == "ClientIP"
    everywhere = _usable(cluster, service, port, family)
    here = _usable(cluster, service, port, family, "a")

    def expected(local: bool, hidden: bool) -> Expected:
        backends = here if local else everywhere
        if backends:
            return Expected("forward", frozenset(backends), hidden)
        return Expected("drop" if everywhere else "reject")

    internal = expected(spec["internalTrafficPolicy"] == "Local", client == "outside")
    yield Line(client, family, protocol, _of(spec["clusterIPs"], family), port["port"], affine), internal
    only_local = spec.get("externalTrafficPolicy") == "Local"
    external = expected(only_local and client not in ON_THE_NODE, not only_local)
    if spec.get("externalIPs"):
        yield Line(client, family, protocol, _of(spec["externalIPs"], family), port["port"], affine), external
    if port.get("nodePort"):
        yield Line(client, family, protocol, scene.NODES["a"][family], port["nodePort"], affine), external
    ingress = [each["ip"] for each in service.get("status", {}).get("loadBalancer", {}).get("ingress", ())]
    if ingress:
        allowed = spec.get("loadBalancerSourceRanges")
        source = ipaddress.ip_address(scene.client_address(client, family))
        if allowed and not any(source in ipaddress.ip_network(each) for each in allowed):
            external = Expected("drop")
        yield Line(client, family, protocol, _of(ingress, family), port["port"], affine), external


def _usable(cluster: Cluster, service: dict[str, Any], port: dict[str, Any], family: int, node: str = "") -> set[str]:
    """The pods that a connection may go to: those that are ready, or else those that serve while they terminate."""
    spec = service["spec"]
    found = [
        (pod, conditions)
        for pod, conditions in _candidates(cluster, service, port, family)
        if not node or scene.POD_NODES[pod] == node
    ]
    ready = {
        pod for pod, conditions in found if conditions.get("ready", True) or spec.get("publishNotReadyAddresses", False)
    }
    if ready:
        return ready
    return {
        pod
        for pod, conditions in found
        if conditions.get("serving", conditions.get("ready", True)) and conditions.get("terminating", False)
    }


def _candidates(
    cluster: Cluster, service: dict[str, Any], port: dict[str, Any], family: int
) -> Iterator[tuple[str, dict[str, bool]]]:
    spec = service["spec"]
    if "selector" in spec:
        for pod in cluster.endpoints:
            names = {(each["name"], each["protocol"]) for each in pod["ports"]}
            has_port = port["targetPort"] != NAMED or (NAMED, port["protocol"]) in names
            if pod["labels"]["app"] == spec["selector"]["app"] and has_port and _of(pod["addresses"], family):
                yield pod["name"], {}
        return
    for each in cluster.slices:
        offered = {(given["name"], given["protocol"]) for given in each["ports"]}
        if (
            each["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
            and each["addressType"] == f"IPv{family}"
            and (port["name"], port["protocol"]) in offered
        ):
            for endpoint in each["endpoints"]:
                (address,) = endpoint["addresses"]
                (name,) = (pod for pod in BACKENDS if scene.pod_address(pod, family) == address)
                yield name, endpoint["conditions"]


def _of(addresses: list[str], family: int) -> str:
    return next((each for each in addresses if (":" in each) == (family == 6)), "")
