# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""As test_faults.py, for the kinds whose links not every kernel makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.resources import wireguard
from tests.integration.kinds import needs_link_kind

from . import test_tunnels, test_wireguard
from .sweep import Case, sweep

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Node


def geneve_or_ipip(name: str) -> Case:
    kind, item = test_tunnels.KINDS[name]
    return Case(kind, item, test_tunnels.params(name, 2, 3), test_tunnels.params(name, 3, 4))


WIREGUARD = Case(
    wireguard.KIND, test_wireguard.DEVICE, test_wireguard.params(2, 3), test_wireguard.params(3, 4, port=51821), step=7
)
CASES = [
    pytest.param(geneve_or_ipip("geneve"), id="geneve", marks=needs_link_kind("geneve")),
    pytest.param(geneve_or_ipip("ipip"), id="ipip", marks=[needs_link_kind("ipip"), needs_link_kind("ip6tnl")]),
    pytest.param(WIREGUARD, id="wireguard", marks=needs_link_kind("wireguard")),
]


@pytest.mark.parametrize("case", CASES)
def test_a_run_with_a_fault_at_any_operation_is_completed_by_the_next(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    monkeypatch.setattr(wireguard_keys, "DIRECTORY", tmp_path / "podnet" / "wireguard")
    sweep(node, tmp_path, case)
