# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of the playbook ipam; its documentation is in the .yml file of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import ipam_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def ipam_report(hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str) -> list[str]:
    """Return the lines of the table."""
    found, missing = {}, []
    for host in hosts:
        registered = hostvars[host].get(variable) or {}
        if "networks" in registered:
            found[str(host)] = registered["networks"]
        else:
            missing.append(str(host))
    return ipam_table.lines(found, missing)


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {"ipam_report": ipam_report}
