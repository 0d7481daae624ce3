# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of the role policy; its documentation is in the .yml file of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import endpoint_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def endpoints(
    hostvars: Mapping[str, Any], hosts: Sequence[str], variable: str, stated: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return the pods of all hosts."""
    attached = {str(host): hostvars[host][variable]["endpoints"] for host in hosts}
    return endpoint_view.endpoints(attached, stated)


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {"endpoints": endpoints}
