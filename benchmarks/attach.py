# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet-attach adds to ADD, alternating with a plugin that does nothing.

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

It prints the medians of what podnet-attach adds to ADD, and the ratio to what the plugin that does nothing adds; the
same in CPU time, which other work on the machine disturbs less. Plugins are started from within the node, as by a
runtime, one after the other, and a plugin's time is from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

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
PAUSE = 0.1
"""Seconds in which the kernel takes a pod's namespace down, which delays whoever comes then."""
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

# Runs plugins, and tells their outputs and seconds, of time and of CPU.
STARTER = """
import json, os, resource, subprocess, sys, time

def used():
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime

for line in sys.stdin:
    program, variables, given = json.loads(line)
    before, begin = used(), time.perf_counter()
    done = subprocess.run([program], env={**os.environ, **variables}, input=given, capture_output=True, text=True)
    took = time.perf_counter() - begin
    print(json.dumps([done.returncode, done.stdout, took, used() - before]), flush=True)
"""


class Starter(NamedTuple):
    """Starts plugins on the node."""

    runtime: Runtime
    process: subprocess.Popen[str]

    def run(self, command: str, plugin: dict[str, Any], way: str, result: Any) -> tuple[dict[str, Any], float, float]:
        """A plugin's result, and its milliseconds, of time and of CPU."""
        variables, given = self.runtime.request(command, plugin, f"bench-{way}", result, LABELS.get(way))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        program = f"{self.runtime.bin_dir}/{plugin['type']}"
        self.process.stdin.write(json.dumps([program, variables, json.dumps(given)]) + "\n")
        self.process.stdin.flush()
        status, told, took, used = json.loads(self.process.stdout.readline())
        if status:
            raise SystemExit(f"{plugin['type']}: {command}: {told}")
        return json.loads(told or "{}"), took * 1e3, used * 1e3


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


def timed(starter: Starter, way: str, plugins: dict[str, dict[str, Any]]) -> tuple[float, float]:
    """Milliseconds of ADD by the last plugin of a way, and of CPU; detached again."""
    node = starter.runtime.node
    node.run("ip", "netns", "add", f"bench-{way}")
    chain = [plugins["bridge"]]
    if way != NOTHING:
        chain.append(plugins[NO_OP if way == NO_OP else "podnet-attach"])
    result: dict[str, Any] | None = None
    for plugin in chain:
        result, took, used = starter.run("ADD", plugin, way, result)
    for plugin in reversed(chain):
        starter.run("DEL", plugin, way, result)
    node.run("ip", "netns", "delete", f"bench-{way}")
    time.sleep(PAUSE)
    return took, used


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
            ways = [NOTHING, NO_OP, *LABELS]
            took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            in_turn = random.Random(20261127)
            with subprocess.Popen(
                [*node.enter, sys.executable, "-c", STARTER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                starter = Starter(runtime, process)
                for way in ways:
                    timed(starter, way, plugins)  # code is compiled once after each boot
                for _round in range(rounds):
                    for way in in_turn.sample(ways, len(ways)):
                        took[way].append(timed(starter, way, plugins))
                process.communicate()
        finally:
            holder.kill()
    print(f"{backend}, {pods} pods elsewhere, {rounds} rounds; medians in ms")
    for place, what in enumerate(("time", "CPU")):
        medians = {way: statistics.median(each[place] for each in took[way]) for way in ways}
        print(f"  {what}: bridge itself {medians[NOTHING]:.1f}; what comes after it adds")
        for way in ways[1:]:
            print(f"    {way:<10} {medians[way]:6.1f}, {medians[way] / medians[NO_OP]:5.2f} x the no-op plugin")


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
