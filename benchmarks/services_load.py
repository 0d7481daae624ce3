# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the module takes for services: everything loaded, nothing to do, one service changed.

All that the module does is timed from its parameters on to its answer, with observing before and verifying after: from
nothing, and where one service stands already. Of both that and one service changed more is told: all that the module
does with the documents of the whole cluster, which it inspects, compiles, renders and declares anew; of that the packet
filter's part, from what they come to on, with the first look at the node and the last; and of one change the change
itself. The bound for loading is that of the packet filter's part, the one for a change that of the change itself, as
with policies (policy_load.py).

One service changed is told, too, by the module service_update, which takes nothing else, from its parameters to its
answer, with what it keeps of that: as the first one of a process. Its bound is the same.

Chains by hand are written by the text of iptables-restore, all of it and what one service's change takes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.benchmarks import policy_ground, services_ground, traffic
from ansible_collections.podnet.fabric.benchmarks.network import run
from ansible_collections.podnet.fabric.benchmarks.policy_load import (
    Times,
    apart,
    tell,
    timed,
    with_a_pod,
    with_own_etc,
)
from ansible_collections.podnet.fabric.benchmarks.services_ground import EBPF, NFTABLES, OURS, RESTORE
from ansible_collections.podnet.fabric.plugins.module_utils import reconcile as reconciling
from ansible_collections.podnet.fabric.plugins.module_utils import resource_module
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import keep_netfilter, let_netfilter_go
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND, ServiceKind
from ansible_collections.podnet.fabric.plugins.module_utils.service import telling, update
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds, of the issue, with 10,000 services.
ASKED = 10_000
FULL = {NFTABLES: 1.0, EBPF: 0.25}
ONE_CHANGED = {NFTABLES: 0.030, EBPF: 0.005}
LOADED = "all loaded, packet filter"
CHANGED, OBSERVED = "one service changed, the change", "with observing before and after"
NOTED, TOLD = "noting all down, to be told of one", "one service changed, told alone"


def report(ways: Sequence[str], count: int, times: int) -> bool:
    """Prints the times of each way, and whether the bounds hold."""
    holds = True
    for how in ways:
        work = loads if how in OURS else by_hand if how in RESTORE else None
        if work is None:
            continue
        runs = [apart(lambda how=how, work=work: work(how, count)) for _time in range(times)]  # type: ignore[misc]
        print(f"\n{how} with {count:,} services, medians of {times} runs, ms [95 %]")
        bounds = {}
        if how in FULL and count == ASKED:
            bounds = {LOADED: FULL[how], CHANGED: ONE_CHANGED[how], TOLD: ONE_CHANGED[how]}
        holds &= tell(runs, bounds)
    return holds


def loads(how: str, count: int) -> Times:
    """Ours, on a node with a bridge and a pod."""
    with_a_pod()
    folder = policy_ground.folder()
    few, many = services_ground.parameters(how, 1), services_ground.parameters(how, count)
    changed = services_ground.parameters(how, count, count // 2)
    found: Times = {"from nothing": timed(lambda: _run(many, folder))}
    _run(None, folder)
    _run(few, folder)
    found["all loaded"] = timed(lambda: _run(many, folder))
    _run(few, folder)
    found[LOADED] = _packet_filter(many, Declarations(folder))[1]
    _run(many, folder)
    found["nothing to do"] = timed(lambda: _run(many, folder))
    found["one service changed, all"] = timed(lambda: _run(changed, folder))
    # That one back.
    found[CHANGED], found[OBSERVED] = _packet_filter(many, Declarations(folder))
    if how in ONE_CHANGED:
        _run(None, folder)
        with_own_etc()
        found[NOTED], found[TOLD] = _told(many, changed, count // 2)
    return found


def _told(many: dict[str, Any], changed: dict[str, Any], number: int) -> tuple[float, float]:
    """As the modules have it; how long it takes to note down what all services come to, and to tell of one."""
    kind = ServiceKind(since=nothing)
    declarations = Declarations()
    with Host() as host:
        reconciling.reconcile(kind, {"podnet": kind.normalise("podnet", many, None, host)}, host, declarations)
    noted = timed(lambda: telling.after_all(declarations, kind))
    keep_netfilter()
    one, its_pod = changed["services"][number], changed["endpoints"][number]
    outcomes = []

    def tell_of_it() -> None:
        given = update.inspected([one], [], [its_pod], is_there=True)
        outcomes.append(telling.tell(given, declarations))

    taken = timed(tell_of_it)
    let_netfilter_go()
    if not outcomes[0].changed or outcomes[0].reconciled:
        raise SystemExit("one service told is not some elements")
    with Host() as host:
        items = declarations.read(kind.name)
        left = reconciling.reconcile(ServiceKind(), items, host, declarations, check=True).operations
    if left:
        raise SystemExit(f"one service told left {len(left)}")
    return noted, taken


def by_hand(how: str, count: int) -> Times:
    """Chains as kube-proxy's."""
    everything, one = services_ground.chains(count), services_ground.one_changed(count // 2, count)
    traffic.before_others(max(os.sched_getaffinity(0)))
    return {
        "from nothing": timed(lambda: run(RESTORE[how], stdin=everything)),
        "one service changed, all": timed(lambda: run(RESTORE[how], "--noflush", stdin=one)),
    }


def _run(params: dict[str, Any] | None, folder: Any) -> None:
    """As resource_module.run() does it, without Ansible."""
    kind, declarations = type(KIND)(), Declarations(folder)
    with Host() as host:
        former = declarations.read(kind.name).get("podnet")
        items = {} if params is None else {"podnet": kind.normalise("podnet", params, former, host)}
        result = reconciling.reconcile(kind, items, host, declarations)
        resource_module.report(kind, result, diff=False)
    if params is None and not result.operations:
        raise SystemExit("nothing was there to be removed")


def _packet_filter(params: dict[str, Any], declarations: Declarations) -> tuple[float, float]:
    """The change itself, and all from what services come to on until the packet filter has that and says so."""
    kind = type(KIND)()
    with Host() as host:
        former = declarations.read(kind.name)
        items = {"podnet": kind.normalise("podnet", params, former["podnet"], host)}
        # A run looks twice, and compiles once: that has been by now.
        kind.target(items, former, host)
        nft_reading.forget()
        ebpf_sealed.unlearn()
        begin = time.perf_counter()
        target = kind.target(items, former, host)
        observed = time.perf_counter()
        operations = reconciling.diff(kind.facilities, target)
        reconciling.apply(kind.facilities, operations, host)
        changed = time.perf_counter()
        host.forget()
        left = reconciling.diff(kind.facilities, kind.target(items, former, host))
        end = time.perf_counter()
    if not operations or left:
        raise SystemExit(f"{len(operations)} operations left {len(left)}")
    return changed - observed, end - begin
