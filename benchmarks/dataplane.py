# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dataplane costs pods: ours against the same network by hand with `ip`, and against plain routing.

    make bench      or      python benchmarks/dataplane.py [--rounds 20] [--most 80] [DATAPLANE ...]
    tests/vm/run -- .venv/bin/python benchmarks/dataplane.py        for those that this machine's kernel lacks

The networks stand side by side: see two_nodes.py. A round is a slice of traffic on each, there and back (ours, by hand,
routed, routed, by hand, ours), so that what drifts meanwhile meets all alike. What is compared is the ratio within a
round; its median over the rounds is printed with an interval that holds it with 95 % (from the ranks, whatever the
distribution).
The networks are built anew several times: two of the very same kind differ by where their memory lies. Rounds go on
until the interval is narrow enough or there have been the most allowed. Asking and answering side are on CPUs of their
own, with priority over what else runs.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "collections"))

from ansible_collections.podnet.fabric.benchmarks import traffic, two_nodes
from ansible_collections.podnet.fabric.benchmarks.network import (
    DATAPLANES,
    HAND,
    OURS,
    ROUTED,
    TUNNELS,
    UNFILTERED,
    Network,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# The bounds for ours against by hand.
LOWEST, HIGHEST = 0.97, 1.03
# Half the width of an interval that is narrow enough to tell.
NARROW = 0.012
SLICE = 0.06  # seconds
REBUILDS = 10  # rounds of one building

Slice = dict[str, float]


class Measure(NamedTuple):
    """A figure of a slice."""

    name: str
    show: Callable[[float], str]
    judged: bool  # whether the bounds are about it
    inverse: bool = False  # less is better: the ratio is of what is better


MEASURES = {
    "throughput": Measure("one TCP stream", lambda value: f"{value * 8 / 1e9:.2f} Gbit/s", True),
    "connections": Measure("new connections", lambda value: f"{value:.0f} /s", True),
    "p50": Measure("round trip p50", lambda value: f"{value * 1e6:.1f} us", True, True),
    "p99": Measure("round trip p99", lambda value: f"{value * 1e6:.1f} us", False, True),
}


class Sizes(NamedTuple):
    """How much traffic fills a slice, the same for all networks."""

    transfer: int  # bytes
    connections: int
    round_trips: int


def calibrated(peer: traffic.Peer) -> Sizes:
    for _warm in range(2):
        speed = traffic.transfer(peer, 16 << 20)
        rate = traffic.connections(peer, 100)
        trip = statistics.median(traffic.round_trips(peer, 300))
    return Sizes(int(speed * SLICE), max(int(rate * SLICE), 20), max(int(SLICE / trip), 200))


def sliced(peer: traffic.Peer, sizes: Sizes) -> Slice:
    times = sorted(traffic.round_trips(peer, sizes.round_trips))
    return {
        "throughput": traffic.transfer(peer, sizes.transfer),
        "connections": traffic.connections(peer, sizes.connections),
        "p50": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
    }


def one_round(peers: dict[str, traffic.Peer], sizes: Sizes) -> dict[str, Slice]:
    """Each network twice, in mirrored order."""
    found: dict[str, list[Slice]] = {how: [] for how in peers}
    for how in (*peers, *reversed(peers)):
        found[how].append(sliced(peers[how], sizes))
    return {how: {key: (one[key] + two[key]) / 2 for key in one} for how, (one, two) in found.items()}


def interval(values: list[float]) -> tuple[float, float, float]:
    """Median and the ranks between which it lies with 95 %."""
    ordered, count = sorted(values), len(values)
    rank = max(math.floor((count - 1.96 * math.sqrt(count)) / 2), 0)
    return statistics.median(ordered), ordered[rank], ordered[count - 1 - rank]


def ratios(rounds: list[dict[str, Slice]], key: str, against: str) -> list[float]:
    of = [entry[OURS][key] / entry[against][key] for entry in rounds]
    return [1 / value for value in of] if MEASURES[key].inverse else of


def narrow(rounds: list[dict[str, Slice]]) -> bool:
    spans = [interval(ratios(rounds, key, HAND)) for key, measure in MEASURES.items() if measure.judged]
    return all(high - low <= 2 * NARROW for _median, low, high in spans)


def hows(dataplane: str) -> tuple[str, ...]:
    return (OURS, HAND, *((UNFILTERED,) if dataplane in TUNNELS else ()), ROUTED)


def measured(dataplane: str, least: int, most: int) -> list[dict[str, Slice]]:
    rounds: list[dict[str, Slice]] = []
    sizes: Sizes | None = None
    client, *others = sorted(os.sched_getaffinity(0))
    server = others[0] if others else client
    while len(rounds) < least or (len(rounds) < most and not narrow(rounds)):
        # Another order of building at each time.
        whole = hows(dataplane)
        turn = len(rounds) // REBUILDS % len(whole)
        order = (*whole[turn:], *whole[:turn])
        networks = {how: Network(f"pnb{os.getpid()}{how[0]}-", dataplane if how != ROUTED else "") for how in order}
        peers: dict[str, traffic.Peer] = {}
        try:
            for how in order:
                two_nodes.build(networks[how], how)
            if not rounds:
                compared(two_nodes.shape(networks[OURS]), two_nodes.shape(networks[HAND]))
            for how in order:
                ends = networks[how].netns("pod1"), networks[how].netns("pod2")
                peers[how] = traffic.open_peer(*ends, "10.244.2.2", server)
            sizes = sizes or calibrated(peers[OURS])
            rounds += _slices(peers, sizes, client)
        finally:
            for peer in peers.values():
                traffic.close_peer(peer)
            for network in networks.values():
                two_nodes.destroy(network)
    return rounds


def _slices(peers: dict[str, traffic.Peer], sizes: Sizes, cpu: int) -> list[dict[str, Slice]]:
    everywhere = os.sched_getaffinity(0)
    traffic.before_others(cpu)
    try:
        for peer in peers.values():
            sliced(peer, sizes)
        return [one_round(peers, sizes) for _round in range(REBUILDS)]
    finally:
        traffic.among_others(everywhere)


def compared(ours: dict[str, dict[str, object]], hand: dict[str, dict[str, object]]) -> None:
    """Both are of the same make, or the comparison would be of two different things."""
    for device in sorted({*ours, *hand}):
        one, other = ours.get(device, {}), hand.get(device, {})
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                raise SystemExit(f"{device}: {key} is {one.get(key)} of ours, {other.get(key)} by hand")


def report(dataplane: str, rounds: list[dict[str, Slice]], seconds: float) -> bool:
    """Prints a row for each figure; whether ours equals by hand."""
    names = hows(dataplane)
    print(f"\n{dataplane}: medians of {len(rounds)} rounds, {seconds:.0f} s")
    print("".join([f"  {'':<16}", *(f"{how:>14}" for how in names), "   ours / by hand [95 %]", f"{'':<11}"])
          + "  ".join(f"/ {how}" for how in names[2:]))  # fmt: skip
    holds = True
    for key, measure in MEASURES.items():
        cells = "".join(f"{measure.show(statistics.median(entry[how][key] for entry in rounds)):>14}" for how in names)
        median, low, high = interval(ratios(rounds, key, HAND))
        verdict = ""
        if measure.judged:
            good = LOWEST <= median <= HIGHEST
            holds &= good
            verdict = "equal" if good else "NOT EQUAL" if high < LOWEST or low > HIGHEST else "UNCLEAR"
        others = "  ".join(f"{statistics.median(ratios(rounds, key, how)):>{len(how) + 2}.3f}" for how in names[2:])
        print(f"  {measure.name:<16}{cells}   {median:.3f} [{low:.3f} {high:.3f}] {verdict:<10} {others}")
    return holds


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="at least so many")
    parser.add_argument("--most", type=int, default=80, help="at most so many")
    parser.add_argument("dataplanes", nargs="*", metavar="DATAPLANE", help=", ".join(DATAPLANES))
    options = parser.parse_args()
    # Ended from outside, it still takes its namespaces along.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    wanted = options.dataplanes or DATAPLANES
    holds = True
    print(f"ratios over 1 are in favour of ours; bounds of ours / by hand: {LOWEST} to {HIGHEST}")
    for dataplane in wanted:
        if not two_nodes.offered(dataplane):
            print(f"\n{dataplane}: this kernel or machine lacks it")
            holds &= dataplane not in options.dataplanes
            continue
        begin = time.monotonic()
        rounds = measured(dataplane, options.rounds, options.most)
        holds &= report(dataplane, rounds, time.monotonic() - begin)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
