# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service documents (``v1``) and EndpointSlices (``discovery.k8s.io/v1``) as typed values, their defaults filled in.

The documents have been checked on the controller (plugin_utils/service_check.py), which has also given them their
addresses and node ports. What does not look like one here has been edited since, and is a DeclarationError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges, of_networks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NODE_PORT, LOAD_BALANCER, EXTERNAL_NAME = "NodePort", "LoadBalancer", "ExternalName"
EXTERNAL_TYPES = (NODE_PORT, LOAD_BALANCER)
LOCAL = "Local"
CLIENT_IP = "ClientIP"
HEADLESS = "None"
SERVICE_NAME = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its service."""

PROTOCOLS = ("tcp", "udp", "sctp")
PORTS = range(1, 65536)
SECONDS = range(1, 86401)
"""Of affinity (MaxClientIPServiceAffinitySeconds)."""
AFFINITY_SECONDS = 10800
"""How long a client keeps its backend, where the service does not say (DefaultClientIPServiceAffinitySeconds)."""

HTTP_GET, TCP_SOCKET = "httpGet", "tcpSocket"
PROBE_DEFAULTS = {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1}
"""Those of the kubelet's probes."""

Address = tuple[int, int]
"""Family (4 or 6) and the address as a number."""


class Probe(NamedTuple):
    """How backends are checked: by an HTTP request for the ``path``, or, without one, by a TCP connection.

    ``port`` is 0 where each backend is asked at its own port. ``period`` and ``timeout`` in seconds; ``failures`` and
    ``successes`` are how many it takes in a row until a backend is out, or in again.
    """

    path: str | None
    port: int
    headers: tuple[tuple[str, str], ...]
    period: int
    timeout: int
    failures: int
    successes: int


class ServicePort(NamedTuple):
    """``target`` is a number, or the name that a backend's own port has; ``node_port`` is 0 where there is none."""

    name: str
    protocol: str
    port: int
    target: int | str
    node_port: int


class Service(NamedTuple):
    """One service that nodes program. ``affinity`` in seconds, 0 for none; ``sources`` by family, None for everybody.

    ``cluster``, ``external`` and ``balancers`` are its addresses: inside the cluster, of nodes or routers that lead
    here, and of load balancers, which alone ask for ``sources``.
    """

    namespace: str
    name: str
    cluster: tuple[Address, ...]
    external: tuple[Address, ...]
    balancers: tuple[Address, ...]
    families: tuple[int, ...]
    ports: tuple[ServicePort, ...]
    selector: Mapping[str, str]
    affinity: int
    external_local: bool
    internal_local: bool
    sources: Mapping[int, Ranges] | None
    not_ready_too: bool
    probe: Probe | None


class Listed(NamedTuple):
    """A backend, such as out of an EndpointSlice. It stands for ``weight`` others; ``ports`` are (name, protocol,
    number).
    """

    address: Address
    node: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    weight: int = 1
    ports: tuple[tuple[str, str, int], ...] = ()


def services(documents: Iterable[Mapping[str, Any]]) -> list[Service]:
    """The services that there is something to program for: headless ones and names of others are left out.

    :raises DeclarationError: a document is none
    """
    try:
        return [_service(document) for document in documents if programmed(document["spec"])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no Service ({error}); run the playbook again") from error


def slices(documents: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Listed]]:
    """The backends that slices list, by namespace and name of their service.

    :raises DeclarationError: a document is none
    """
    found: dict[tuple[str, str], list[Listed]] = {}
    try:
        for document in documents:
            found.setdefault(owner_of(document), []).extend(_listed(document))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no EndpointSlice ({error}); run the playbook again") from error
    return found


def owner_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """The namespace and the name of the service that a slice is of."""
    metadata = document["metadata"]
    return (str(metadata.get("namespace") or "default"), str(metadata["labels"][SERVICE_NAME]))


def key_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """The namespace and the name of a service."""
    metadata = document["metadata"]
    return (str(metadata.get("namespace") or "default"), str(metadata["name"]))


def programmed(spec: Mapping[str, Any]) -> bool:
    """Whether a service has addresses of its own."""
    return spec.get("type") != EXTERNAL_NAME and HEADLESS not in (
        spec.get("clusterIP"),
        *(spec.get("clusterIPs") or ()),
    )


def given_addresses(spec: Mapping[str, Any]) -> list[str]:
    """The cluster addresses that a service names itself."""
    return list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))


def balancer_addresses(document: Mapping[str, Any]) -> list[str]:
    """The addresses of a service's load balancers, without those of balancers that answer in their own name."""
    spec = document["spec"]
    if spec.get("type") != LOAD_BALANCER:
        return []
    ingress = ((document.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = [item["ip"] for item in ingress if item.get("ip") and item.get("ipMode", "VIP") == "VIP"]
    if spec.get("loadBalancerIP") and spec["loadBalancerIP"] not in found:
        found.insert(0, spec["loadBalancerIP"])
    return found


def _service(document: Mapping[str, Any]) -> Service:
    spec = document["spec"]
    cluster = tuple(map(_address, given_addresses(spec)))
    affinity = 0
    if spec.get("sessionAffinity") == CLIENT_IP:
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = int(config.get("timeoutSeconds") or AFFINITY_SECONDS)
        if affinity not in SECONDS:
            raise ValueError(f"timeoutSeconds {affinity}")
    return Service(
        *key_of(document),
        cluster,
        tuple(map(_address, spec.get("externalIPs") or ())),
        tuple(map(_address, balancer_addresses(document))),
        tuple(family for family, _number in cluster),
        tuple(map(_port, spec.get("ports") or ())),
        {str(key): str(value) for key, value in (spec.get("selector") or {}).items()},
        affinity,
        spec.get("externalTrafficPolicy") == LOCAL,
        spec.get("internalTrafficPolicy") == LOCAL,
        of_networks(spec["loadBalancerSourceRanges"]) if spec.get("loadBalancerSourceRanges") else None,
        bool(spec.get("publishNotReadyAddresses")),
        None if spec.get("readinessProbe") is None else _probe(spec["readinessProbe"]),
    )


def _probe(probe: Mapping[str, Any]) -> Probe:
    http = probe.get(HTTP_GET)
    handler = probe[TCP_SOCKET] if http is None else http
    return Probe(
        None if http is None else str(http.get("path") or "/"),
        _number(handler["port"]) if handler.get("port") else 0,
        tuple((str(header["name"]), str(header["value"])) for header in handler.get("httpHeaders") or ()),
        *(int(probe.get(key) or default) for key, default in PROBE_DEFAULTS.items()),
    )


def _port(port: Mapping[str, Any]) -> ServicePort:
    number = _number(port["port"])
    target = port.get("targetPort") or number
    return ServicePort(
        str(port.get("name") or ""),
        _protocol(port),
        number,
        target if isinstance(target, str) else _number(target),
        _number(port["nodePort"]) if port.get("nodePort") else 0,
    )


def _listed(document: Mapping[str, Any]) -> Iterable[Listed]:
    ports = tuple(
        (str(port.get("name") or ""), _protocol(port), _number(port["port"])) for port in document.get("ports") or ()
    )
    for endpoint in document.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        # What nobody has told is so, but for terminating (discovery.k8s.io/v1, EndpointConditions).
        ready = conditions.get("ready") is not False
        serving = conditions.get("serving", ready) is not False
        yield Listed(
            _address(endpoint["addresses"][0]),  # more than one is not defined, and nobody reads them
            str(endpoint.get("nodeName") or ""),
            ready,
            serving,
            bool(conditions.get("terminating")),
            int(endpoint.get("weight", 1)),
            ports,
        )


def _number(port: Any) -> int:
    number = int(port)
    if number not in PORTS:
        raise ValueError(f"port {number}")
    return number


def _protocol(port: Mapping[str, Any]) -> str:
    protocol = str(port.get("protocol") or "TCP").lower()
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r}")
    return protocol


def _address(text: str) -> Address:
    packed = packed_ip(text)
    if packed is None:
        raise ValueError(f"{text!r} is no address")
    return (4 if len(packed) == 4 else 6, int.from_bytes(packed, "big"))
