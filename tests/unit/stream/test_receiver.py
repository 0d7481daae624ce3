# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine that stands still takes from a stall."""

from __future__ import annotations

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.stream.receiver import Standstills


@pytest.mark.parametrize(
    ("begin", "end", "stood"),
    [(0, 1000, 50), (110, 1000, 40), (120, 130, 10), (0, 100, 0), (150, 900, 0), (0, 149, 49)],
)
def test_of_a_standstill_counts_what_falls_into_the_time(begin: int, end: int, stood: int) -> None:
    still = Standstills()
    still.add(100, 150)
    assert still.within(begin, end) == stood


def test_of_very_many_standstills_each_of_the_latest_counts() -> None:
    """A host that gives a guest no processor ten times a second, for minutes, and for longer in the beginning."""
    still = Standstills()
    for number in range(3000):
        still.add(number * 100, number * 100 + (90 if number < 200 else 60))
    assert still.longest == 90
    assert still.within(299_500, 300_000) == 5 * 60
    assert still.within(299_530, 299_970) == 30 + 4 * 60
    assert Standstills().within(0, 10) == 0
