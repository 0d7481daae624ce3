# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records that are kept as JSON for a later run, read back with their types checked: anybody may have edited them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Union

Types = Mapping[str, Union[type, "tuple[type, ...]"]]

NUMBER = (int, float)


def load(text: str) -> dict[str, Any]:
    """The JSON object in a text.

    :raises ValueError: there is none
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # a file is damaged, one way or the other
    return found


def checked(found: dict[str, Any], types: Types, optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A record whose fields are what they should be.

    :param types: what each field is; a truth value is no number
    :param optional: those that may be missing
    :raises ValueError: says what is wrong with it
    """
    missing = types.keys() - found.keys() - optional
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    strange = found.keys() - types.keys()
    if strange:
        raise ValueError(f"it has {', '.join(sorted(strange))[:80]}, which nobody knows")
    for name, value in found.items():
        if not isinstance(value, types[name]) or (isinstance(value, bool) and types[name] is not bool):
            raise ValueError(f"{name}: {value!r:.40} is not what belongs there")
    return found
