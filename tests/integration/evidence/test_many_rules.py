# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A packet filter of many rules does not make the evidence slow: only chains are listed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Namespace


@pytest.mark.parametrize("tool", ["iptables-nft-restore", "iptables-legacy-restore"])
def test_fifty_thousand_rules_do_not_hold_it_up(netns: Namespace, tmp_path: Path, tool: str) -> None:
    rules = "".join(f"-A FORWARD -s 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/32 -j ACCEPT\n" for n in range(50000))
    netns.run(tool, stdin=f"*filter\n{rules}COMMIT\n")
    start = time.monotonic()
    with Host() as host:
        found = dataplane.describe(host, Declarations(tmp_path / "node.d"), [], None, tmp_path / "root")
    assert time.monotonic() - start < 3
    assert found["unknown"] == []
