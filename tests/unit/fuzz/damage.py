# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents with something wrong in them, as hands and programs leave them."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP = "[" * 100_000
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["10.0.0.0/8", "10.0.0.1", "fd00::/64", "::1%eth0", "\u0661\u0660", "a\0b", "\ud800"]),
    st.sampled_from(["x" * 300, "all", "1e999"]),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**64, -1, 10**400]),
    st.floats(),
    TEXTS,
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document with one or two of its values replaced, left out or doubled."""
    found = copy.deepcopy(document)
    for _time in range(draw(st.integers(1, 2))):
        here: Any = found
        steps: list[tuple[Any, Any]] = []
        while isinstance(here, (dict, list)) and here and (not steps or draw(st.integers(0, 3))):
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            key = draw(st.sampled_from(keys))
            steps.append((here, key))
            here = here[key]
        if not steps:
            return draw(VALUES)
        holder, key = steps[-1]
        act = draw(st.sampled_from(["replace", "remove", "double"]))
        if act == "remove":
            del holder[key]
        elif act == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif act == "double":
            holder[draw(TEXTS)] = copy.deepcopy(holder[key])
        else:
            holder[key] = draw(VALUES)
    return found


def written(document: Any) -> str:
    """As JSON, with what JSON does not know as Python writes it."""
    return json.dumps(document)
