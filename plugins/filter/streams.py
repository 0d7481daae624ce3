# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter of podnet.fabric.stream; its documentation is in stream_report.yml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import stream_report as reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _counts(hostvars: Mapping[str, Any], host: str, variable: str) -> reporting.Counts | None:
    registered = hostvars[host].get(variable) or {}
    if registered.get("skipped"):  # there are none on this node, and nobody has asked
        return reporting.Counts((), ())
    if "flows" not in registered:
        return None
    return reporting.Counts(registered["flows"], registered["failures"])


def stream_report(
    hostvars: Mapping[str, Any],
    hosts: Sequence[str],
    sent: str,
    received: str,
    lost: int = 0,
    stall_ms: float = 200.0,
    rate: float = 0.9,
) -> dict[str, list[Any]]:
    """Return flows, failures and a table."""
    return reporting.report(
        {host: _counts(hostvars, host, sent) for host in hosts},
        {host: _counts(hostvars, host, received) for host in hosts},
        reporting.Limits(int(lost), float(stall_ms), float(rate)),
    )


class FilterModule:
    """The filter by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"stream_report": stream_report}
