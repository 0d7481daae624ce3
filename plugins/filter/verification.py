# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the role verify; the documentation of each is in the .yml file of its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import probe_targets, reachability_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _of_hosts(hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str, key: str) -> dict[str, Any]:
    """What each host registered; a host that did not get so far is left out."""
    found = {}
    for host in hosts:
        registered = hostvars[host].get(variable) or {}
        if key in registered:
            found[str(host)] = registered[key]
    return found


def probe_pods(pods: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return attached pods in the form in which podnet.fabric.reachability takes them."""
    return probe_targets.for_prober([dict(pod) for pod in pods])


def probe_targets_by_node(
    plan: Mapping[str, Any], hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str
) -> dict[str, str]:
    """Return the targets of each node as JSON: Ansible would walk through nested data at every use of it."""
    pods = _of_hosts(hostvars, hosts, variable, "pods")
    return {node: json.dumps(targets) for node, targets in probe_targets.of_all_nodes(plan, pods).items()}


def reachability_report(
    plan: Mapping[str, Any], hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str
) -> dict[str, list[str]]:
    """Return the table and the failures."""
    results = _of_hosts(hostvars, hosts, variable, "results")
    missing = [name for name in plan["nodes"] if name in hosts and name not in results]
    return {
        "table": reachability_table.lines(results, missing),
        "failures": reachability_table.failures(results, missing),
    }


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {
            "probe_pods": probe_pods,
            "probe_targets": probe_targets_by_node,
            "reachability_report": reachability_report,
        }
