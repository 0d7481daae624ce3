# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet-attach adds to ADD: alternately with it, with a plugin that does nothing, and without any.

    make bench      or      python benchmarks/attach.py [--rounds N] [--pods N] [BACKEND ...]

On a node of its own (namespaces) with policies, a pod and a number of pods of other nodes, pods are attached by the
reference plugins bridge and host-local, as a runtime does, and detached again. A round attaches a pod in each of
these ways:

    nothing     bridge alone
    no-op       and a plugin in Python that hands the result on, with as little as Python starts with
    unselected  and podnet-attach, for a pod that no policy selects and no peer of one means
    member      the same, for a pod that policies select as others before it, and that is a peer in a guard of the node
    first       the same, for a pod that is the first one on the node under its set of policies
    unforeseen  the same, for a pod that a set of policies selects for which nothing was prepared

It prints the medians, what podnet-attach adds to ADD, and the ratio to what the plugin that does nothing adds; the same
in CPU time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "collections"))

from tests.integration.cni.node import BLOCKS, SETUP, FakePlugins, Node  # noqa: E402
from tests.integration.cni.runtime import CONFLIST, Runtime  # noqa: E402

BACKENDS: dict[str, dict[str, Any]] = {
    "nftables": {"backend": "nftables"},
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "iptables-legacy": {"backend": "iptables", "iptables_flavour": "legacy"},
    "ebpf": {"backend": "ebpf"},
}
NOTHING, NO_OP = "nothing", "no-op"
LABELS = {
    "unselected": {"app": "other"},
    "member": {"app": "db", "tier": "web"},
    "first": {"app": "db", "only": "me"},
    "unforeseen": {"app": "db", "only": "me", "kind": "odd"},
}
# The least that a plugin in Python can do.
PASSES_ON = """#!/usr/bin/python3 -IS
import sys
from _json import encode_basestring_ascii, make_encoder, make_scanner


class Context:
    strict, object_hook, object_pairs_hook, parse_float, parse_int, parse_constant = True, None, None, float, int, float


result = make_scanner(Context)(sys.stdin.read(), 0)[0].get("prevResult")
encode = make_encoder(None, None, encode_basestring_ascii, None, ": ", ", ", False, False, True)
sys.stdout.write("".join(encode(result, 0)))
"""


def policies() -> list[dict[str, Any]]:
    """One for all databases, which web pods may reach, one for those that stand alone, and some for others."""

    def policy(name: str, labels: dict[str, str], peers: dict[str, str]) -> dict[str, Any]:
        ingress = [{"from": [{"podSelector": {"matchLabels": peers}}], "ports": [{"port": 5432}]}]
        return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": labels}, "ingress": ingress}}

    some = [policy(f"app{number}", {"app": f"app{number}"}, {"app": f"app{number + 1}"}) for number in range(20)]
    several = [("databases", {"app": "db"}, "web"), ("alone", {"only": "me"}, "x"), ("odd", {"kind": "odd"}, "x")]
    return [*(policy(name, labels, {"tier": tier}) for name, labels, tier in several), *some]


def endpoints(count: int) -> list[dict[str, Any]]:
    """A database and a web pod on the node, and the others' pods."""
    found = [
        {
            "name": "db0",
            "node": "here",
            "labels": {"app": "db", "tier": "web"},
            "addresses": ["10.244.3.200", "fd00:10:244:3::c8"],
        },
        {"name": "app3", "node": "here", "labels": {"app": "app3"}, "addresses": ["10.244.3.201", "fd00:10:244:3::c9"]},
    ]
    for number in range(count):
        labels = {"app": f"app{number % 20}", "tier": "web" if number % 2 else "back"}
        address = f"10.{128 + number // 65536}.{number // 256 % 256}.{number % 256}"
        found.append({"name": f"far{number}", "node": "there", "labels": labels, "addresses": [address]})
    return found


def cpu() -> float:
    """Seconds of CPU that the processes have used which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(runtime: Runtime, way: str, plugins: dict[str, dict[str, Any]]) -> tuple[float, float]:
    """Milliseconds of ADD by all plugins of a way, and of CPU; detached again."""
    name = f"bench-{way}"
    runtime.node.run("ip", "netns", "add", name)
    chain = [plugins["bridge"]]
    if way != NOTHING:
        chain.append(plugins[NO_OP if way == NO_OP else "podnet-attach"])
    result: dict[str, Any] | None = None
    begin, used = time.perf_counter(), cpu()
    for plugin in chain:
        result = runtime.run("ADD", plugin, name, result, LABELS.get(way))
    took = ((time.perf_counter() - begin) * 1e3, (cpu() - used) * 1e3)
    for plugin in reversed(chain):
        runtime.run("DEL", plugin, name, result)
    runtime.node.run("ip", "netns", "delete", name)
    return took


def measure(backend: str, rounds: int, pods: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation=private", "sh", "-c", SETUP], stdout=subprocess.PIPE
        ) as holder,
    ):
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            node, fakes = Node(holder.pid), FakePlugins(Path(folder))
            node.run("sh", "-c", "mkdir -p /run/upper /run/work && mount -t bpf bpf /sys/fs/bpf")
            overlay = "lowerdir=/usr/local,upperdir=/run/upper,workdir=/run/work"
            node.run("mount", "-t", "overlay", "overlay", "-o", overlay, "/usr/local")
            (Path(folder) / NO_OP).write_text(PASSES_ON, encoding="ascii")
            (Path(folder) / NO_OP).chmod(0o755)
            node.module("cni_network", blocks=BLOCKS, mtu=1450, bin_dir=folder, attach=True)
            node.module("policy", node="here", policies=policies(), endpoints=endpoints(pods), **BACKENDS[backend])
            plugins = {each["type"]: each for each in json.loads(node.read(CONFLIST))["plugins"]}
            plugins[NO_OP] = {"type": NO_OP}
            runtime = Runtime(node, str(fakes.directory))
            node.run("ip", "netns", "add", "resident")
            runtime.attach("resident", {"app": "resident"})
            ways = (NOTHING, NO_OP, *LABELS)
            for way in ways:
                timed(runtime, way, plugins)  # code is compiled once after each boot
            took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for number in range(rounds):
                for place in range(len(ways)):
                    way = ways[(place + number) % len(ways)]
                    took[way].append(timed(runtime, way, plugins))
        finally:
            holder.kill()
    print(f"{backend}, {pods} pods elsewhere, {rounds} rounds; medians in ms")
    for place, what in enumerate(("time", "CPU")):
        medians = {way: statistics.median(each[place] for each in took[way]) for way in ways}
        least = medians[NO_OP] - medians[NOTHING]
        print(f"  {what}: bridge alone {medians[NOTHING]:.1f}")
        for way in ways[1:]:
            added = medians[way] - medians[NOTHING]
            print(f"    {way:<10} {medians[way]:6.1f}, {added:6.1f} more, {added / least:5.2f} x the no-op plugin")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--pods", type=int, default=1000, help="pods of other nodes")
    parser.add_argument("backends", nargs="*", metavar="BACKEND", default=list(BACKENDS), help=", ".join(BACKENDS))
    options = parser.parse_args()
    for backend in options.backends:
        measure(backend, options.rounds, options.pods)


if __name__ == "__main__":
    main()
