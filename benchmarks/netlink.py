# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the peers of a VXLAN device take, against `ip -batch` and `bridge -batch`, alternating in one session.

    make bench      or      python benchmarks/netlink.py [--rounds 5] [--sizes 1000 10000 20000]

Every round has a network namespace of its own and every step a process of its own, as two runs of a module have, so
nothing is left over from the one before and the peak memory is the step's own. Per peer there are a route, a neighbour
and an FDB entry, and on both sides a nexthop object, since without it the kernel's own cost is quadratic (last line).
The tools are timed from their start to their end; ours within a running Python, as a module has it, without Ansible.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "collections"))

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import apply, diff, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.vxlan import KIND

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNET = 0x40000000
DEVICE = "podnet-vx"
# The bounds, printed beside what was measured.
BOUND_APPLY, BOUND_UNCHANGED, BOUND_GROWTH = 0.7, 0.7, 1.5

Seconds = dict[str, float]


def peers(count: int) -> list[dict[str, Any]]:
    """As many peers, each with a /24 of its own."""
    return [
        {
            "name": f"node{n}",
            "underlay": f"172.{16 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}",
            "mac": f"02:00:00:{n >> 16:02x}:{(n >> 8) & 255:02x}:{n & 255:02x}",
            "blocks": [f"10.{n >> 8}.{n & 255}.0/24"],
        }
        for n in range(1, count + 1)
    ]


def params(count: int) -> dict[str, Any]:
    wanted = {"vni": 84, "port": 4789, "local": "192.0.2.1", "mac": "02:ff:00:00:00:01", "mtu": 1450}
    return {**wanted, "addresses": ["10.255.255.0/32"], "peers": peers(count)}


def run(*argv: str, stdin: str | None = None) -> str:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout


def prepared() -> None:
    """An underlay for the device, in the namespace of this process."""
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "cable")
    for device in ("eth0", "cable", "lo"):
        run("ip", "link", "set", device, "up")
    run("ip", "address", "add", "192.0.2.1/16", "dev", "eth0")


def clock(step: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    outcome = step()
    return time.perf_counter() - start, outcome


def ours(count: int) -> Seconds:
    """Declare the peers, then, in another process, declare them again."""
    fresh_namespace()
    return {**measured(lambda: _applied(count)), **measured(lambda: _unchanged(count))}


def _item(host: Host, count: int) -> dict[str, Any]:
    return {DEVICE: KIND.normalise(DEVICE, params(count), None, host)}


def _applied(count: int) -> Seconds:
    with tempfile.TemporaryDirectory() as folder, Host() as host:
        reconcile(KIND, _item(host, 0), host, Declarations(Path(folder) / "node.d"))
        items = _item(host, count)
        planning, operations = clock(lambda: diff(KIND.facilities, KIND.target(items, {}, host)))
        applying, _nothing = clock(lambda: apply(KIND.facilities, operations, host))
        verifying, left = clock(lambda: diff(KIND.facilities, KIND.target(items, {}, host)))
        assert (len(operations), left) == (4 * count, [])
    return {"apply": applying, "whole": planning + applying + verifying, "memory": peak()}


def _unchanged(count: int) -> Seconds:
    with Host() as host:
        items = _item(host, count)
        seconds, operations = clock(lambda: diff(KIND.facilities, KIND.target(items, {}, host)))
        assert operations == []
    return {"unchanged": seconds, "memory unchanged": peak()}


def peak() -> float:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tools(count: int, nexthops: bool = True) -> Seconds:
    """The same entries by `ip -batch` and `bridge -batch`, and the tables read by `ip -j` and `bridge -j`."""
    fresh_namespace()
    return measured(lambda: _tools(count, nexthops))


def _tools(count: int, nexthops: bool) -> Seconds:
    run("ip", "link", "add", DEVICE, "address", "02:ff:00:00:00:01", "type", "vxlan", "id", "84", "local", "192.0.2.1",
        "dev", "eth0", "dstport", "4789", "nolearning")  # fmt: skip
    run("ip", "link", "set", DEVICE, "up")
    words, entries = [], []
    for number, peer in enumerate(peers(count), 1):
        (block,) = peer["blocks"]
        gateway = block.removesuffix("/24")
        words.append(f"neigh replace {gateway} lladdr {peer['mac']} dev {DEVICE} nud permanent")
        if nexthops:
            words.append(f"nexthop add id {number} via {gateway} dev {DEVICE} onlink proto 84")
            words.append(f"route add {block} nhid {number} proto 84")
        else:
            words.append(f"route add {block} via {gateway} dev {DEVICE} onlink proto 84")
        entries.append(f"fdb replace {peer['mac']} dev {DEVICE} dst {peer['underlay']} self permanent")
    ip_script, bridge_script = "\n".join(words) + "\n", "\n".join(entries) + "\n"

    def batches() -> None:
        run("ip", "-batch", "-", stdin=ip_script)
        run("bridge", "-batch", "-", stdin=bridge_script)

    def tables() -> int:
        shown = [run("ip", "-j", "route", "show", "proto", "84"), run("ip", "-j", "neigh", "show", "dev", DEVICE)]
        shown += [run("bridge", "-j", "fdb", "show", "dev", DEVICE)]
        shown += [run("ip", "-j", "nexthop", "show", "dev", DEVICE)] if nexthops else []
        return sum(len(json.loads(text)) for text in shown)

    applying, _nothing = clock(batches)
    reading, entries_read = clock(tables)
    assert entries_read == (4 if nexthops else 3) * count, entries_read
    return {"apply": applying, "unchanged": reading}


def fresh_namespace() -> None:
    """Move this process into a new network namespace with an underlay; the one before goes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise SystemExit(f"unshare(CLONE_NEWNET): {os.strerror(ctypes.get_errno())}; run it as root")
    prepared()


def measured(step: Callable[[], Seconds]) -> Seconds:
    """Carry a step out in a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, json.dumps(step()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _pid, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("a round failed; its error stands above")
    return dict(json.loads(text))


def medians(rounds: list[Seconds]) -> Seconds:
    return {key: statistics.median(entry[key] for entry in rounds) for key in rounds[0]}


def memory(seconds: Seconds) -> str:
    return f"peak memory {seconds['memory']:.0f} MB, unchanged {seconds['memory unchanged']:.0f} MB"


def verdict(ratio: float, bound: float) -> str:
    return f"{ratio:5.2f} x  (bound {bound} x: {'holds' if ratio <= bound else 'DOES NOT HOLD'})"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--largest", type=int, default=20000)
    options = parser.parse_args()
    holds = True
    by_size: dict[int, Seconds] = {}
    print(
        f"medians of {options.rounds} alternating rounds; per peer a route, a nexthop, a neighbour and an FDB entry\n"
    )
    print(f"{'peers':>6}  {'step':<10} {'ours':>10} {'tools':>10}  ratio")
    for size in options.sizes:
        rounds: tuple[list[Seconds], list[Seconds]] = ([], [])
        for _round in range(options.rounds):
            rounds[0].append(ours(size))
            rounds[1].append(tools(size))
        mine, theirs = medians(rounds[0]), medians(rounds[1])
        by_size[size] = mine
        for step, bound in (("apply", BOUND_APPLY), ("unchanged", BOUND_UNCHANGED)):
            ratio = mine[step] / theirs[step]
            holds &= ratio <= bound
            times = f"{mine[step] * 1e3:>7.1f} ms {theirs[step] * 1e3:>7.1f} ms"
            print(f"{size:>6}  {step:<10} {times}  {verdict(ratio, bound)}")
        whole = f"{mine['whole'] * 1e3:.1f} ms, {mine['whole'] / theirs['apply']:.2f} x"
        print(f"{size:>6}  observe, diff, apply and verify: {whole}; {memory(mine)}")
    smallest = min(options.sizes)
    largest = medians([ours(options.largest) for _round in range(options.rounds)])
    print()
    for step in ("apply", "whole", "unchanged"):
        per_entry = largest[step] / options.largest, by_size[smallest][step] / smallest
        ratio = per_entry[0] / per_entry[1]
        holds &= ratio <= BOUND_GROWTH
        print(
            f"{step:<10} per peer at {options.largest}: {per_entry[0] * 1e6:.1f} us, at {smallest}: "
            f"{per_entry[1] * 1e6:.1f} us  {verdict(ratio, BOUND_GROWTH)}"
        )
    print(f"{options.largest} peers: {memory(largest)}")
    size = max(options.sizes)
    plain = tools(size, nexthops=False)["apply"]
    ratio = by_size[size]["apply"] / plain
    print(f"\nagainst ip -batch without nexthop objects at {size}: {plain * 1e3:.0f} ms, {ratio:.2f} x")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
