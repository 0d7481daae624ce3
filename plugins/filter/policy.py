# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters of policies; their documentation is in the .yml files of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

from ansible_collections.podnet.fabric.plugins.plugin_utils import (
    endpoint_view,
    host_policy_view,
    plan_view,
    policy_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def endpoints(
    hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str, stated: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return the pods of all hosts."""
    attached = {str(host): hostvars[host][variable]["endpoints"] for host in hosts}
    return endpoint_view.endpoints(attached, stated)


def policy_report(hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str) -> list[str]:
    """Return the lines of the table."""
    found, missing = {}, []
    for host in hosts:
        registered = hostvars[host].get(variable) or {}
        if "allowed" in registered:
            found[str(host)] = registered
        else:
            missing.append(str(host))
    return policy_table.lines(found, missing)


def host_policy(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a node has to know for policies of its own."""
    try:
        return host_policy_view.host_policy(plan, name)
    except plan_view.NotInPlan as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {"endpoints": endpoints, "host_policy": host_policy, "policy_report": policy_report}
