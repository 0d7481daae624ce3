# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of ADD as plugins print it and records keep it (CNI specification, section 5): what is read of it."""

from __future__ import annotations

from typing import Any


def flaw(result: Any) -> str:
    """What is wrong with the parts of a result that are read here; empty for nothing."""
    if not isinstance(result, dict):
        return "not a JSON object"
    for key, check in (("interfaces", _is_interface), ("ips", _is_ip)):
        entries = result.get(key)
        # Plugins written in Go print an empty list as null.
        if entries is not None and not (isinstance(entries, list) and all(map(check, entries))):
            return f"its {key} are not as the specification has them"
    return ""


def entries(result: Any, key: str) -> list[dict[str, Any]]:
    """The interfaces or ips of a result without a flaw; none of one that ADD has not given yet."""
    return (result or {}).get(key) or []


def _is_interface(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and all(isinstance(entry.get(key, ""), str) for key in ("mac", "sandbox"))
    )


def _is_ip(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("address"), str)
