# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a move from one dataplane to another costs running pods: lost packets, the longest stall of TCP, its time.

    make bench      or      python benchmarks/switching.py [DATAPLANE ...]
    tests/vm/run -- .venv/bin/python benchmarks/switching.py vxlan geneve ipip wireguard       where the kernel has them

Makes a lab of three nodes on one subnet, and goes from each dataplane to each other one by playbooks/site.yml, as an
operator does. During each move a pod on each node sends to the next node's: a thousand numbered packets a second over
IPv4 and as many over IPv6, and a TCP transfer beside each. The playbooks are those of the molecule scenarios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "collections"))

from ansible_collections.podnet.fabric.benchmarks import two_nodes
from ansible_collections.podnet.fabric.benchmarks.network import DATAPLANES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
INVENTORIES = ROOT / "molecule" / "resources" / "inventories"
# The bounds.
LOST, STALL_MS = 0, 200.0


class Lab(NamedTuple):
    """Nodes under names that no other lab has."""

    prefix: str
    inventory: Path

    def play(self, playbook: str, **variables: Any) -> float:
        """Seconds that a playbook took; the whole ends with its output where it fails."""
        given = json.dumps({"lab_prefix": self.prefix, **variables})
        argv = ["ansible-playbook", "-i", str(self.inventory), "-e", given, str(ROOT / playbook)]
        begin = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, env=environment())
        if done.returncode:
            raise SystemExit(f"{playbook} {given}\n{done.stdout}{done.stderr}")
        return time.monotonic() - begin


def environment() -> dict[str, str]:
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": search, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def circuit(names: Sequence[str]) -> list[str]:
    """A way round that takes each ordered pair once (Hierholzer): as many moves as pairs, and back at the start."""
    left = {name: [other for other in reversed(names) if other != name] for name in names}
    stack, walk = [names[0]], []
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    return walk[::-1]


def moved(lab: Lab, dataplane: str, senders: Sequence[str] | None) -> tuple[float, dict[str, Any]]:
    """Seconds of a move, and the report of the streams that ran meanwhile."""
    only = {} if senders is None else {"streams_senders": list(senders)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        lab.play("molecule/resources/streams_start.yml", **only)
        seconds = lab.play("playbooks/site.yml", podnet_dataplane=dataplane, podnet_verify=False)
        lab.play("molecule/resources/streams_stop.yml", streams_file=str(file), streams_tolerant=True)
        return seconds, dict(json.loads(file.read_text(encoding="utf-8")))


def row(came_from: str, went_to: str, seconds: float, report: dict[str, Any]) -> tuple[str, bool]:
    """A line of the table; whether the move was without loss."""
    numbers = [flow for flow in report["flows"] if flow["protocol"] == "udp"]
    transfers = [flow for flow in report["flows"] if flow["protocol"] == "tcp"]
    lost, sent = sum(flow["lost"] for flow in numbers), sum(flow["sent"] for flow in numbers)
    gap = max(flow["gap_ms"] for flow in numbers)
    stall = max(flow["stall_ms"] for flow in transfers)
    holds = not report["failures"] and lost <= LOST and stall <= STALL_MS
    verdict = "holds" if holds else "DOES NOT HOLD"
    figures = f"{lost:>6} of {sent:<8} {gap:>8.1f} ms {stall:>8.1f} ms {seconds:>7.1f} s"
    return f"{came_from:>10} -> {went_to:<10} {figures}  {verdict}", holds


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inventory", default="subnet", help="of molecule/resources/inventories: subnet or two_nodes")
    parser.add_argument("--senders", nargs="+", help="the nodes that send; all of them when not given")
    parser.add_argument("dataplanes", nargs="*", metavar="DATAPLANE", help=", ".join(DATAPLANES))
    options = parser.parse_args()
    names = options.dataplanes or [name for name in DATAPLANES if two_nodes.offered(name)]
    absent = [name for name in names if not two_nodes.offered(name)]
    if absent or len(names) < 2:
        raise SystemExit(
            f"found {', '.join(names)} of which the kernel lacks {', '.join(absent) or 'none'}; wanted two"
        )
    lab = Lab(f"bench{os.getpid()}-", INVENTORIES / f"{options.inventory}.yml")
    walk = circuit(names)
    holds = True
    print(f"{'move':^24} {'lost of sent':^18} {'longest gap':>11} {'TCP stall':>11} {'site.yml':>9}")
    try:
        lab.play("playbooks/lab.yml")
        lab.play("playbooks/site.yml", podnet_dataplane=walk[0], podnet_verify=False)
        for came_from, went_to in itertools.pairwise(walk):
            seconds, report = moved(lab, went_to, options.senders)
            line, good = row(came_from, went_to, seconds, report)
            holds &= good
            print("\n".join([line, *(f"  {text}" for text in report["failures"])]))
    finally:
        lab.play("playbooks/lab.yml", lab_state="absent")
        for file in INVENTORIES.glob(f".{lab.prefix}podnet-ledger.json*"):
            file.unlink()
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
