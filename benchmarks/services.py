# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What services cost: ours against a direct connection and chains as kube-proxy's, and what the module does with them.

    make bench      or      python benchmarks/services.py [--rounds 20] [--sizes 10,1000,10000,50000]
    in seconds:             python benchmarks/services.py --rounds 3 --sizes 10,100 --loads 1 --services 100

Each network stands beside the others, for each number of services: see services_ground.py. The service that is asked
for is the last one, for which chains are in the worst position. A slice is new connections (the handshake alone, from
the SYN on), and whole connections (with a byte there and back, between processes on two CPUs); see alternation.py for
rounds. By eBPF they are measured once more with as many rules of policies by eBPF, with and without the bypass of the
host, against forwarding with neither. Then what the module does with so many services is timed: see services_load.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "collections"))

from ansible_collections.podnet.fabric.benchmarks import policy_ground, services_ground, services_load, traffic
from ansible_collections.podnet.fabric.benchmarks.alternation import Bound, Figure, Key, Slice, one_round, report
from ansible_collections.podnet.fabric.benchmarks.services_ground import (
    BESIDE_POLICIES,
    EBPF,
    LEGACY,
    MOST,
    NFT,
    NFTABLES,
    OURS,
    PLAIN,
    RESTORE,
)

SIZES = (10, 1000, 10_000, 50_000)
FEW, MANY = 10, 10_000
SLICE = 0.03  # seconds

FIGURES = {
    "connection": Figure("new connection p50", 1e6, "us"),
    "rate": Figure("connections per second", 1, "/s"),
    "whole": Figure("connections per second, each with a byte there and back", 1, "/s"),
}
FLAT = [Bound("connection", (how, MANY), (how, FEW), 1.15, required=how in (NFTABLES, EBPF)) for how in OURS]
FASTER = [
    Bound(figure, (EBPF, MANY), (how, MANY), limit, least=True)
    for figure in ("rate", "whole")
    for how, limit in ((LEGACY, 1.3), (NFT, 2.5))
]
UNHINDERED = [
    Bound(figure, (how, MANY), (PLAIN, FEW), 1, least=True, required=False)
    for how in BESIDE_POLICIES
    for figure in ("rate", "whole")
]


def keys(sizes: list[int], ways: list[str]) -> list[Key]:
    """All networks; the direct connection once."""
    wanted = [(how, size) for size in sizes for how in ways if how != PLAIN or size == sizes[0]]
    return [(how, size) for how, size in wanted if size <= MOST.get(how, size)]


def sliced(peer: traffic.Peer, count: int, whole: int) -> Slice:
    """The median of a handshake in seconds, handshakes and whole connections per second."""
    times = traffic.handshakes(peer, count)
    return {
        "connection": statistics.median(times),
        "rate": len(times) / sum(times),
        "whole": traffic.connections(peer, whole),
    }


def measured(wanted: list[Key], rounds: int) -> list[dict[Key, Slice]]:
    """The slices of all networks, round by round."""
    grounds: list[policy_ground.Ground] = []
    peers: dict[Key, traffic.Peer] = {}
    client, *others = sorted(os.sched_getaffinity(0))
    try:
        for number, key in enumerate(wanted):
            begin = time.monotonic()
            grounds.append(services_ground.build(number, *key))
            network = grounds[-1].network
            ends = network.netns("client"), network.netns("pod")
            asked = services_ground.asked(*key)
            peers[key] = traffic.open_connections(
                *ends, asked, services_ground.ELSEWHERE, others[0] if others else client
            )
            print(f"{key[0]} at {key[1]:,} stands after {time.monotonic() - begin:.1f} s", file=sys.stderr)
        traffic.before_others(client)
        counts = {}
        for key, peer in peers.items():
            warm = sliced(peer, 30, 30)
            counts[key] = max(int(SLICE / warm["connection"]), 15), max(int(SLICE * warm["whole"]), 15)
        return [one_round(peers, lambda key: sliced(peers[key], *counts[key])) for _round in range(rounds)]
    finally:
        for peer in peers.values():
            traffic.close_peer(peer)
        for ground in grounds:
            policy_ground.destroy(ground)


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    ways = [PLAIN, *OURS, *BESIDE_POLICIES, *RESTORE]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of services; 0 for no packets")
    parser.add_argument("--ways", default=",".join(ways), help="what is measured")
    parser.add_argument("--loads", type=int, default=7, help="how often the module's own work is timed")
    parser.add_argument("--services", type=int, default=MANY, help="how many services that is done with")
    options = parser.parse_args()
    # Ended from outside, it still takes its namespaces along.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    sizes = [int(size) for size in options.sizes.split(",") if int(size)]
    chosen = options.ways.split(",")
    unknown = set(chosen) - set(ways)
    if unknown:
        parser.error(f"--ways {', '.join(sorted(unknown))}: known are {', '.join(ways)}")
    everywhere = os.sched_getaffinity(0)
    holds = True
    if sizes:
        begin = time.monotonic()
        rounds = measured(keys(sizes, chosen), options.rounds)
        traffic.among_others(everywhere)
        print(f"medians of {len(rounds)} rounds, {time.monotonic() - begin:.0f} s with building")
        holds = report(rounds, FIGURES, [*FLAT, *FASTER, *UNHINDERED], "services", PLAIN)
    if options.loads:
        holds &= services_load.report(chosen, options.services, options.loads)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
