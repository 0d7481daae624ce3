# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three nodes in one subnet, both families."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.tests.integration.bgp.fabric import Speaker, made, switch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _bird() -> None:
    if shutil.which("bird") is None:
        pytest.fail("these tests run BIRD: install the Debian package bird2", pytrace=False)


@pytest.fixture
def nodes() -> Iterator[list[Speaker]]:
    """Three nodes, 192.0.2.1 to .3 and 2001:db8::1 to ::3, with an address in each of their blocks."""
    with made([0, 1, 2, 3]) as (middle, *found):
        switch(middle)
        for node in found:
            node.cable(middle, "eth0", f"{node.local}/24", f"{node.second}/64")
            node.have_pods()
        yield found
