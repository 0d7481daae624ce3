# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What services have, as text of the ledger: a line for each, so that a change reads well in a review."""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import Allotment
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESTORE = "restore the file from version control or a backup; do not delete it while nodes run"
TIME = "%Y-%m-%dT%H:%M:%SZ"
KEYS = {"service", "port", "released"}
NODE_PORT = re.compile(r"(tcp|udp|sctp)/[1-9][0-9]{0,4}\Z")


def render(allotments: Iterable[Allotment]) -> str:
    """Return a JSON object."""
    lines = [f"    {json.dumps(each.what)}: {json.dumps(_as_dict(each))}" for each in allotments]
    return "{\n" + ",\n".join(lines) + "\n  }"


def parse(content: Mapping[str, Any], name: str) -> tuple[tuple[Allotment, ...], list[Problem]]:
    """Return what stands there, and what is wrong with it; name is what errors call the ledger."""
    problems: list[Problem] = []
    return tuple(_allotment(key, value, name, problems) for key, value in content.items()), problems


def time_text(seconds: int) -> str:
    """Return a time as the ledger writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(TIME)


def seconds_of(text: str) -> int:
    """Return the seconds since 1970; raises TypeError and ValueError."""
    return int(datetime.strptime(text, TIME).replace(tzinfo=UTC).timestamp())


def _as_dict(allotment: Allotment) -> dict[str, Any]:
    fields: dict[str, Any] = {"service": allotment.service}
    if allotment.port:
        fields["port"] = allotment.port
    if allotment.released is not None:
        fields["released"] = time_text(allotment.released)
    return fields


def _allotment(key: str, value: Any, name: str, problems: list[Problem]) -> Allotment:
    path = f'{name}: services["{key}"]'
    if not NODE_PORT.match(key) and not _is_address(key):
        problems.append(Problem(path, show(key), "an address, or a node port such as tcp/30080", RESTORE))
    if not isinstance(value, dict) or not {"service"} <= value.keys() <= KEYS:
        problems.append(Problem(path, show(value), "a mapping with service and perhaps port and released", RESTORE))
        return Allotment(key, "")
    if not all(isinstance(value.get(each, ""), str) for each in KEYS):
        problems.append(Problem(path, show(value), "texts", RESTORE))
        return Allotment(key, "")
    released = None
    if "released" in value:
        try:
            released = seconds_of(value["released"])
        except ValueError:
            wanted = "a time such as 2026-01-31T12:00:00Z"
            problems.append(Problem(f"{path}.released", show(value["released"]), wanted, RESTORE))
    return Allotment(key, value["service"], value.get("port", ""), released)


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False
