# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for each test, and plugins that do as told."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import PLUGINS, SETUP, FakePlugins, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node() -> Iterator[Node]:
    """A node with a pod bridge."""
    assert (PLUGINS / "bridge").exists(), f"{PLUGINS}: install the Debian package containernetworking-plugins"
    with subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation=private", "sh", "-c", SETUP], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n", "the node could not be made"
            yield Node(holder.pid)
        finally:
            holder.kill()


@pytest.fixture
def fakes(tmp_path: Path) -> FakePlugins:
    """Plugins that do as told, beside the real ones."""
    directory = tmp_path / "bin"
    directory.mkdir()
    return FakePlugins(directory)
