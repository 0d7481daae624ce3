# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which numbers arrived. Memory grows with the holes, not with the numbers; a number in order costs one comparison."""

from __future__ import annotations

from bisect import bisect_right


class Tally:
    """Numbers from 0 as they come in."""

    def __init__(self) -> None:
        self.expected = 0  # one more than the highest that arrived
        self.received = 0  # different numbers
        self.duplicates = 0
        self.reordered = 0  # arrived behind a higher one
        # Holes, first and last number of each, in ascending order.
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, number: int) -> None:
        """Takes a number in."""
        if number == self.expected:
            self.expected += 1
            self.received += 1
        elif number > self.expected:
            self._firsts.append(self.expected)
            self._lasts.append(number - 1)
            self.expected = number + 1
            self.received += 1
        elif self._fill(number):
            self.received += 1
            self.reordered += 1
        else:
            self.duplicates += 1

    def holes(self) -> list[tuple[int, int]]:
        """First and last of the numbers below the highest that are missing, in ascending order."""
        return list(zip(self._firsts, self._lasts))

    @property
    def missing(self) -> int:
        """How many numbers below the highest are missing."""
        return self.expected - self.received

    def _fill(self, number: int) -> bool:
        """Takes a number out of the holes; whether it was in one."""
        place = bisect_right(self._firsts, number) - 1
        if place < 0 or number > self._lasts[place]:
            return False
        first, last = self._firsts[place], self._lasts[place]
        parts = [(begin, end) for begin, end in ((first, number - 1), (number + 1, last)) if begin <= end]
        self._firsts[place : place + 1] = [begin for begin, _end in parts]
        self._lasts[place : place + 1] = [end for _begin, end in parts]
        return True
