# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies and endpoints of the inventory, inspected before any node is asked for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy.denials import inspect_log
from ansible_collections.podnet.fabric.plugins.module_utils.policy.endpoints import inspect_endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.failsafe import inspect_failsafe
from ansible_collections.podnet.fabric.plugins.module_utils.policy.hosts import inspect_node_labels
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_namespaces,
    inspect_policies,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


def problems(cluster: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Every finding, by the paths of the variables. Those that are not lists and mappings the schema has told of.

    :param nodes: each node's own variables
    """
    inspection = Inspection()
    inspect_policies(inspection, "podnet_policies", cluster.get("podnet_policies", []))
    inspect_namespaces(inspection, "podnet_namespaces", cluster.get("podnet_namespaces", {}))
    inspect_endpoints(inspection, "podnet_endpoints", cluster.get("podnet_endpoints", []))
    inspect_log(inspection, "podnet_policy_log", cluster.get("podnet_policy_log", {}))
    inspect_policies(inspection, "podnet_host_policies", cluster.get("podnet_host_policies", []), hosts=True)
    inspect_failsafe(inspection, "podnet_failsafe_ports", cluster.get("podnet_failsafe_ports", {}))
    for name, variables in nodes.items():
        inspect_node_labels(inspection, f"podnet_node_labels ({name})", variables.get("podnet_node_labels"))
    return [Problem(finding.path, finding.found, "", finding.wanted) for finding in inspection.findings]
