# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/variables.md and the roles' meta/argument_specs.yml from the schema of the inventory variables.

With --check nothing is written; files that are not as they should be are named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = Path("plugins/plugin_utils/inventory_schema.yml")
ORIGIN = f"Written by tools/generate_reference.py from {SCHEMA}; edit that and run the tool."

ARGUMENT_TYPE = {"string": "str", "integer": "int", "boolean": "bool", "array": "list", "object": "dict"}
WORD = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}
MARKUP = re.compile(r"\b[CV]\(([^)]*)\)")


class IndentedDumper(yaml.SafeDumper):
    """Lists inside mappings are indented, as yamllint wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Never without an indentation."""
        super().increase_indent(flow, indentless=False)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    check = parser.parse_args(arguments).check
    stale = 0
    for path, text in files(yaml.safe_load((REPOSITORY / SCHEMA).read_text(encoding="utf-8"))):
        target = REPOSITORY / path
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"{path}: found another text than the schema's; run tools/generate_reference.py\n")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}\n")
    return 1 if check and stale else 0


def files(schema: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield each file's path below the repository and its text."""
    yield Path("docs/variables.md"), reference(schema)
    for role, description in schema["x-role-descriptions"].items():
        yield Path("roles", role, "meta", "argument_specs.yml"), argument_specs(schema, role, description)


def argument_specs(schema: Mapping[str, Any], role: str, description: str) -> str:
    """Return the argument specification of a role."""
    options = {name: _option(schema, part) for name, part in schema["properties"].items() if role in part["x-roles"]}
    content = {"argument_specs": {"main": {"short_description": description, "options": options}}}
    body = yaml.dump(content, Dumper=IndentedDumper, sort_keys=False, width=110, allow_unicode=True)
    return f"---\n# {ORIGIN}\n{body}"


def reference(schema: Mapping[str, Any]) -> str:
    """Return the page about all variables."""
    lines = [
        f"<!-- {ORIGIN} -->",
        "",
        "# Inventory variables",
        "",
        "All have defaults: an inventory of hosts with IP addresses is enough. Variables that count for the whole",
        "cluster must be the same on every node; set them in the `group_vars` of all nodes. Unknown variables that",
        "begin with `podnet_` are errors. `ansible-playbook playbooks/plan.yml` checks an inventory without touching a",
        "node.",
        "",
        "| variable | default | counts for |",
        "| --- | --- | --- |",
    ]
    for name, part in schema["properties"].items():
        scope = "each node" if part["x-scope"] == "node" else "the cluster"
        lines.append(f"| [`{name}`](#{name}) | {_default(part)} | {scope} |")
    for name, part in schema["properties"].items():
        lines += ["", f"## {name}", "", _prose(part["description"]), "", *_facts(schema, part)]
        lines += [
            f"- Used by the roles {', '.join(part['x-roles'])}." if part["x-roles"] else "- Used by `site.yml` itself."
        ]
        lines += _keys(schema, part)
    return "\n".join(lines) + "\n"


def _option(schema: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    part = _resolved(schema, part)
    option: dict[str, Any] = {}
    if "description" in part:
        option["description"] = part["description"]
    option["type"] = ARGUMENT_TYPE.get(str(part.get("type")), "raw")
    if "enum" in part:
        option["choices"] = part["enum"]
    if "default" in part:
        option["default"] = part["default"]
    if part.get("x-secret"):
        option["no_log"] = True
    if "items" in part:
        item = _option(schema, part["items"])
        option["elements"] = item["type"]
        if "options" in item:
            option["options"] = item["options"]
    # Without additionalProperties: false the mapping is open, which an argument specification cannot say.
    if "properties" in part and part.get("additionalProperties") is False:
        option["options"] = {key: _option(schema, value) for key, value in part["properties"].items()}
        for key in part.get("required", ()):
            option["options"][key]["required"] = True
    return option


def _facts(schema: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    return [f"- Type: {_type(schema, part)}.", f"- Default: {_default(part)}."]


def _type(schema: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    part = _resolved(schema, part)
    if "enum" in part:
        choices = [f"`{choice}`" for choice in part["enum"]]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else f"{choices[0]}, the only choice so far"
    if "x-wanted" in part:
        return str(part["x-wanted"])
    word = WORD[part["type"]]
    if "format" in part:
        word = str(part["format"]).replace("-", " ").replace("ip ", "IP ")
    if "minimum" in part:
        word += f" from {part['minimum']} to {part['maximum']}" if "maximum" in part else f", {part['minimum']} or more"
    return word


def _keys(schema: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    part = _resolved(schema, part)
    inner = _resolved(schema, part.get("items", part))
    if "properties" not in inner:
        return []
    lines = ["", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in inner["properties"].items():
        default = "required" if key in inner.get("required", ()) else _default(value)
        lines.append(f"| `{key}` | {_type(schema, value)} | {default} | {_prose(value['description'])} |")
    return lines


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    resolved: Mapping[str, Any] = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    return resolved


def _default(part: Mapping[str, Any]) -> str:
    if "default" not in part:
        return str(part.get("x-default", "none"))
    default = part["default"]
    if isinstance(default, list) and default:
        return ", ".join(f"`{json.dumps(item)}`" for item in default)
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _prose(description: str) -> str:
    return MARKUP.sub(r"`\1`", description)


if __name__ == "__main__":
    sys.exit(main())
