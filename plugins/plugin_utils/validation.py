# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory variables against the schema: every problem at once, in words for the operator."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import schema
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, show

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

# IFNAMSIZ of linux/if.h is 16 with the closing zero.
INTERFACE_NAME_BYTES = 15

WANTED_FORMAT = {
    "interface-name": "an interface name (at most 15 bytes; no '/', ':' or white space)",
    "ip-address": "an IPv4 or IPv6 address without prefix length",
    "ip-network": "a network such as 10.244.0.0/16 or fd00:10:244::/48",
    "absolute-path": "an absolute path",
}
WANTED_TYPE = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
CURE_TYPE = {
    "string": "write text; put it in quotes if it looks like a number",
    "integer": "write digits only, without a unit",
    "boolean": "write true or false",
    "array": "write each item on a line of its own after '- '",
    "object": "write 'key: value' lines",
}
CURE_KEYWORD = {
    "minimum": "choose a number in that range",
    "maximum": "choose a number in that range",
    "minItems": "add an item, or remove the variable to get the default",
}
CURE = "write it like that"


def problems_of(values: Mapping[str, Any], host: str = "") -> list[Problem]:
    """Check variables (coerced already) against the schema; host is named in the paths when given."""
    found: dict[str, Problem] = {}
    for error in _validator().iter_errors(values):
        for problem in _in_words(error):
            path = f"{problem.path} ({host})" if host else problem.path
            # Several keywords of the schema may object to one value; the first says it all.
            found.setdefault(path, problem._replace(path=path))
    return list(found.values())


def unknown(name: str, host: str = "") -> Problem:
    """Return the problem of a variable that begins with podnet_ and is none of ours."""
    path = f"{name} ({host})" if host else name
    cure = _nearest(name, schema.variables())
    return Problem(path, "a variable that does not exist", "a variable listed in docs/variables.md", cure)


def _validator() -> Draft202012Validator:
    import jsonschema  # the action has checked that it is there

    checker = jsonschema.FormatChecker(formats=())
    for name, check in FORMATS.items():
        checker.checks(name, raises=ValueError)(check)
    return jsonschema.Draft202012Validator(schema.load(), format_checker=checker)


def _in_words(error: ValidationError) -> Iterator[Problem]:
    part: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    path = _path(error.absolute_path)
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        known = part["properties"]
        for key in instance:
            if key not in known:
                wanted = f"one of {', '.join(known)}"
                yield Problem(f"{path}.{key}", "a key that does not exist", wanted, _nearest(str(key), known))
    elif error.validator == "required":
        for key in part["required"]:
            if key not in instance:
                yield Problem(f"{path}.{key}", "nothing", _wanted(part["properties"][key]), f"add the key '{key}'")
    else:
        yield Problem(path, _found(instance, part), _wanted(part), _cure(error, part))


def _path(parts: Iterable[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _found(value: Any, part: Mapping[str, Any]) -> str:
    if part.get("x-secret"):
        return "a secret that is none"
    if part.get("format") == "interface-name" and isinstance(value, str):
        return f"{show(value)} ({len(value.encode())} bytes)"
    return show(value)


def _wanted(part: Mapping[str, Any]) -> str:
    part = schema.resolve(part)
    kind = str(part.get("type"))
    if "x-wanted" in part:
        return str(part["x-wanted"])
    if "enum" in part:
        return (
            f"one of {', '.join(part['enum'])}"
            if len(part["enum"]) > 1
            else f"{part['enum'][0]}, the only choice so far"
        )
    if "format" in part:
        return WANTED_FORMAT[part["format"]]
    text = WANTED_TYPE.get(kind, kind)
    if "minimum" in part and "maximum" in part:
        return f"{text} from {part['minimum']} to {part['maximum']}"
    return f"{text}, {part['minimum']} or more" if "minimum" in part else text


def _cure(error: ValidationError, part: Mapping[str, Any]) -> str:
    for cause in (error.cause, *(inner.cause for inner in error.context or ())):
        if cause is not None:
            return str(cause)
    kind = str(error.validator)
    if "x-cure" in part:
        return str(part["x-cure"])
    if kind == "enum":
        close = difflib.get_close_matches(str(error.instance), part["enum"], n=1)
        return f"did you mean {close[0]}?" if close else f"write {part['enum'][0]}"
    return CURE_TYPE.get(str(part.get("type")), CURE) if kind == "type" else CURE_KEYWORD.get(kind, CURE)


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    # The prefix that all of our variables share would make them all look alike.
    bare = {name.removeprefix(schema.PREFIX): name for name in known}
    wrong = key.removeprefix(schema.PREFIX)
    close = difflib.get_close_matches(wrong, bare, n=1) or [name for name in bare if wrong in name.split("_")]
    return f"did you mean {bare[close[0]]}?" if close else "remove it"


def _interface_name(value: object) -> bool:
    # dev_valid_name() in the kernel's net/core/dev.c.
    if not isinstance(value, str):
        return True
    if len(value.encode()) > INTERFACE_NAME_BYTES:
        raise ValueError("choose a shorter name")
    if value in ("", ".", "..") or any(character in "/:%" or character.isspace() for character in value):
        raise ValueError("choose a name of letters, digits, '-', '_' and '.'")
    return True


def _ip_address(value: object) -> bool:
    if isinstance(value, str):
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError(
                "write an address such as 192.0.2.10 or 2001:db8::10, not a name and not a network"
            ) from None
    return True


def _ip_network(value: object) -> bool:
    if isinstance(value, str):
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError("write address/prefix length") from None
        if "/" not in value:
            raise ValueError("add the prefix length after '/'")
        if network != _strict(value):
            raise ValueError(f"write {network}, or set a longer prefix length")
    return True


def _strict(value: str) -> object:
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        return None


def _absolute_path(value: object) -> bool:
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError("begin it with '/'")
    return True


FORMATS = {
    "interface-name": _interface_name,
    "ip-address": _ip_address,
    "ip-network": _ip_network,
    "absolute-path": _absolute_path,
}
