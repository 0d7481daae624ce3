# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing that is wrong with the input, told so that it can be mended without reading the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHOWN_NAMES = 3
SHOWN_CHARACTERS = 80


class Problem(NamedTuple):
    """Where it is, what stands there, what should, what to do about it. Without ``wanted``, ``found`` says it all."""

    path: str
    found: str
    wanted: str
    cure: str

    def __str__(self) -> str:
        told = f"found {self.found}, wanted {self.wanted}" if self.wanted else self.found
        return f"{self.path}: {told}; {self.cure}"


def show(value: Any) -> str:
    """Return a value as an operator would write it, cut when long."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"'{value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 3] + '...'}'"
    if isinstance(value, dict):
        return f"a mapping with the keys {names(sorted(map(str, value)))}" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    return str(value).lower() if isinstance(value, bool) else str(value)


def names(found: Sequence[str]) -> str:
    """Return names joined for a sentence: 'a, b and c', or 'a, b, c and 997 more'."""
    if len(found) > SHOWN_NAMES + 1:
        return f"{', '.join(found[:SHOWN_NAMES])} and {len(found) - SHOWN_NAMES} more"
    if len(found) > 1:
        return f"{', '.join(found[:-1])} and {found[-1]}"
    return "".join(found)


def render(problems: Iterable[Problem]) -> str:
    """Return the text that the task fails with: how many, then one to a line."""
    lines = [str(problem) for problem in problems]
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    return "\n".join([f"{count} in the inventory; nothing has been changed:", *(f"  {line}" for line in lines)])
