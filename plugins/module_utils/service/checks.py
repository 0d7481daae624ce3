# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks backends from the node itself, many at once, each and all of them within a bounded time."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.service.health import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import Probe
    from ansible_collections.podnet.fabric.plugins.module_utils.service.health import Asked, Place

AT_ONCE = 256
"""Well below the descriptors that a process has by default (1024)."""
LONGEST = 60.0
"""Seconds for all; what has not been asked by then is neither well nor not."""
SUCCESS = range(200, 400)
"""HTTP statuses, as the kubelet takes them."""


def perform(wanted: Mapping[str, Asked]) -> dict[str, dict[Place, str]]:
    """What is wrong at each place, empty where nothing is, by the services that ask."""
    return asyncio.run(_perform(wanted))


async def _perform(wanted: Mapping[str, Asked]) -> dict[str, dict[Place, str]]:
    # Services that ask the same of the same place are told the same.
    who: dict[tuple[Probe, Place], list[str]] = defaultdict(list)
    for name, (probe, places) in wanted.items():
        for place in places:
            who[probe._replace(period=0, failures=0, successes=0), place].append(name)
    found: dict[str, dict[Place, str]] = {name: {} for name in wanted}
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(probe: Probe, place: Place) -> None:
        async with turns:
            why = await _why(probe, place)
        for name in who[probe, place]:
            found[name][place] = why

    tasks = [asyncio.ensure_future(one(*each)) for each in who]
    if tasks:
        _done, late = await asyncio.wait(tasks, timeout=LONGEST)
        for task in late:
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(answer, Exception):
                raise answer
    return found


async def _why(probe: Probe, place: Place) -> str:
    try:
        return await asyncio.wait_for(_ask(probe, place), probe.timeout)
    except asyncio.TimeoutError:
        return f"no answer within {probe.timeout} s"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)


async def _ask(probe: Probe, place: Place) -> str:
    address = text(place).rpartition(":")[0].strip("[]")
    reader, writer = await asyncio.open_connection(address, place[1].port)
    try:
        return "" if probe.path is None else await _status(probe, place, reader, writer)
    finally:
        writer.close()


async def _status(probe: Probe, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    headers = {"host": ("Host", text(place)), "user-agent": ("User-Agent", "podnet.fabric")}
    headers.update({name.lower(): (name, value) for name, value in probe.headers})
    headers["connection"] = ("Connection", "close")
    lines = [f"GET {probe.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.values())]
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    try:
        words = (await reader.readline()).split()
    except ValueError:  # longer than any line of HTTP
        words = []
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return "no answer in HTTP"
    return "" if int(words[1]) in SUCCESS else f"HTTP status {int(words[1])}"
