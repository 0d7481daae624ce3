# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the module takes for policies: everything loaded, nothing to do, one endpoint more.

All that the module does is timed from its parameters on, with observing before and verifying after. The rules are
ipBlocks of one policy, or pods of other nodes that it selects: from nothing, where eBPF has its programs verified and
attached, too, and where one rule stands already.

One endpoint more is told by the module policy_endpoint, which takes nothing else, from its parameters to its answer,
with what it notes down: the bound is for that, and for one pod that podnet-attach puts under these policies, from its
labels on. Programs at its interface are no matter of rules. Besides, of the module policy with the parameters of the
whole cluster, which it reads, compares and declares anew: all that it does; of that the packet filter's part, from
rendered policies on, with the first look at the node and the last; and of that the change itself: the difference to
what stands, changing it, and looking up what was changed. What stands is read where it is not known: nftables tells by
a number that nobody else had a transaction meanwhile, and eBPF's tables are changed by nobody but a program that counts
(ebpf/writing.h).
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.benchmarks import policy_ground, traffic
from ansible_collections.podnet.fabric.benchmarks.dataplane import interval
from ansible_collections.podnet.fabric.benchmarks.network import Network, run
from ansible_collections.podnet.fabric.benchmarks.policy_ground import EBPF, NFTABLES, POD
from ansible_collections.podnet.fabric.plugins.module_utils import reconcile as reconciling
from ansible_collections.podnet.fabric.plugins.module_utils.attach import (
    datapath,
    elements,
    enforcement,
    table,
    tabulation,
)
from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed, nft_reading
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS, Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import backends, ebpf, nftables
from ansible_collections.podnet.fabric.plugins.module_utils.policy import telling
from ansible_collections.podnet.fabric.plugins.module_utils.policy.endpoints import inspect_endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND, enforced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Seconds, of the issue.
FULL = {NFTABLES: 1.0, EBPF: 0.25}
ONE_MORE = {NFTABLES: 0.010, EBPF: 0.001}
CHANGED, OBSERVED = "of that the change", "of that the packet filter"
TOLD = "one endpoint more, told alone"
ATTACHED, PROGRAMS = "one pod attached, elements", "and programs at its interface"
_FIRST = int(ipaddress.ip_address("10.64.0.0"))

Times = dict[str, float]


def pods(backend: str, count: int) -> dict[str, Any]:
    """Parameters of the module: so many pods elsewhere may reach one here."""
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}],
    }
    there = [
        {
            "name": f"client{number}",
            "node": "elsewhere",
            "labels": {"app": "client"},
            "addresses": [str(ipaddress.ip_address(_FIRST + 2 * number))],
        }
        for number in range(count)
    ]
    here = {"name": "web", "node": "here", "labels": {"app": "web"}, "addresses": [POD]}
    policy = {"metadata": {"name": "web"}, "spec": spec}
    return {"backend": backend, "node": "here", "attach": True, "policies": [policy], "endpoints": [here, *there]}


def report(count: int, times: int) -> bool:
    """Prints the times of each backend, and whether the bounds hold."""
    holds = True
    for backend in (NFTABLES, EBPF):
        runs = [apart(lambda backend=backend: loads(backend, count)) for _time in range(times)]  # type: ignore[misc]
        print(f"\nthe module with {backend} and {count:,} rules, medians of {times} runs, ms [95 %]")
        bounds = {
            "all loaded, blocks": FULL[backend],
            "all loaded, pods": FULL[backend],
            TOLD: ONE_MORE[backend],
            ATTACHED: ONE_MORE[backend],
        }
        holds &= tell(runs, bounds)
    return holds


def tell(runs: Sequence[Times], bounds: Mapping[str, float]) -> bool:
    """Prints a line for each time, and whether the bounds hold, which are in seconds."""
    holds = True
    for name in runs[0]:
        median, low, high = interval([each[name] for each in runs])
        verdict = ""
        if name in bounds:
            good = median <= bounds[name]
            holds &= good
            verdict = f", at most {bounds[name] * 1e3:g}: {'holds' if good else 'DOES NOT HOLD'}"
        print(f"  {name:<34}{median * 1e3:>9.1f} [{low * 1e3:.1f} {high * 1e3:.1f}]{verdict}")
    return holds


def with_a_pod() -> None:
    """Make a bridge with a pod's interface on the node that this process is on, and come before others there."""
    run("ip", "link", "add", "podnet0", "type", "bridge")
    run("ip", "link", "add", "pod", "type", "veth", "peer", "name", "eth0")
    run("ip", "link", "set", "pod", "master", "podnet0")
    traffic.before_others(max(os.sched_getaffinity(0)))


def loads(backend: str, count: int) -> Times:
    """On a node with a bridge and a pod."""
    with_a_pod()
    found: Times = {}
    _loaded(found, "blocks", lambda rules: policy_ground.parameters(backend, rules), count)
    declarations = _loaded(found, "pods", lambda rules: pods(backend, rules), count, keep=True)
    more = [pods(backend, count + number) for number in (1, 2)]
    found["one endpoint more, with all others"] = timed(lambda: _reconcile(more[0], declarations))
    found.update(_packet_filter(more[1]))
    found[TOLD] = _told(backend, count)
    return found


def _loaded(
    found: Times, name: str, parameters: Callable[[int], dict[str, Any]], count: int, keep: bool = False
) -> Declarations:
    declarations = Declarations(Path(tempfile.mkdtemp(dir="/run")))
    few, many = parameters(1), parameters(count)
    found[f"from nothing, {name}"] = timed(lambda: _reconcile(many, declarations))
    _reconcile(None, declarations)
    _reconcile(few, declarations)
    for label in ("all loaded", "nothing to do"):
        found[f"{label}, {name}"] = timed(lambda: _reconcile(many, declarations))
    if not keep:
        _reconcile(None, declarations)
    return declarations


def timed(call: Callable[[], object]) -> float:
    """The seconds of a call that knows nothing of what was read before."""
    nft_reading.forget()
    ebpf_sealed.unlearn()
    IP_TEXTS.clear()
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _reconcile(params: dict[str, Any] | None, declarations: Declarations) -> None:
    with Host() as host:
        items = {} if params is None else {"podnet": KIND.normalise("podnet", params, None, host)}
        if not reconciling.reconcile(KIND, items, host, declarations).operations and params is None:
            raise SystemExit("nothing was there to be removed")


def _packet_filter(params: dict[str, Any]) -> Times:
    """From rendered policies on until the packet filter has them and says so; of that the change."""
    with Host() as host:
        item = KIND.normalise("podnet", params, None, host)
        wanted = {item["backend"]: enforced(item, host)}
        renderers: dict[str, Callable[..., Any]] = {NFTABLES: nftables.render, EBPF: ebpf.render}
        # As packetfilter/backends.py asks for it, so that it is asked for once.
        wanted[item["backend"]].rendered(renderers[item["backend"]], *([None] if item["backend"] == NFTABLES else []))
        nft_reading.forget()
        ebpf_sealed.unlearn()
        begin = time.perf_counter()
        target = backends.target(wanted, [item["backend"]], host)
        observed = time.perf_counter()
        operations = reconciling.diff(KIND.facilities, target)
        reconciling.apply(KIND.facilities, operations, host)
        changed = time.perf_counter()
        host.forget()
        left = reconciling.diff(KIND.facilities, backends.target(wanted, [item["backend"]], host))
        end = time.perf_counter()
        known = tabulation.tabulated(item, wanted[item["backend"]])
    if not operations or left:
        raise SystemExit(f"one endpoint more made {len(operations)} operations and left {len(left)}")
    return {OBSERVED: end - begin, CHANGED: changed - observed, **_attached(known)}


def _told(backend: str, count: int) -> float:
    """As the module policy_endpoint has it, with what is kept of it: on a node whose declaration is in its place."""
    with_own_etc()
    Path(f"{table.PATH}.aside").unlink(missing_ok=True)
    _reconcile(pods(backend, count), Declarations())
    enforcement.enforce()
    (more,) = pods(backend, count + 1)["endpoints"][count + 1 :]
    begin = time.perf_counter()
    (inspected,) = inspect_endpoints(Inspection(), "endpoints", [more])
    outcome = telling.tell([inspected], (), "here")
    told = time.perf_counter() - begin
    if not outcome.changed or outcome.reconciled:
        raise SystemExit("one endpoint told is not some elements")
    return told


def with_own_etc() -> None:
    """Have /etc/podnet to oneself."""
    folders = "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work"
    run("mkdir", "-p", "/run/etc/upper", "/run/etc/work")
    run("mount", "-t", "overlay", "overlay", "-o", folders, "/etc")
    run("mkdir", "-p", "/etc/podnet")
    run("mount", "-t", "tmpfs", "tmpfs", "/etc/podnet")


def _attached(known: Mapping[str, Any] | None) -> Times:
    """As attach/plugin.py has it, without the file that the table is in."""
    run("ip", "link", "add", "late", "type", "veth", "peer", "name", "eth1")
    run("ip", "link", "set", "late", "master", "podnet0")
    address = POD.rpartition(".")[0] + ".99"
    about = ("late", "eth0", "podnet", "", "default", "late", {"app": "web"}, [address])
    late = Attached(*about, wiring=[{"name": "late"}])
    begin = time.perf_counter()
    told, bridge, programs = table.elements(known, late), table.bridge(known), table.programs(known)
    if not told:
        raise SystemExit("one pod attached is not some elements")
    if programs is None:
        elements.add(told, late, bridge)
        return {ATTACHED: time.perf_counter() - begin}
    indexes = [socket.if_nametoindex("late")]
    datapath.put_elements(told, programs, late, indexes if bridge else ())
    done = time.perf_counter()
    datapath.put_programs(indexes)
    return {ATTACHED: done - begin, PROGRAMS: time.perf_counter() - done}


def apart(call: Callable[[], Times]) -> Times:
    """What a call gives in a process on a node of its own."""
    network = Network(f"pnl{os.getpid()}-", "")
    run("ip", "netns", "add", network.netns("node"))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            policy_ground.enter(network.netns("node"))
            os.write(writer, json.dumps(call()).encode())
        except BaseException:  # noqa: BLE001
            print(traceback.format_exc()[:3000], file=sys.stderr)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    run("ip", "netns", "delete", network.netns("node"))
    if not told:
        raise SystemExit("the module's work could not be timed; the error stands above")
    found: Times = json.loads(told)
    return found
