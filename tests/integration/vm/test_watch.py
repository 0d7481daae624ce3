# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A watched program's output, time and end; whatever happens, nothing that it started runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.tests.vm import cpus, native, watch
from ansible_collections.podnet.fabric.tests.vm.job import Job

# A daemon that left its session, and a word to know it by among all processes.
DAEMON = "setsid sleep {word} & disown"


def running(word: str) -> list[str]:
    return [
        entry.parent.name
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if _words(entry)[:2] == [b"sleep", word.encode()]
    ]


def _words(entry: Path) -> list[bytes]:
    try:
        return entry.read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def gone(word: str) -> bool:
    until = time.monotonic() + 5
    while running(word) and time.monotonic() < until:
        time.sleep(0.05)
    return not running(word)


def script(text: str) -> list[str]:
    return ["bash", "-c", text]


def test_output_is_passed_on_whole_and_apart_from_the_log(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        status = watch.run(
            lambda out: script(f"echo to the log; seq 50000 >&{out}; exit 7"), seconds=60, log=log.fileno()
        )
    assert status == 7
    assert capfd.readouterr().out == "".join(f"{number}\n" for number in range(1, 50001))
    assert (tmp_path / "log").read_text() == "to the log\n"


def test_when_the_time_is_up_daemons_are_gone_too() -> None:
    word = f"9{os.getpid()}1"
    begin = time.monotonic()
    with pytest.raises(watch.Expired):
        watch.run(lambda _: script(f"{DAEMON.format(word=word)}; sleep 60"), seconds=1, log=2)
    assert time.monotonic() - begin < 20
    assert gone(word)


def test_what_a_process_waits_in_is_asked_once_while_it_runs() -> None:
    word = f"9{os.getpid()}3"
    seen = []
    check = watch.Check(1, lambda pid: seen.append(watch.states(pid)))
    with pytest.raises(watch.Expired):
        watch.run(lambda _: script(f"sleep {word}; true"), seconds=2, log=2, check=check)
    [text] = seen
    [line] = [line for line in text.splitlines() if f" sleep {word}" in line and " bash " not in line]
    assert line.split()[1] == "S"
    assert gone(word)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_when_the_watcher_is_told_to_end_everything_goes_with_it(number: signal.Signals) -> None:
    word = f"9{os.getpid()}2"
    text = (
        "from ansible_collections.podnet.fabric.tests.vm import watch\n"
        "watch.listen()\n"
        "try:\n"
        f"    watch.run(lambda _: ['bash', '-c', '{DAEMON.format(word=word)}; sleep 60'], seconds=60, log=2)\n"
        "except watch.Stopped as stopped:\n"
        "    raise SystemExit(128 + stopped.number)\n"
    )
    collections = Path(__file__).resolve().parents[3] / "collections"
    watcher = subprocess.Popen([sys.executable, "-c", text], env={**os.environ, "PYTHONPATH": str(collections)})
    until = time.monotonic() + 20
    while not running(word) and time.monotonic() < until:
        time.sleep(0.05)
    assert running(word)
    watcher.send_signal(number)
    assert watcher.wait(20) == (-number if number == signal.SIGKILL else 128 + number)
    assert gone(word)


def test_in_place_a_command_has_its_status_and_its_time(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"]}
    assert native.run(Job(("sh", "-c", "exit 5"), tmp_path, environment)) == 5
    assert native.run(Job(("sh", "-c", "kill -9 $$"), tmp_path, environment)) == 137
    word = f"9{os.getpid()}3"
    with pytest.raises(watch.Expired):
        native.run(Job(("sh", "-c", f"sleep {word} & sleep 60"), tmp_path, environment, seconds=0.5))
    assert gone(word)


def test_a_kind_that_no_kernel_has_is_not_found() -> None:
    assert native.has("bridge")
    assert not native.has("podnet")


def test_two_guests_get_two_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "FOLDER", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {4, 6})
    with cpus.reserved() as first:
        with cpus.reserved() as second:
            assert {first, second} == {4, 6}
            with cpus.reserved() as third:
                assert third in {4, 6}
        with cpus.reserved() as again:
            assert again == second
