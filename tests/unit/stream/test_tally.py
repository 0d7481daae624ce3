# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tally knows exactly which numbers arrived, in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.stream.tally import Tally


def test_numbers_in_order_leave_no_hole() -> None:
    tally = Tally()
    for number in range(1000):
        tally.add(number)
    assert (tally.expected, tally.received, tally.missing) == (1000, 1000, 0)
    assert tally.holes() == []


def test_a_late_number_splits_the_hole_that_it_was_missing_from() -> None:
    tally = Tally()
    for number in (0, 10, 5, 1, 9, 5):
        tally.add(number)
    assert tally.holes() == [(2, 4), (6, 8)]
    assert (tally.reordered, tally.duplicates, tally.missing) == (3, 1, 6)


@given(st.lists(st.integers(0, 60), max_size=200))
def test_it_agrees_with_a_set(numbers: list[int]) -> None:
    tally = Tally()
    for number in numbers:
        tally.add(number)
    arrived = set(numbers)
    expected = max(arrived, default=-1) + 1
    assert tally.expected == expected
    assert tally.received == len(arrived)
    assert tally.duplicates == len(numbers) - len(arrived)
    missing = [number for first, last in tally.holes() for number in range(first, last + 1)]
    assert missing == sorted(set(range(expected)) - arrived)
    assert tally.missing == len(missing)
    # Holes are as few as can be: no two of them touch.
    assert all(last + 1 < first for (_f, last), (first, _l) in zip(tally.holes(), tally.holes()[1:], strict=False))
