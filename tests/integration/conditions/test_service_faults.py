# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by eBPF with a fault at an operation: the next run ends as if nothing had been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from tests.integration.rounds import Rounds

from .test_module_faults import clear, faulty, network

if TYPE_CHECKING:
    from .test_module_faults import FaultyNode

__all__ = ["faulty", "network"]

# Rules and sets with what they hold, and pins by their names (a datapath's is a digest).
LEFT = """
nft list ruleset | sort
find /sys/fs/bpf -mindepth 1 | sed 's/[0-9]*$//' | sort
"""


def served(port: int, flows: int) -> dict[str, Any]:
    """A service with a pod of this node behind it."""
    web = {"name": "web", "node": "n1", "labels": {"app": "web"}, "addresses": ["10.244.3.8", "fd00:10:244:3::8"]}
    spec = {
        "clusterIPs": ["10.96.0.10", "fd00:10:96::10"],
        "selector": {"app": "web"},
        "ports": [{"name": name, "port": port, "protocol": name.upper()} for name in ("tcp", "udp")],
    }
    return {
        "node": "n1",
        "pods": ["10.244.0.0/16", "fd00:10:244::/48"],
        "services": [{"metadata": {"name": "web"}, "spec": spec}],
        "endpoints": [web],
        "backend": "ebpf",
        "flows": flows,
    }


@pytest.mark.skipif(not programs.has_tcx(), reason="services by eBPF take Linux 6.6")
def test_a_run_with_a_fault_is_completed_by_the_next(network: FaultyNode) -> None:
    network.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    network.module("pod", pods=[{"name": "a"}])
    absent = {"node": "n1", "state": "absent"}
    operations = 0
    for start, wanted in ((absent, served(80, 1024)), (served(80, 1024), served(81, 2048)), (served(81, 2048), absent)):
        network.module("service", **start)
        network.module("service", **wanted)
        left = network.run("sh", "-c", LEFT)
        rounds = Rounds(61, operations)
        for _fault in rounds:
            network.module("service", **start)
            fault, reason, said = network.faulty(rounds, "service", **wanted)
            if not fault:
                break
            if said:
                clear(fault, reason, said)
                network.module("service", **wanted)
            assert not network.module("service", **wanted)["changed"], (fault, said)
            assert network.run("sh", "-c", LEFT) == left, (fault, said)
        assert said == ""
        operations += rounds.at
    assert operations > 40
