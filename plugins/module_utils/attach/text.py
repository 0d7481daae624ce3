# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON by the parts of Python's own package that are written in C: importing the whole takes longer than ADD may.

What is in here for ADD imports neither typing nor json, for the same reason (see attach/plugin.py).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """What json.JSONDecoder tells the scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def loads(text: str) -> Any:
    """The value of a text.

    :raises ValueError: it is no JSON
    """
    stripped = text.strip(" \t\r\n")
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return json.loads(stripped)
    try:
        value, end = make_scanner(_Context)(stripped, 0)  # type: ignore[arg-type]
    except (StopIteration, RecursionError):
        raise ValueError("no JSON") from None
    if end != len(stripped):
        raise ValueError(f"something after the JSON, at character {end}")
    return value


def dumps(value: Any) -> str:
    """A value's text, on one line."""
    try:
        from _json import encode_basestring_ascii, make_encoder

        encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True)
        return "".join(encode(value, 0))
    except (ImportError, TypeError):
        # A Python whose parts are others.
        import json

        return json.dumps(value)


def _refuse(value: Any) -> Any:
    raise ValueError(f"{value!r} has no form in JSON")
