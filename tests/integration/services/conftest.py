# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene, and services declared on its first node as the module does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import OURS
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from tests.conformance import service_cases as scene
from tests.integration.policy.node_thread import NodeThread
from tests.integration.services import ground
from tests.integration.services.clients import Clients
from tests.integration.services.offered import BACKENDS, nft

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Declarer:
    """Declares services on a node, by one of the backends."""

    def __init__(self, folder: Path, node: NodeThread, backend: str) -> None:
        self._declarations = Declarations(folder / "node.d")
        self.node, self.backend = node, backend

    def declare(
        self,
        services: Sequence[Any],
        slices: Sequence[Any] = (),
        *,
        check: bool = False,
        here: bool = False,
        **more: Any,
    ) -> Result:
        """Of the module with `state: present`; without services as with `state: absent`.

        :param here: in this thread, which is on the node by now
        """
        given = {
            "node": "a",
            "pods": list(scene.PODS.values()),
            "blocks": list(scene.BLOCKS.values()),
            "ranges": list(scene.SERVICES.values()),
            "services": list(services),
            "slices": list(slices),
            "endpoints": [],
            "backend": self.backend,
            **more,
        }
        return self._on_node(KIND, given if services else None, check, here)

    def also(self, kind: Kind, given: dict[str, Any] | None) -> Result:
        """Declare one of another kind, or take it back."""
        return self._on_node(kind, given)

    def _on_node(self, kind: Kind, given: dict[str, Any] | None, check: bool = False, here: bool = False) -> Result:
        def run() -> Result:
            with Host() as host:
                former = self._declarations.read(kind.name)
                known = {} if given is None else {"podnet": kind.normalise("podnet", given, former.get("podnet"), host)}
                return reconcile(kind, known, host, self._declarations, check)

        return run() if here else self.node.run(run)


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


@pytest.fixture(scope="session")
def _node(_ground: None) -> Iterator[NodeThread]:
    node = NodeThread(ground.netns("a"))
    yield node
    node.close()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """What sends connections on: each in turn that the kernel has."""
    if request.param == "ebpf" and not programs.has_tcx():
        pytest.skip("services by eBPF take Linux 6.6")
    return str(request.param)


@pytest.fixture
def declarer(_node: NodeThread, tmp_path: Path, backend: str) -> Iterator[Declarer]:
    """Leaves nothing on the node."""
    found = Declarer(tmp_path, _node, backend)
    yield found
    found.declare([])
    assert nft() == ""
    assert not _node.run(OURS.exists)
