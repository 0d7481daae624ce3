# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An etcd for all tests that do not harm it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.tests.integration.ledger.etcd import Etcd


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One member without TLS and authentication."""
    member = Etcd(tmp_path_factory.mktemp("etcd"))
    member.start()
    yield member
    member.kill()


@pytest.fixture
def etcd(shared_etcd: Etcd) -> Etcd:
    """The shared member, with nothing in it."""
    shared_etcd.ctl("del", "", "--from-key=true")
    return shared_etcd


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    """A member that the test may kill."""
    member = Etcd(tmp_path)
    member.start()
    yield member
    member.kill()
