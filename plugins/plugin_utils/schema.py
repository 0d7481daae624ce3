# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's schema: read once from the file beside this one; defaults and scopes taken out of it."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_FILE = Path(__file__).with_name("inventory_schema.yml")
PREFIX = "podnet_"

# What Ansible takes for a boolean (ansible.module_utils.parsing.convert_bool), less the single letters and digits.
TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
WHOLE_NUMBER = re.compile(r"-?[0-9]+")


@functools.lru_cache(maxsize=1)
def load() -> dict[str, Any]:
    """Return the schema as a mapping."""
    # libyaml's loader, where PyYAML was built with it, is ten times faster.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with SCHEMA_FILE.open(encoding="utf-8") as file:
        schema: dict[str, Any] = yaml.load(file, Loader=loader)  # noqa: S506 - a safe loader either way
    return schema


def variables() -> dict[str, dict[str, Any]]:
    """Return the variables' schemas by name."""
    properties: dict[str, dict[str, Any]] = load()["properties"]
    return properties


def resolve(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference into the definitions of the schema."""
    reference = part.get("$ref")
    if reference is None:
        return part
    definition: Mapping[str, Any] = load()["$defs"][reference.rpartition("/")[2]]
    return definition


def cluster_wide() -> list[str]:
    """Return the names of the variables that have one value for all nodes."""
    return [name for name, part in variables().items() if part["x-scope"] == "cluster"]


def is_secret(name: str) -> bool:
    """Whether a variable's value may be in no message and in no plan."""
    return bool(variables()[name].get("x-secret"))


def complete(name: str, value: Any) -> Any:
    """Return a variable's value, or its default, with the defaults of its keys filled in."""
    part = variables()[name]
    return _fill(copy.deepcopy(part["default"]) if value is None else value, part)


def _fill(value: Any, part: Mapping[str, Any]) -> Any:
    part = resolve(part)
    if isinstance(value, dict) and "properties" in part:
        filled = {key: copy.deepcopy(sub["default"]) for key, sub in part["properties"].items() if "default" in sub}
        return {**filled, **{key: _fill(item, part["properties"].get(key, {})) for key, item in value.items()}}
    if isinstance(value, list) and "items" in part:
        return [_fill(item, part["items"]) for item in value]
    return value


def coerce(value: Any, part: Mapping[str, Any]) -> Any:
    """Turn text into the number or boolean that the schema wants, as Ansible does for ``-e name=value``."""
    part = resolve(part)
    if isinstance(value, str):
        wanted = {part.get("type")} | {branch.get("type") for branch in part.get("anyOf", ())}
        if "integer" in wanted and WHOLE_NUMBER.fullmatch(value):
            return int(value)
        if "boolean" in wanted:
            return TRUTH.get(value.lower(), value)
    if isinstance(value, dict):
        known = part.get("properties", {})
        return {key: coerce(item, known.get(key, {})) for key, item in value.items()}
    if isinstance(value, list):
        return [coerce(item, part.get("items", {})) for item in value]
    return value
