# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time that the plan takes as the inventory grows, against a run of Ansible that does nothing on it.

    python benchmarks/plan.py [--sizes 100 1000 5000] [--rounds 3]

The difference is the plan's: variables of all hosts, validation, allocation, the ledger written (first) or found right
(again), the fact handed to every host. Medians of alternating rounds; CPU seconds of Ansible with all its processes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
TASKS: dict[str, dict[str, Any]] = {
    "nothing": {"ansible.builtin.set_fact": {"nothing": 1}},
    "plan": {"podnet.fabric.plan": {}},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("nodes   nothing s   first s   again s   first ms/node   again ms/node")
    for size in options.sizes:
        rounds = [measure(size) for _round in range(options.rounds)]
        nothing, first, again = (statistics.median(column) for column in zip(*rounds, strict=True))
        per_node = [f"{(seconds - nothing) * 1000 / size:13.2f}" for seconds in (first, again)]
        print(f"{size:5}   {nothing:9.2f}   {first:7.2f}   {again:7.2f}   {per_node[0]}   {per_node[1]}", flush=True)


def measure(size: int) -> tuple[float, float, float]:
    """Return the CPU seconds of a run that does nothing, one that gives out all blocks, and one that gives out none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hosts = {
            f"node{number}": {"ansible_host": f"192.0.{number // 250}.{number % 250 + 1}"} for number in range(size)
        }
        pools = [{"name": "four", "cidr": "10.64.0.0/10"}, {"name": "six", "cidr": "fd00:10:244::/48"}]
        inventory = {"podnet": {"hosts": hosts, "vars": {"podnet_pools": pools}}}
        (folder / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")
        (folder / "ansible.cfg").touch()
        for which, task in TASKS.items():
            play = {"hosts": "podnet", "gather_facts": False, "tasks": [{**task, "run_once": True}]}
            (folder / f"{which}.yml").write_text(json.dumps([play]), encoding="utf-8")
        return (run(folder, "nothing"), run(folder, "plan"), run(folder, "plan"))


def run(folder: Path, which: str) -> float:
    """Return the CPU seconds that a playbook takes."""
    command = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if command is None:
        sys.exit("ansible-playbook: not found, wanted beside this Python or on PATH; run make venv")
    start = cpu_seconds()
    subprocess.run(
        [command, "-i", str(folder / "hosts.yml"), str(folder / f"{which}.yml")],
        check=True,
        stdout=subprocess.DEVNULL,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        },
    )
    return cpu_seconds() - start


def cpu_seconds() -> float:
    """Return what all runs so far have used, which a busy machine does not change."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
