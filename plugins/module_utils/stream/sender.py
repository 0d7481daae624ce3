# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sending end: a tick of a monotonic clock for every number, whatever else the machine does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.stream.orders import STANDSTILL, before_others

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.stream.flow import Bytes, Numbers
    from ansible_collections.podnet.fabric.plugins.module_utils.stream.orders import Orders

# Numbers in a row after a late wake-up: a longer burst would itself be lost in some queue.
BURST = 16
# Seconds of lateness that are made up for; what is beyond is not sent at all, and the rate shows it. More would come
# together in a queue of a tunnel's behind workers that have not had their turn for as long.
ARREARS = 0.1
_BREATH = 1_000_000  # nanoseconds between bursts
_BLINK = 100_000  # nanoseconds that it sleeps at least
_PUMP = 20_000_000  # nanoseconds between looks at the TCP buffers
_FAREWELL = 0.02  # seconds between farewells
_LATE = 1.0  # seconds for packets that are still under way
_LATE_TRANSFER = 5.0  # and for the rest of a transfer


def send(numbers: Sequence[Numbers], transfers: Sequence[Bytes], rate: float, orders: Orders) -> None:
    """Sends until it is told to stop, then takes leave.

    :param rate: numbers per second, of every flow
    """
    before_others()
    interval = 1e9 / rate
    begin = time.monotonic_ns()
    ticks = 0  # that are over
    pump = begin
    now = begin
    latest = 0  # nanoseconds by which its turn came too late
    # One look at the clock for each turn: some kernels take their time to tell it.
    while not orders.over(now / 1e9):
        if orders.asked():
            orders.answer(results(numbers, transfers))
        due = int((now - begin) / interval) + 1 - ticks
        allowed = max(int(ARREARS * rate), BURST)
        if due > allowed:
            begin += int((due - allowed) * interval)
            due = allowed
        for _number in range(min(due, BURST)):
            for flow in numbers:
                flow.next(now)
        ticks += min(due, BURST)
        if now >= pump:
            pump = now + _PUMP
            for transfer in transfers:
                transfer.pump(now)
        wake = min(begin + int(ticks * interval), pump) if numbers else pump
        pause = max(wake - now, _BREATH if due > BURST else _BLINK)
        time.sleep(pause / 1e9)
        woken = time.monotonic_ns()
        late = woken - now - pause
        if late > latest:
            latest = late
            for transfer in transfers:
                transfer.pause = latest
        if late > STANDSTILL:
            for flow in numbers:
                flow.stood += late
        now = woken
    _take_leave(numbers, transfers)


def results(numbers: Sequence[Numbers], transfers: Sequence[Bytes]) -> list[dict[str, Any]]:
    """What was sent, flow by flow."""
    return [*(flow.result() for flow in numbers), *(transfer.result() for transfer in transfers)]


def _take_leave(numbers: Sequence[Numbers], transfers: Sequence[Bytes]) -> None:
    begun = time.monotonic()
    pending: list[Numbers | Bytes] = [*numbers, *transfers]
    while pending:
        for flow in pending:
            flow.part()
        waited = time.monotonic() - begun
        pending = [flow for flow in transfers if not flow.done] if waited < _LATE_TRANSFER else []
        pending += [flow for flow in numbers if not flow.done] if waited < _LATE else []
        time.sleep(_FAREWELL)
