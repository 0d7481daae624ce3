# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene, and services declared on its first node as the module does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from tests.conformance import service_cases as scene
from tests.integration.services import ground
from tests.integration.services.clients import Clients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Declarer:
    """Declares services on a node."""

    def __init__(self, folder: Path) -> None:
        self._declarations = Declarations(folder / "node.d")

    def declare(
        self, services: Sequence[Any], slices: Sequence[Any] = (), *, check: bool = False, **more: Any
    ) -> Result:
        """Of the module with `state: present`; without services as with `state: absent`."""
        given = {
            "node": "a",
            "pods": list(scene.PODS.values()),
            "blocks": list(scene.BLOCKS.values()),
            "ranges": list(scene.SERVICES.values()),
            "services": list(services),
            "slices": list(slices),
            "endpoints": [],
            **more,
        }
        with namespace.inside(ground.netns("a")), Host() as host:
            former = self._declarations.read(KIND.name)
            items = {"podnet": KIND.normalise("podnet", given, former.get("podnet"), host)} if services else {}
            return reconcile(KIND, items, host, self._declarations, check)

    def also(self, kind: Kind, given: dict[str, Any] | None) -> Result:
        """Declare one of another kind, or take it back."""
        with namespace.inside(ground.netns("a")), Host() as host:
            items = {} if given is None else {"podnet": kind.normalise("podnet", given, None, host)}
            return reconcile(kind, items, host, self._declarations)


@pytest.fixture(scope="session")
def _ground() -> Iterator[None]:
    try:
        ground.build()
        yield
    finally:
        ground.remove()


@pytest.fixture
def clients(_ground: None) -> Iterator[Clients]:
    """Servers in all pods."""
    with Clients() as found:
        yield found


@pytest.fixture
def declarer(_ground: None, tmp_path: Path) -> Iterator[Declarer]:
    """Leaves nothing on the node, which the test of it proves by a transaction that finds all to delete."""
    found = Declarer(tmp_path)
    yield found
    found.declare([])
