# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the jobs that need a kernel with every tunnel, two guests at a time, each on a processor of its own.

    .ci/vm [NAME...]

`inside` is pytest of tests/vm/inside and of each file below tests/integration that calls `needs_link_kind`; `systemd`
is tests/vm/boot in a guest that boots twice; the others are the molecule scenarios of tests/vm/scenarios.txt. What a
job prints goes to build/vm/NAME.log. PODNET_VM_TIMEOUT is the time limit of each, in seconds. Where no kernel can be
started, this fails.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.tests.vm import watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
SCENARIOS = REPOSITORY / "tests/vm/scenarios.txt"
LOGS = REPOSITORY / "build/vm"
REPORTS = REPOSITORY / "build/reports"
RUN = os.fspath(REPOSITORY / "tests/vm/run")
INSIDE, SYSTEMD = "inside", "systemd"
_GUESTS = 2
_PROGRESS = 60.0
_LINES_OF_END = 60
_LINES_OF_FAILURE = 12
_BAD = re.compile(r"fatal: |^(FAILED|ERROR|E  )")


@dataclasses.dataclass(frozen=True)
class Task:
    """Something to run in a guest."""

    name: str
    argv: tuple[str, ...]
    boots: int = 0  # with systemd


@dataclasses.dataclass
class Running:
    """A task that has begun."""

    task: Task
    cpu: int
    process: subprocess.Popen[bytes]
    begin: float
    told: float


def scenarios(text: str) -> list[str]:
    """The names of scenarios.txt, longest first."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [name for name, _seconds in sorted(rows, key=lambda row: -float(row[1]))]


def needing(folder: Path) -> list[Path]:
    """The files of tests that are skipped where the kernel lacks a kind of link."""
    return sorted(path for path in folder.rglob("test_*.py") if "needs_link_kind(" in path.read_text())


def tasks(wanted: Sequence[str]) -> list[Task]:
    """Those with the wanted names, or all, in the order to start them. ValueError for an unknown name."""
    files = [REPOSITORY / "tests/vm/inside", *needing(REPOSITORY / "tests/integration")]
    report = f"--junitxml={REPORTS / 'vm.xml'}"
    pytest = ("python", "-m", "pytest", "-p", "no:cacheprovider", report, *(os.fspath(path) for path in files))
    known = [Task(INSIDE, pytest)]
    known += [Task(name, (".ci/molecule", name)) for name in scenarios(SCENARIOS.read_text())]
    # A file of tests for each boot, run by a shell because only the guest knows which one it is.
    which = f"--junitxml={REPORTS}/vm-boot-$n.xml tests/vm/boot/test_${{n}}_*.py"
    booted = f"n=$PODNET_VM_BOOT; exec python -m pytest -p no:cacheprovider {which}"
    known.append(Task(SYSTEMD, ("sh", "-c", booted), boots=2))
    names = [task.name for task in known]
    if unknown := [name for name in wanted if name not in names]:
        raise ValueError(f"no job {', '.join(unknown)}; known: {', '.join(names)}")
    return [task for task in known if task.name in (wanted or names)]


def provider() -> str | None:
    """The provider that starts here, tried with a guest of its own; None when there is none, and the reason is printed.

    What has to be built is built here, where the lines of its progress are seen.
    """
    words = [RUN, "--timeout", "120", "--", "sh", "-c", 'echo "$PODNET_VM_PROVIDER: Linux $(uname -r)"']
    tried = subprocess.run(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if tried.returncode != 0:
        return None
    say(tried.stdout.strip())
    return tried.stdout.partition(":")[0]


def start(task: Task, provider: str, cpu: int, seconds: float) -> Running:
    """Begin a task; what it prints goes to its log."""
    options = ["--provider", provider, "--timeout", f"{seconds:g}"]
    if task.boots:
        # This machine is not going to boot for a test, so where it needs no guest for the others, this one does.
        options = ["--boots", str(task.boots), *(["--timeout", f"{seconds:g}"] if provider == "native" else options)]
    if provider != "native":
        options += ["--cpu", str(cpu)]
    for folder in (LOGS, REPORTS):
        folder.mkdir(parents=True, exist_ok=True)
    with log_of(task).open("wb") as log:
        process = subprocess.Popen(
            [RUN, *options, "--writable", os.fspath(REPORTS), "--", *task.argv],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    say(f"{task.name}: begins, log in {log_of(task).relative_to(REPOSITORY)}")
    now = time.monotonic()
    return Running(task, cpu, process, now, now)


def run(waiting: Iterable[Task], provider: str, cpus: Iterable[int], seconds: float) -> dict[str, tuple[int, float]]:
    """Exit status and seconds of each task. One at a time per processor; stopped ones are ended first."""
    queue, free = deque(waiting), deque(cpus)
    running: list[Running] = []
    done: dict[str, tuple[int, float]] = {}
    try:
        while queue or running:
            while queue and free:
                running.append(start(queue.popleft(), provider, free.popleft(), seconds))
            time.sleep(0.5)
            now = time.monotonic()
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.cpu)
                done[one.task.name] = (one.process.returncode, now - one.begin)
                tell_end(one.task, *done[one.task.name])
            for one in running:
                if now - one.told >= _PROGRESS:
                    one.told = now
                    say(f"{one.task.name}: {now - one.begin:.0f} s: {last_line(one.task)}")
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait()
    return done


def log_of(task: Task) -> Path:
    """Where a task's output goes."""
    return LOGS / f"{task.name}.log"


def last_line(task: Task) -> str:
    """The last line of a task's log that says something."""
    lines = [line for line in log_of(task).read_text(errors="replace").splitlines() if line.strip(" *-=")]
    return lines[-1].strip()[:100] if lines else "nothing printed so far"


def telling(lines: Sequence[str]) -> list[str]:
    """What failed by a failed task's log, however far up, and the end of that: a scenario tidies up at length."""
    farther = [line for line in lines[:-_LINES_OF_END] if _BAD.search(line)][-_LINES_OF_FAILURE:]
    return [*farther, *(["[...]"] if farther else []), *lines[-_LINES_OF_END:]]


def tell_end(task: Task, status: int, seconds: float) -> None:
    """Print a task's verdict, and with a bad one what its log says of that."""
    if status:
        lines = telling(log_of(task).read_text(errors="replace").splitlines())
        say("\n".join([f"{task.name}: from its log:", *(f"  | {line}" for line in lines)]))
    say(f"{task.name}: {'FAILED with ' + str(status) if status else 'ok'} after {seconds:.0f} s")


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(f"vm: {text}\n")
    sys.stdout.flush()


def main(wanted: list[str]) -> int:
    """Run the jobs with these names, or all; 0 when all have passed."""
    try:
        chosen = tasks(wanted)
    except ValueError as error:
        say(str(error))
        return 2
    watch.listen()
    begin = time.monotonic()
    try:
        found = provider()
        if found is None:
            say("no kernel with every tunnel can be started here (see above)")
            return 1
        cpus = sorted(os.sched_getaffinity(0))
        # On the machine itself, what one has made would be in the other's way; qemu takes all processors for one guest.
        cpus = cpus[: _GUESTS if found == "uml" else 1]
        done = run(chosen, found, cpus, float(os.environ.get("PODNET_VM_TIMEOUT", "2400")))
    except watch.Stopped as stopped:
        say(f"stopped by {stopped}; the guests were ended")
        return 128 + stopped.number
    failed = [name for name, (status, _seconds) in done.items() if status]
    for name, (status, seconds) in done.items():
        say(f"  {name:15} {'FAILED' if status else 'ok':7} {seconds:5.0f} s")
    say(f"{len(done) - len(failed)} of {len(done)} passed after {time.monotonic() - begin:.0f} s")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
