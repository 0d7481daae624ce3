# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspects EndpointSlice documents (``discovery.k8s.io/v1``), and says all that is wrong with its path."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import MAX_PORT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    PROTOCOLS,
    inspect_items,
    inspect_mapping,
    inspect_metadata,
    shown,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import SERVICE_NAME

API = "discovery.k8s.io/v1"
BYTES = {"IPv4": 4, "IPv6": 16}
CONDITIONS = ("ready", "serving", "terminating")
ENDPOINT = ("addresses", "conditions", "nodeName", "weight")
UNREAD = ("hostname", "targetRef", "zone", "hints", "deprecatedTopology")
MAX_WEIGHT = 100


def inspect_slices(inspection: Inspection, path: str, slices: Any) -> None:
    """A list of documents, each with the label that names its service."""
    if not isinstance(slices, list):
        inspection.refuse(path, shown(slices), "give a list of EndpointSlice documents")
        return
    known = ("apiVersion", "kind", "metadata", "addressType", "endpoints", "ports")
    for here, document in inspect_items(inspection, path, slices):
        if not inspect_mapping(inspection, here, document, known):
            continue
        for key, wanted in (("apiVersion", API), ("kind", "EndpointSlice")):
            if document.get(key, wanted) != wanted:
                inspection.refuse(f"{here}.{key}", shown(document[key]), f"give {wanted}")
        _inspect_labels(inspection, f"{here}.metadata", document.get("metadata"))
        sort = document.get("addressType")
        if not isinstance(sort, str) or sort not in BYTES:
            inspection.refuse(f"{here}.addressType", shown(sort), f"give {' or '.join(BYTES)}")
        for where, endpoint in inspect_items(inspection, f"{here}.endpoints", document.get("endpoints")):
            if inspect_mapping(inspection, where, endpoint, (*ENDPOINT, *UNREAD)):
                _inspect_endpoint(inspection, where, endpoint, BYTES.get(str(sort)))
        for where, port in inspect_items(inspection, f"{here}.ports", document.get("ports")):
            if inspect_mapping(inspection, where, port, ("name", "protocol", "port", "appProtocol")):
                _inspect_port(inspection, where, port)


def _inspect_labels(inspection: Inspection, path: str, metadata: Any) -> None:
    inspect_metadata(inspection, path, metadata)
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, dict) or not isinstance(labels.get(SERVICE_NAME), str):
        inspection.refuse(f"{path}.labels", shown(labels), f"give {SERVICE_NAME} and the service's name")


def _inspect_port(inspection: Inspection, path: str, port: dict[str, Any]) -> None:
    inspection.integer(f"{path}.port", port.get("port"), 1, MAX_PORT)
    if port.get("protocol") is not None and port["protocol"] not in PROTOCOLS:
        inspection.refuse(f"{path}.protocol", shown(port["protocol"]), f"give {', '.join(PROTOCOLS)}")
    if not isinstance(port.get("name") or "", str):
        inspection.refuse(f"{path}.name", shown(port["name"]), "give the name of the service's port")


def _inspect_endpoint(inspection: Inspection, path: str, endpoint: dict[str, Any], size: int | None) -> None:
    addresses = inspect_items(inspection, f"{path}.addresses", endpoint.get("addresses"))
    if not addresses:
        inspection.refuse(f"{path}.addresses", "none", "give an address")
    for here, text in addresses:
        packed = packed_ip(text)
        if packed is None or (size is not None and len(packed) != size):
            inspection.refuse(here, shown(text), "give an address of the family that addressType says")
    if not isinstance(endpoint.get("nodeName") or "", str):
        inspection.refuse(f"{path}.nodeName", shown(endpoint["nodeName"]), "give the name of a node")
    inspection.integer(f"{path}.weight", endpoint.get("weight", 1), 0, MAX_WEIGHT)
    conditions = endpoint.get("conditions")
    if conditions is not None and inspect_mapping(inspection, f"{path}.conditions", conditions, CONDITIONS):
        for key in CONDITIONS:
            if conditions.get(key) is not None and not isinstance(conditions[key], bool):
                inspection.refuse(f"{path}.conditions.{key}", shown(conditions[key]), "give true or false")
