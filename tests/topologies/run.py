# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds random clusters on this machine, proves each, and takes it off again: `make topologies`.

    python -m ansible_collections.podnet.fabric.tests.topologies.run [SEED...]

For each: site.yml, which verifies; a second run, which may change nothing; status.yml; dataplane.yml; teardown, after
which each node has to be as it was. What the playbooks print goes to build/topologies/SEED.log.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, TextIO

import yaml

from ansible_collections.podnet.fabric.tests.topologies import drawn

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "build/topologies"
SEEDS = range(1, 9)
_SECONDS = 900.0
_RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=([1-9]\d*)", re.MULTILINE)


class Step(NamedTuple):
    """A playbook; ``last`` ones are played whatever happened before, and ``quiet`` ones change nothing."""

    name: str
    playbook: str
    more: tuple[str, ...] = ()
    quiet: bool = False
    last: bool = False


STEPS = (
    Step("lab", "playbooks/lab.yml"),
    Step("prepare", "molecule/resources/prepare.yml"),
    Step("beside", "molecule/resources/beside.yml"),
    Step("site", "playbooks/site.yml"),
    Step("again", "playbooks/site.yml", quiet=True),
    Step("status", "playbooks/status.yml", quiet=True),
    Step("dataplane", "playbooks/dataplane.yml", quiet=True),
    Step("teardown", "molecule/resources/cleanup.yml"),
    Step("end", "playbooks/lab.yml", ("-e", "lab_state=absent"), last=True),
)


def prove(seed: int) -> list[str]:
    """What was not as it should be with the cluster of a seed."""
    folder = FOLDER / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    inventory = drawn.cluster(seed)
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    say(f"{seed}: {drawn.told(inventory)}")
    wrong: list[str] = []
    with (FOLDER / f"{seed}.log").open("w", encoding="utf-8") as log:
        for step in STEPS:
            if not wrong or step.last:
                wrong += [f"{step.name}: {text}" for text in play(step, folder / "hosts.yml", log)]
    return wrong


def play(step: Step, inventory: Path, log: TextIO) -> list[str]:
    """What was not as it should be with a playbook."""
    argv = ["ansible-playbook", "-i", str(inventory), step.playbook, *step.more]
    try:
        done = subprocess.run(
            argv,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return [f"no end within {_SECONDS:g} s"]
    log.write(f"### {step.name}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        return [f"exit status {done.returncode}"]
    return [f"{host} has {number} changes" for host, number in _RECAP.findall(done.stdout) if step.quiet]


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(f"topologies: {text}\n")
    sys.stdout.flush()


def main(words: list[str]) -> int:
    """Prove the clusters of these seeds, or of the usual ones; 0 when nothing was wrong."""
    failed = 0
    for seed in map(int, words) if words else SEEDS:
        begin = time.monotonic()
        wrong = prove(seed)
        failed += bool(wrong)
        verdict = "; ".join(wrong) or "ok"
        say(f"{seed}: {verdict} after {time.monotonic() - begin:.0f} s, log build/topologies/{seed}.log")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
