# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sixteen controllers at once, on either store; and an etcd that is killed under them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.ledger import writers
from ansible_collections.podnet.fabric.tests.integration.ledger.etcd import Etcd

WRITERS = 16
# Of each; benchmarks/ledger.py makes 10,000 in all. Fewer at etcd: of those who try at once, all but one try again.
AT_FILE, AT_ETCD = 60, 20


def test_sixteen_writers_at_a_file(tmp_path: Path) -> None:
    settings = {"store": "file", "path": str(tmp_path / "ledger.json")}
    updates = writers.told(writers.start(settings, WRITERS, AT_FILE))
    assert len(updates) == WRITERS * AT_FILE
    writers.check(updates, writers.store(settings).read())


def test_sixteen_writers_at_etcd(etcd: Etcd) -> None:
    settings = {"store": "etcd", "endpoints": [etcd.url]}
    updates = writers.told(writers.start(settings, WRITERS, AT_ETCD))
    assert len(updates) == WRITERS * AT_ETCD
    writers.check(updates, writers.store(settings).read())
    _counted(etcd, updates)


def test_an_etcd_that_is_killed_under_its_writers(own_etcd: Etcd) -> None:
    settings = {"store": "etcd", "endpoints": [own_etcd.url]}
    processes = writers.start(settings, 6, 80)
    for _outage in range(3):
        count = _version(own_etcd)
        while _version(own_etcd) < count + 30:
            time.sleep(0.02)
        own_etcd.kill()
        own_etcd.start()
    assert any(process.poll() is None for process in processes), "the writers were done before the last outage"
    updates = writers.told(processes)
    assert len(updates) == 6 * 80
    writers.check(updates, writers.store(settings).read())
    _counted(own_etcd, updates)


def _version(etcd: Etcd) -> int:
    found: dict[str, Any] | None = etcd.found(writers.LEDGER_KEY)
    return 0 if found is None else int(found["version"])


def _counted(etcd: Etcd, updates: list[writers.Told]) -> None:
    """Each update that a writer was told of has been written once: etcd counts the writes of a key."""
    assert _version(etcd) == len(updates)


@pytest.mark.parametrize("deed", ["got", "released"])
def test_the_check_of_the_writers_finds_a_lost_update(etcd: Etcd, deed: str) -> None:
    settings = {"store": "etcd", "endpoints": [etcd.url]}
    updates = writers.told(writers.start(settings, 2, 5))
    left = writers.store(settings).read()
    writers.check(updates, left)
    lost = max(index for index, update in enumerate(updates) if update.deed == deed)
    with pytest.raises((AssertionError, KeyError)):
        writers.check([update for index, update in enumerate(updates) if index != lost], left)
