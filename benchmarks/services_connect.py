# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node pays to connect to a service: as netfilter translates it, as sockets get a backend, and straight to one.

    python benchmarks/services_connect.py [--rounds 15] [--sizes 10,10000]

Each network stands beside the others, for each number of services: see services_ground.py. What asks is the node's own;
the service that it asks for is the last one. A slice is new connections, the handshake alone, from the socket on; see
alternation.py for rounds.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "collections"))

from ansible_collections.podnet.fabric.benchmarks import policy_ground, services_ground, traffic
from ansible_collections.podnet.fabric.benchmarks.alternation import Bound, Figure, Key, Slice, one_round, report
from ansible_collections.podnet.fabric.benchmarks.services_ground import CONNECT, EBPF, PLAIN

FEW, MANY = 10, 10_000
COUNT = 300
FIGURES = {"connection": Figure("new connection p50", 1e6, "us")}
BOUNDS = [
    *(Bound("connection", (CONNECT, size), (EBPF, size), 1) for size in (FEW, MANY)),
    Bound("connection", (CONNECT, MANY), (CONNECT, FEW), 1.15),
]


def measured(keys: list[Key], rounds: int) -> list[dict[Key, Slice]]:
    """The slices of all networks, round by round."""
    grounds: list[policy_ground.Ground] = []
    peers: dict[Key, traffic.Peer] = {}
    cpu = max(os.sched_getaffinity(0))
    try:
        for number, key in enumerate(keys):
            grounds.append(services_ground.build(number, *key))
            network = grounds[-1].network
            # Netfilter changes a destination after it has been looked up.
            way = ("ip", "route", "add", services_ground.RANGE, "via", services_ground.ELSEWHERE)
            network.inside("node", *way)
            peers[key] = traffic.open_connections(
                network.netns("node"),
                network.netns("pod"),
                services_ground.asked(*key),
                services_ground.ELSEWHERE,
                cpu,
            )
        for peer in peers.values():
            traffic.handshakes(peer, COUNT)
        return [one_round(peers, lambda key: _sliced(peers[key])) for _round in range(rounds)]
    finally:
        for peer in peers.values():
            traffic.close_peer(peer)
        for ground in grounds:
            policy_ground.destroy(ground)


def _sliced(peer: traffic.Peer) -> Slice:
    return {"connection": statistics.median(traffic.handshakes(peer, COUNT))}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", default=f"{FEW},{MANY}", help="numbers of services")
    options = parser.parse_args()
    # Ended from outside, it still takes its namespaces along.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    sizes = [int(size) for size in options.sizes.split(",")]
    rounds = measured([(PLAIN, sizes[0]), *((how, size) for size in sizes for how in (EBPF, CONNECT))], options.rounds)
    return 0 if report(rounds, FIGURES, BOUNDS, "services", PLAIN) else 1


if __name__ == "__main__":
    sys.exit(main())
