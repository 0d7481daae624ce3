# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies cost: our nftables and eBPF against plain forwarding, rules of iptables one after the other, and ipset.

    make bench      or      python benchmarks/policy.py [--rounds 20] [--sizes 10,1000,10000,50000]

Each network stands beside the others, for each number of rules: see policy_ground.py, which says what a rule is. A
round is a slice of new connections (the handshake alone, from the SYN on), one of whole connections (with a byte there
and back, between processes on two CPUs) and one of round trips of a flow that stands, on every network, there and back
in mirrored order, so that what drifts meanwhile meets all alike. Figures are medians over the rounds; what is judged is
the ratio within a round, with an interval that holds its median with 95 %. Then what the module itself does with
10,000 rules is timed: see policy_load.py. Asking and answering side are on CPUs of their own, before what else runs.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "collections"))

from ansible_collections.podnet.fabric.benchmarks import policy_ground, policy_load, traffic
from ansible_collections.podnet.fabric.benchmarks.alternation import Bound, Figure, Key, Slice, one_round, report
from ansible_collections.podnet.fabric.benchmarks.policy_ground import EBPF, IPSET, LEGACY, NFT, NFTABLES, PLAIN, POD

SIZES = (10, 1000, 10_000, 50_000)
FEW, MANY = 10, 10_000
SLICE = 0.03  # seconds
WAYS = (PLAIN, NFTABLES, EBPF, IPSET, LEGACY, NFT)


class Counts(NamedTuple):
    """How much traffic fills a slice on a network."""

    handshakes: int
    connections: int
    trips: int


BOUNDS = (
    Bound("connection", (NFTABLES, MANY), (NFTABLES, FEW), 1.15),
    Bound("connection", (EBPF, MANY), (EBPF, FEW), 1.15),
    Bound("rate", (EBPF, MANY), (LEGACY, MANY), 1.3, least=True),
    Bound("rate", (EBPF, MANY), (NFT, MANY), 2.5, least=True),
    Bound("whole", (EBPF, MANY), (LEGACY, MANY), 1.3, least=True),
    Bound("whole", (EBPF, MANY), (NFT, MANY), 2.5, least=True),
    Bound("trip", (NFTABLES, MANY), (PLAIN, FEW), 1.15),
    Bound("trip", (EBPF, MANY), (PLAIN, FEW), 1.15),
)
FIGURES = {
    "connection": Figure("new connection p50", 1e6, "us"),
    "rate": Figure("connections per second", 1, "/s"),
    "whole": Figure("connections per second, each with a byte there and back", 1, "/s"),
    "trip": Figure("round trip p50", 1e6, "us"),
}


def keys(sizes: list[int]) -> list[Key]:
    """All networks; plain forwarding once."""
    return [(how, size) for size in sizes for how in WAYS if how != PLAIN or size == sizes[0]]


def sliced(peer: traffic.Peer, count: Counts) -> Slice:
    """The median of a handshake in seconds, handshakes and whole connections per second, the median of a round trip."""
    times = traffic.handshakes(peer, count.handshakes)
    whole = traffic.connections(peer, count.connections)
    trips = traffic.round_trips(peer, count.trips)
    return {
        "connection": statistics.median(times),
        "rate": len(times) / sum(times),
        "whole": whole,
        "trip": statistics.median(trips),
    }


def measured(wanted: list[Key], rounds: int) -> list[dict[Key, Slice]]:
    grounds: list[policy_ground.Ground] = []
    peers: dict[Key, traffic.Peer] = {}
    client, *others = sorted(os.sched_getaffinity(0))
    try:
        for number, key in enumerate(wanted):
            grounds.append(policy_ground.build(number, *key))
            network = grounds[-1].network
            ends = network.netns("client"), network.netns("pod")
            peers[key] = traffic.open_peer(*ends, POD, others[0] if others else client)
        traffic.before_others(client)
        counts = {}
        for key, peer in peers.items():
            warm = sliced(peer, Counts(30, 30, 100))
            counts[key] = Counts(
                max(int(SLICE / warm["connection"]), 15),
                max(int(SLICE * warm["whole"]), 15),
                max(int(SLICE / 2 / warm["trip"]), 100),
            )
        return [one_round(peers, lambda key: sliced(peers[key], counts[key])) for _round in range(rounds)]
    finally:
        for peer in peers.values():
            traffic.close_peer(peer)
        for ground in grounds:
            policy_ground.destroy(ground)


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of rules; 0 for no packets at all")
    parser.add_argument("--loads", type=int, default=7, help="how often the module's own work is timed")
    options = parser.parse_args()
    # Ended from outside, it still takes its namespaces along.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    sizes = [int(size) for size in options.sizes.split(",") if int(size)]
    everywhere = os.sched_getaffinity(0)
    holds = True
    if sizes:
        begin = time.monotonic()
        rounds = measured(keys(sizes), options.rounds)
        traffic.among_others(everywhere)
        print(f"medians of {len(rounds)} rounds, {time.monotonic() - begin:.0f} s with building")
        holds = report(rounds, FIGURES, BOUNDS, "rules", PLAIN)
    if options.loads:
        holds &= policy_load.report(MANY, options.loads)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
