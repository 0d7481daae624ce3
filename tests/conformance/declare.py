# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declares a world's policies on the two nodes, as the module does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND
from tests.conformance import cases
from tests.conformance.nodes import PODS, Nodes

if TYPE_CHECKING:
    from pathlib import Path

PORTS = [
    {"name": name, "protocol": protocol.upper(), "port": number} for name, (protocol, number) in cases.PORTS.items()
]
PLACES = {str(first + place): place for first in cases.FIRST.values() for place in range(PODS)}
"""An address's place in the row of pods."""


class Backend(NamedTuple):
    """What the module is asked for."""

    backend: str
    iptables_flavour: str = "auto"
    attach: bool = False


BACKENDS = {
    "nftables": Backend("nftables"),
    # One flavour with sets by content, and one with those that pods come to one by one.
    "iptables-nft": Backend("iptables", "nft", attach=True),
    "iptables-legacy": Backend("iptables", "legacy"),
    "ebpf": Backend("ebpf"),
}


def world(given: cases.World, built: Nodes, folder: Path, backend: str = "nftables") -> None:
    """Declare it on both nodes."""
    for node in built.nodes:
        on_node(given, built, node, folder, backend=backend)


def on_node(
    given: cases.World, built: Nodes, node: str, folder: Path, *, check: bool = False, backend: str = "nftables"
) -> Result:
    """Declare it on one node, whose declarations are below a folder of the test's.

    :param backend: one of BACKENDS
    """
    with namespace.inside(node):
        return here(given, built, node, folder, check=check, backend=backend)


def here(
    given: cases.World, built: Nodes, node: str, folder: Path, *, check: bool = False, backend: str = "nftables"
) -> Result:
    """The same for a thread that is on the node; of eBPF what is pinned goes with its bpffs."""
    params: dict[str, Any] = {
        "node": node,
        "policies": given.policies,
        "namespaces": given.namespaces,
        "endpoints": [_endpoint(pod, built) for pod in given.pods],
        **BACKENDS[backend]._asdict(),
    }
    with Host() as host:
        items = {"podnet": KIND.normalise("podnet", params, None, host)}
        return reconcile(KIND, items, host, Declarations(folder / node), check)


def _endpoint(pod: cases.Pod, built: Nodes) -> dict[str, Any]:
    return {
        "namespace": pod.namespace,
        "name": pod.name,
        "node": built.nodes[built.node_of(PLACES[pod.addresses[4]])],
        "labels": pod.labels,
        "addresses": list(pod.addresses.values()),
        "ports": PORTS,
    }
