# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that get and give back blocks all at once, and a check of what each of them was told.

    python -m ansible_collections.podnet.fabric.tests.integration.ledger.writers STORE NAME COUNT

is one writer. It prints a line for each update: when it began and ended, what it did, and to which block.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger, Store, blocks_by_node, settle
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_etcd import EtcdStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_file import FileStore

CLUSTER = "test"
LEDGER_KEY = f"/podnet/{CLUSTER}/ledger"
HELD_AT_ONCE = 3  # by each writer
# Few blocks, so that one that is given back is soon somebody else's: 64 for 16 writers with three each.
POOLS = [Pool("four", ipaddress.ip_network("10.0.0.0/18"), 24, True)]
IMPORT_PATH = str(Path(ledger.__file__).absolute().parents[5])
WITHIN = 540  # seconds


class Told(NamedTuple):
    """What a writer was told of one update; times are seconds of the machine's monotonic clock."""

    began: float
    ended: float
    deed: str  # got or released
    node: str
    block: str


def store(settings: dict[str, Any]) -> Store:
    """Return the store that settings name."""
    if settings["store"] == "file":
        return FileStore(Path(settings["path"]), CLUSTER, lock_seconds=120)
    return EtcdStore(Access(tuple(settings["endpoints"])), "/podnet", CLUSTER, patience=120)


def start(settings: dict[str, Any], writers: int, count: int) -> list[subprocess.Popen[str]]:
    """Start writers that make count updates each."""
    module = f"{__package__}.writers"
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(settings), f"w{number}", str(count)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": IMPORT_PATH},
        )
        for number in range(writers)
    ]


def told(processes: list[subprocess.Popen[str]]) -> list[Told]:
    """Wait for the writers and return what they were told."""
    lines = [line for process in processes for line in process.communicate(timeout=WITHIN)[0].splitlines()]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [Told(*json.loads(line)) for line in lines]


def check(updates: list[Told], left: Ledger) -> None:
    """Check that no block was two nodes' at a time, and that the ledger holds what the writers do, and no more."""
    lives: dict[str, dict[str, Told]] = defaultdict(dict)
    for update in updates:
        assert update.deed not in lives[update.node], f"{update.node} {update.deed} twice"
        lives[update.node][update.deed] = update
    of_block: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for node, deeds in lives.items():
        # It is the node's for sure from the end of the one update to the beginning of the other.
        until = deeds["released"].began if "released" in deeds else float("inf")
        of_block[deeds["got"].block].append((deeds["got"].ended, until, node))
    for block, spans in of_block.items():
        spans.sort()
        for (_from, until, one), (since, _until, other) in itertools.pairwise(spans):
            assert until <= since, f"{block} of {one} and of {other} at a time"
    holding = {node: deeds["got"].block for node, deeds in lives.items() if "released" not in deeds}
    assert {node: str(blocks[0].network) for node, blocks in blocks_by_node(left).items()} == holding


def _write(settings: dict[str, Any], name: str, count: int) -> None:
    mine: dict[str, str] = {}
    kept = store(settings)
    for number in range(count):
        began = time.monotonic()
        if len(mine) < HELD_AT_ONCE:
            deed, node = "got", f"{name}-{number}"
            _before, after = kept.update(lambda held, node=node: _settled(held, [*blocks_by_node(held), node]))  # type: ignore[misc]
            mine[node] = str(blocks_by_node(after)[node][0].network)
        else:
            deed, node = "released", next(iter(mine))
            kept.update(lambda held, node=node: _settled(held, [one for one in blocks_by_node(held) if one != node]))  # type: ignore[misc]
        update = Told(began, time.monotonic(), deed, node, mine[node])
        if deed == "released":
            del mine[node]
        sys.stdout.write(json.dumps(update) + "\n")
        sys.stdout.flush()
        if settings["store"] == "file":
            time.sleep(0.0005)  # a loop without a pause would never let the others have the lock


def _settled(held: Ledger, nodes: list[str]) -> Ledger:
    settlement = settle(held, nodes, POOLS, now=0, rest=0)
    assert not settlement.shortages
    return settlement.ledger


if __name__ == "__main__":
    _write(json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
