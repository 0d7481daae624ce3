# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where podnet-attach puts a pod under policies by itself, there is what a reconcile makes of it, or it says no.

So it is where a node is told of a pod of another one. With random policies: of eBPF on the kernel's own tries, of
iptables by the sets that there are to be.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import given, seed

from ansible_collections.podnet.fabric.plugins.module_utils.attach import datapath, table, tabulation
from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached
from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, programs
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_tables, ipsets
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import backends, ebpf, iptables_sets
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import in_words
from ansible_collections.podnet.fabric.plugins.module_utils.policy.endpoints import inspect_endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND, enforced
from tests.conformance import drawn
from tests.conformance.examples import in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.conformance import naive
    from tests.integration.conftest import Namespace

EXAMPLES = 150
SEED = 20261126


def test_random_pods_are_what_a_reconcile_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # No program is attached here, so any kernel will do.
    monkeypatch.setattr(programs, "has_tcx", lambda: True)
    seen = {"elements": 0, "peers": 0, "elsewhere": 0, "named": 0, "reconcile": 0}

    @seed(SEED)
    @in_turn(EXAMPLES)
    @given(drawn.clusters(("n0", "n1")))
    def attach(cluster: naive.Cluster) -> None:
        for pod, others in _pods(cluster):
            known, before, after = _enforced(cluster, others, pod, {"backend": "ebpf"})
            told = _told(known, pod)
            if told is None or known is None:
                seen["reconcile"] += 1
                continue
            with ebpf_tables.trie(before.rendered(ebpf.render)) as trie:
                try:
                    needed, found = datapath.entries(trie.descriptor, told, known["programs"], _own(pod))
                except ValueError:
                    seen["reconcile"] += 1
                    continue
                added = {key: ebpf.VALUE.pack(value) for key, value in [*needed, *found]}
                there = {**maps.elements(trie), **added}
                assert ebpf.describe(there) == ebpf.describe(after.rendered(ebpf.render)), (cluster, pod)
            seen["elements"] += 1
            seen["named"] += any(pod["ports"]) and bool(told)
            as_peer = any(name not in datapath.HOOKS for name, _address, _guard in told)
            seen["peers" if _own(pod) else "elsewhere"] += as_peer

    attach()
    assert min(seen.values()) > EXAMPLES // 10, seen


def test_random_pods_come_to_the_sets_that_a_reconcile_brings_them_to(netns: Namespace) -> None:
    # One that stands, so that there are such.
    netns.run("ipset", "create", iptables_sets.names(()).name(4, "trial"), "hash:ip")
    called = iptables_sets.names(ipsets.names())
    seen = {"elements": 0, "peers": 0, "elsewhere": 0, "named": 0, "reconcile": 0}

    @seed(SEED)
    @in_turn(EXAMPLES)
    @given(drawn.clusters(("n0", "n1")))
    def attach(cluster: naive.Cluster) -> None:
        for pod, others in _pods(cluster):
            backend = {"backend": "iptables", "iptables_flavour": "nft"}
            known, before, after = _enforced(cluster, others, pod, backend)
            told = _told(known, pod)
            if told is None:
                seen["reconcile"] += 1
                continue
            assert bool(before.compiled.prepared) == bool(after.compiled.prepared)
            if not before.compiled.prepared:
                assert not told
                continue
            had, has = (backends.in_roles("nft", each, called) for each in (before, after))
            assert had.rules == has.rules, (cluster, pod)
            sets = {name: set(each.elements) for name, each in had.sets.items()}
            for name, address, _chain in told:
                assert address not in sets[name], (cluster, pod)
                sets[name].add(address)
            assert sets == {name: set(each.elements) for name, each in has.sets.items()}, (cluster, pod)
            # A run goes there in place as well, and back.
            for one, other, there in ((had, has, after), (has, had, before)):
                found = iptables_sets.fitting(partial(backends.in_roles, "nft", there), one.sets, one.rules)
                assert found == other, (cluster, pod)
            seen["elements"] += 1
            seen["named"] += any(pod["ports"]) and bool(told)
            leading = {name for way in has.ways.values() for name in way}
            as_peer = any(name not in leading for name, _address, _chain in told)
            seen["peers" if _own(pod) else "elsewhere"] += as_peer

    attach()
    assert min(seen.values()) > EXAMPLES // 10, seen


def _pods(cluster: naive.Cluster) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Each pod, and all that are there without it; ports that have names the inventory tells beforehand."""
    for new in cluster.endpoints:
        others = [each for each in cluster.endpoints if each is not new]
        expected = {**new, "addresses": [], "labels": {}}
        yield new, [*others, expected] if new["ports"] and new["node"] == "n0" else others


def _told(known: dict[str, Any] | None, pod: dict[str, Any]) -> list[Any] | None:
    if _own(pod):
        return table.elements(known, _attached(pod))
    (inspected,) = inspect_endpoints(Inspection(), "endpoints", [pod])
    return table.of_elsewhere(known, _attached(pod), in_words(tabulation.own_ports(inspected)))


def _own(pod: dict[str, Any]) -> Attached | None:
    """Where it is one of the node."""
    return _attached(pod) if pod["node"] == "n0" else None


def _enforced(
    cluster: naive.Cluster, others: list[Any], pod: dict[str, Any], backend: dict[str, str]
) -> tuple[dict[str, Any] | None, backends.Enforced, backends.Enforced]:
    """What is known without a pod, and what is in force without it and with it."""
    with Host() as host:
        rest = [each for each in others if each["addresses"]]
        former, item = (_item(cluster, each, host, backend) for each in (others, [*rest, pod]))
        before, after = enforced(former, host), enforced(item, host)
    known = tabulation.tabulated(former, before)
    return known, before, after


def _item(cluster: naive.Cluster, endpoints: list[Any], host: Host, backend: dict[str, str]) -> dict[str, Any]:
    given = {**backend, "node": "n0", "attach": True, **cluster._asdict(), "endpoints": endpoints}
    return KIND.normalise("podnet", {**given, "antispoofing": False}, None, host)


def _attached(pod: dict[str, Any]) -> Attached:
    about = (pod["name"], "eth0", "podnet", "", pod["namespace"], pod["name"], pod["labels"], pod["addresses"])
    return Attached(*about, wiring=[])
