# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of any bytes: what holds for a parser whatever it is given.

pytest tries seeds, what fuzzing has once found (cases/NAME/*, a file each) and what hypothesis makes of them; atheris
mutates them under coverage (tools/fuzz.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHOWN = 4096
"""Bytes: of what is longer hypothesis could not show a failing case."""

CASES = Path(__file__).parent / "cases"


def cases(name: str) -> list[bytes]:
    """Inputs that a parser once failed on."""
    return [path.read_bytes() for path in sorted((CASES / name).glob("*"))]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed with a piece of it replaced, left out or doubled, or anything at all."""
    if not seeds or draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=200))
    found = draw(st.sampled_from(seeds))
    for _time in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.sampled_from((0, 1, 2, 4, 16)))
        piece = draw(st.one_of(st.just(b""), st.binary(max_size=8), st.just(found[at : at + length] * 2)))
        found = found[:at] + piece + found[at + length :]
    return found


def raw(*seeds: bytes) -> Callable[[Callable[[bytes], None]], Callable[[], None]]:
    """Decorates a check of any bytes, which raises when the parser does what it must not.

    :param seeds: well-formed inputs
    """

    def decorate(check: Callable[[bytes], None]) -> Callable[[], None]:
        test: Any = given(mutated([seed for seed in seeds if len(seed) <= SHOWN]))(check)
        for each in (*seeds, *cases(check.__name__)):
            test = example(each)(test)
        # What tools/fuzz.py feeds without hypothesis in between.
        test.raw, test.seeds = check, seeds
        return test

    return decorate


def text(data: bytes) -> str:
    """As tools' output and files are read."""
    return data.decode("utf-8", "replace")
