# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where podnet-attach puts a pod into eBPF's table by itself, that has what a reconcile makes of it, or it says no.

With random policies, on the kernel's own tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, seed

from ansible_collections.podnet.fabric.plugins.module_utils.attach import datapath, table, tabulation
from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached
from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, programs
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND, enforced
from tests.conformance import drawn
from tests.conformance.examples import in_turn

if TYPE_CHECKING:
    import pytest

    from tests.conformance import naive

EXAMPLES = 150
SEED = 20261126


def test_random_pods_are_what_a_reconcile_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # No program is attached here, so any kernel will do.
    monkeypatch.setattr(programs, "has_tcx", lambda: True)
    seen = {"elements": 0, "peers": 0, "reconcile": 0}

    @seed(SEED)
    @in_turn(EXAMPLES)
    @given(drawn.clusters(("n0", "n1")))
    def attach(cluster: naive.Cluster) -> None:
        for new in [each for each in cluster.endpoints if each["node"] == "n0"]:
            pod = {**new, "ports": []}
            others = [each for each in cluster.endpoints if each is not new]
            with Host() as host:
                former, item = (_item(cluster, each, host) for each in (others, [*others, pod]))
                before, after = enforced(former, host), enforced(item, host)
            known = tabulation.tabulated(former, before)
            assert known is not None
            told = table.elements(known, _attached(pod))
            if told is None:
                seen["reconcile"] += 1
                continue
            with ebpf_tables.trie(before.rendered(ebpf.render)) as trie:
                try:
                    needed, found = datapath.entries(trie.descriptor, _attached(pod), told, known["programs"]["ports"])
                except ValueError:
                    seen["reconcile"] += 1
                    continue
                added = {key: ebpf.VALUE.pack(value) for key, value in [*needed, *found]}
                there = {**maps.elements(trie), **added}
                assert ebpf.describe(there) == ebpf.describe(after.rendered(ebpf.render)), (cluster, pod)
            seen["elements"] += 1
            seen["peers"] += any(name not in datapath.HOOKS for name, _address, _guard in told)

    attach()
    assert min(seen.values()) > EXAMPLES // 10, seen


def _item(cluster: naive.Cluster, endpoints: list[Any], host: Host) -> dict[str, Any]:
    given = {"backend": "ebpf", "node": "n0", "attach": True, **cluster._asdict(), "endpoints": endpoints}
    return KIND.normalise("podnet", {**given, "antispoofing": False}, None, host)


def _attached(pod: dict[str, Any]) -> Attached:
    about = (pod["name"], "eth0", "podnet", "", pod["namespace"], pod["name"], pod["labels"], pod["addresses"])
    return Attached(*about, wiring=[])
