# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of the playbook status; its documentation is in the .yml file of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import drift_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def drift_report(hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str) -> dict[str, list[str]]:
    """Return the table and the nodes that differ."""
    registered = {str(host): hostvars[host].get(variable) or {} for host in hosts}
    found = {host: one for host, one in registered.items() if "drifted" in one}
    return drift_table.report(found, [host for host in registered if host not in found])


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {"drift_report": drift_report}
