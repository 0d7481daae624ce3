# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sixteen controllers that get and give back blocks all at once: how many updates a second, and is each one right?

    python benchmarks/ledger.py [UPDATES] [file | etcd]

makes 10,000 updates in all, by default, with each store, every one with its fsync. It fails when a block was two nodes'
at a time or an update got lost. etcd is a single member on this machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "collections"))

from ansible_collections.podnet.fabric.tests.integration.ledger import writers  # noqa: E402
from ansible_collections.podnet.fabric.tests.integration.ledger.etcd import Etcd  # noqa: E402

WRITERS = 16


def measure(settings: dict[str, Any], updates: int) -> None:
    """Run the writers, check what they were told, print the pace."""
    began = time.monotonic()
    told = writers.told(writers.start(settings, WRITERS, updates // WRITERS))
    took = time.monotonic() - began
    writers.check(told, writers.store(settings).read())
    assert len(told) == updates // WRITERS * WRITERS
    got = sum(update.deed == "got" for update in told)
    slowest = max(update.ended - update.began for update in told)
    print(
        f"{settings['store']:5} {WRITERS} writers, {got} blocks got, {len(told) - got} given back, "
        f"none twice, none lost: {took:.1f} s, {len(told) / took:.0f} a second, the slowest {slowest:.2f} s",
        flush=True,
    )


def main(updates: int = 10_000, stores: tuple[str, ...] = ("file", "etcd")) -> None:
    """Measure the stores."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        if "file" in stores:
            measure({"store": "file", "path": str(folder / "ledger.json")}, updates)
        if "etcd" in stores:
            etcd = Etcd(folder)
            etcd.start()
            try:
                measure({"store": "etcd", "endpoints": [etcd.url]}, updates)
                found = etcd.found(writers.LEDGER_KEY)
                assert found is not None
                assert int(found["version"]) == updates // WRITERS * WRITERS, "etcd has counted other writes"
            finally:
                etcd.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000, tuple(sys.argv[2:]) or ("file", "etcd"))
