# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that stand side by side, measured by turns, and what came of it as tables and ratios.

A round is a slice of traffic on every network, there and back in mirrored order, so that what drifts meanwhile meets
all alike. Figures are medians over the rounds; what is judged is the ratio within a round, with an interval that holds
its median with 95 %.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.benchmarks.dataplane import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Key = tuple[str, int]
"""How, and with how many."""

Slice = dict[str, float]
"""A slice's figures by name."""


class Bound(NamedTuple):
    """A ratio of one figure of two networks, and what it may be at most; with ``least`` at least.

    One that is not ``required`` is told, and nothing fails by it.
    """

    figure: str
    of: Key
    against: Key
    limit: float
    least: bool = False
    required: bool = True


class Figure(NamedTuple):
    """A figure in words, what makes its unit of it, and that."""

    words: str
    factor: float
    unit: str


def one_round(keys: Iterable[Key], sliced: Callable[[Key], Slice]) -> dict[Key, Slice]:
    """Every network, there and back; of the two slices of each the mean."""
    found: dict[Key, list[Slice]] = {key: [] for key in keys}
    for key in (*found, *reversed(found)):
        found[key].append(sliced(key))
    return {key: {name: (one[name] + two[name]) / 2 for name in one} for key, (one, two) in found.items()}


def report(
    rounds: Sequence[Mapping[Key, Slice]],
    figures: Mapping[str, Figure],
    bounds: Iterable[Bound],
    of_what: str,
    alone: str,
) -> bool:
    """Prints a table for each figure, and the bounds of what was measured; whether they hold.

    :param of_what: what there are so many of
    :param alone: the network that stands there once, whatever their number
    """
    ways = list(dict.fromkeys(how for how, _size in rounds[0]))
    sizes = sorted({size for _how, size in rounds[0]})
    for name, figure in figures.items():
        print(f"\n{figure.words}, {figure.unit}\n  {of_what:<16}" + "".join(f"{size:>10}" for size in sizes))
        for how in ways:
            cells = []
            for size in sizes:
                values = [entry[how, size][name] * figure.factor for entry in rounds if (how, size) in entry]
                cells.append(f"{statistics.median(values):>10.1f}" if values else " " * 10)
            print(f"  {how:<16}{''.join(cells)}")
    print()
    holds = True
    for bound in bounds:
        if bound.of not in rounds[0] or bound.against not in rounds[0]:
            continue
        median, low, high = interval(
            [entry[bound.of][bound.figure] / entry[bound.against][bound.figure] for entry in rounds]
        )
        good = median >= bound.limit if bound.least else median <= bound.limit
        holds &= good or not bound.required
        names = f"{bound.of[0]} at {bound.of[1]:,} / {bound.against[0]}" + (
            "" if bound.against[0] == alone else f" at {bound.against[1]:,}"
        )
        print(
            f"  {figures[bound.figure].words}, {names}: {median:.3f} [{low:.3f} {high:.3f}], "
            f"{'at least' if bound.least else 'at most'} {bound.limit}: {'holds' if good else 'DOES NOT HOLD'}"
        )
    return holds
