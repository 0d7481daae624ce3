# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene, and services declared on its first node as the module does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.attach import filters
from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import OURS
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import bridged
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from tests.conformance import service_cases as scene
from tests.integration.policy.node_thread import NodeThread
from tests.integration.services import ground
from tests.integration.services.clients import Clients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


BACKENDS: dict[str, dict[str, Any]] = {
    "nftables": {"backend": "nftables"},
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "iptables-legacy": {"backend": "iptables", "iptables_flavour": "legacy"},
    "ebpf": {"backend": "ebpf"},
}
# As it is beside policies by eBPF. Beside nftables this is what "ebpf" comes to.
PROGRAMS: dict[str, dict[str, Any]] = {
    f"{name}-programs": {**BACKENDS[name], "programs": True} for name in ("iptables-nft", "iptables-legacy")
}
# What pods say to each other goes past the host.
BYPASS: dict[str, dict[str, Any]] = {"ebpf-bypass": {"backend": "ebpf", "bypass": True}}
# At interfaces that podnet-attach has given clsact.
FILTERS: dict[str, dict[str, Any]] = {"ebpf-filters": {"backend": "ebpf", "bypass": True}}
EVERY = {**BACKENDS, **PROGRAMS, **BYPASS, **FILTERS}


class Declarer:
    """Declares services on a node, by one of the backends unless another is given."""

    def __init__(self, folder: Path, backend: str, node: NodeThread) -> None:
        self.backend = backend
        self.node = node
        self._folder = folder / "node.d"
        self.declarations = Declarations(self._folder)

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
        given = self.parameters(services, slices, **more)
        return self._on_node(KIND, given if services else None, check, here)

    def parameters(self, services: Sequence[Any], slices: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
        """Of the module."""
        return {
            "node": "a",
            "pods": list(scene.PODS.values()),
            "blocks": list(scene.BLOCKS.values()),
            "ranges": list(scene.SERVICES.values()),
            "services": list(services),
            "slices": list(slices),
            "endpoints": [],
            **EVERY[self.backend],
            **more,
        }

    def lose(self) -> None:
        """Remove what tells of the services, as somebody might."""
        (self._folder / f"{KIND.name}.json").unlink()

    def also(self, kind: Kind, given: dict[str, Any] | None) -> Result:
        """Declare one of another kind, or take it back."""
        return self._on_node(kind, given)

    def _on_node(self, kind: Kind, given: dict[str, Any] | None, check: bool = False, here: bool = False) -> Result:
        def run() -> Result:
            with Host() as host:
                former = self.declarations.read(kind.name)
                known = {} if given is None else {"podnet": kind.normalise("podnet", given, former.get("podnet"), host)}
                return reconcile(kind, known, host, self.declarations, check)

        return run() if here else self.node.run(run)


@pytest.fixture(scope="session")
def _ground() -> Iterator[NodeThread]:
    try:
        ground.build()
        node = NodeThread(ground.netns("a"))
        yield node
        node.close()
    finally:
        ground.remove()


@pytest.fixture
def clients(_ground: NodeThread) -> Iterator[Clients]:
    """Servers in all pods."""
    with Clients() as found:
        yield found


@pytest.fixture(params=BACKENDS)
def declarer(_ground: NodeThread, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Declarer]:
    """Leaves nothing on the node, which is proven after each test."""
    if request.param in ("ebpf", *PROGRAMS, *BYPASS, *FILTERS) and not programs.has_tcx():
        pytest.skip("programs of services take Linux 6.6")
    if request.param in FILTERS:
        _ground.run(give_clsact)
    found = Declarer(tmp_path, request.param, _ground)
    yield found
    found.declare([])
    assert left() == []
    assert "clsact" not in ground.node_says("tc", "qdisc", "show")
    assert not _ground.run(OURS.exists)


def give_clsact() -> None:
    """What an ADD leaves at the interfaces of pods, but for the filters."""
    with Host() as host:
        for device in bridged.ports("podnet0", host):
            filters.put(host.index[device], [])


def left() -> list[str]:
    """Lines of what is of ours on the node, in whichever packet filter."""
    commands = ["nft list ruleset", "ipset save"]
    commands += [f"{program}-{flavour}-save" for program in ("iptables", "ip6tables") for flavour in ("nft", "legacy")]
    shown = "".join(ground.node_says(*command.split()) for command in commands)
    return [line for line in shown.splitlines() if "podnet" in line.lower()]
