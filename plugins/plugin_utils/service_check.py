# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and their endpoints of the inventory, inspected before any node is asked for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices
from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import VARIABLE
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

NODE_PORTS = "podnet_service_node_ports"
MAX_PORT = 65535


def problems(cluster: Mapping[str, Any]) -> list[Problem]:
    """Every finding, by the paths of the variables. Those that are not lists the schema has told of."""
    inspection = Inspection()
    inspect_services(inspection, VARIABLE, cluster.get(VARIABLE, []))
    inspect_slices(inspection, "podnet_endpoint_slices", cluster.get("podnet_endpoint_slices", []))
    found = [Problem(finding.path, finding.found, "", finding.wanted) for finding in inspection.findings]
    if NODE_PORTS in cluster:
        first, last = node_ports(cluster[NODE_PORTS])
        if not 1 <= first <= last <= MAX_PORT:
            wanted = f"first and last of ports from 1 to {MAX_PORT}"
            found.append(Problem(NODE_PORTS, f"'{cluster[NODE_PORTS]}'", wanted, "write it as 30000-32767"))
    return found


def node_ports(text: str) -> tuple[int, int]:
    """Return the first and the last; the schema has seen that there are two numbers."""
    first, _dash, last = text.partition("-")
    return int(first), int(last)
