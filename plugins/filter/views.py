# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Views of the plan for roles; the documentation of each filter is in the .yml file of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podnet.fabric.plugins.plugin_utils import bgp_view, plan_table, plan_view, service_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def node(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a node needs to know of itself."""
    return _viewed(plan_view.node, plan, name)


def peers(plan: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return what a node needs to know of all the others."""
    return _viewed(plan_view.peers, plan, name)


def bgp_speaker(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return with whom a node speaks BGP, and as what."""
    return _viewed(bgp_view.speaker, plan, name)


def pools(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pools as a node needs to know them."""
    return plan_view.pools(plan)


def dataplane(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataplane with its devices, port and network identifier."""
    return plan_view.dataplane(plan)


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return the plan as the lines of a table."""
    return plan_table.lines(plan)


def services_named(services: Sequence[Mapping[str, Any]], names: Any) -> dict[str, list[Any]]:
    """Return the services of these names that there are, and by their names those that there are not."""
    try:
        return service_view.named(services, names)
    except service_view.NoNames as error:
        raise AnsibleFilterError(str(error)) from error


def _viewed(view: Callable[[Mapping[str, Any], str], Any], plan: Mapping[str, Any], name: str) -> Any:
    try:
        return view(plan, name)
    except plan_view.NotInPlan as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {
            "bgp_speaker": bgp_speaker,
            "node": node,
            "peers": peers,
            "pools": pools,
            "dataplane": dataplane,
            "plan_lines": plan_lines,
            "services_named": services_named,
        }
