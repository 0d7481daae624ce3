# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's file under concurrent writers, killed writers and everything else that happens to files."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import (
    ledger_file,
    ledger_services,
    ledger_store,
    planning,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_file import FileStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError

IMPORT_PATH = str(Path(ledger_file.__file__).absolute().parents[5])

# Adds its own nodes to the ledger, one update for each, as many controllers at once would.
WRITER = """
import fcntl, ipaddress, os, signal, sys, time
from pathlib import Path
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import blocks_by_node, settle
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_file import FileStore

pools = [
    Pool("four", ipaddress.ip_network("10.0.0.0/12"), 24, True),
    Pool("six", ipaddress.ip_network("fd00::/48"), 64, True),
]
path, name, count, mode = sys.argv[1:]
point, _colon, nth = mode.partition(":")
if point:
    module, function = point.rsplit(".", 1)
    target = {"fcntl": fcntl, "os": os, "Path": Path}[module]
    original = getattr(target, function)
    calls = 0

    def deadly(*arguments, **options):
        global calls
        calls += 1
        if calls == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

store = FileStore(Path(path), "test")
for number in range(int(count)):
    if point and number == 1:
        setattr(target, function, deadly)
    mine = f"{name}-{number}"
    store.update(lambda ledger: settle(ledger, [*blocks_by_node(ledger), mine], pools, 0, 100).ledger)
    print(mine, flush=True)
    time.sleep(0.002)  # a loop without a pause would never let the others have the lock
"""


def writer(path: Path, name: str, count: int, kill_at: str = "") -> subprocess.Popen[str]:
    """Start a process that adds nodes."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count), kill_at],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": IMPORT_PATH},
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a writer and return the nodes that it was told are in the ledger."""
    output, _errors = process.communicate(timeout=120)
    return output.split()


def test_sixteen_writers_at_once_lose_and_duplicate_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    writers = [writer(path, f"w{number}", 5) for number in range(16)]
    told = [node for process in writers for node in finish(process)]
    assert all(process.returncode == 0 for process in writers)
    ledger = FileStore(path, "test").read()
    assert Counter(entry.node for entry in ledger.entries) == dict.fromkeys(told, 2)
    assert len(told) == 80
    assert len({entry.network for entry in ledger.entries}) == 160


# In the order in which a writer comes by them: the lock taken and signed, the new file made and written, given the name
# of the old one, the folder opened, written and closed, the lock let go.
BEFORE_THE_RENAME = [
    *("os.open:1", "fcntl.flock:1", "os.ftruncate:1", "os.pwrite:1"),
    *("Path.open:1", "os.fchmod:1", "os.fsync:1", "Path.replace:1"),
]
AFTER_THE_RENAME = ["os.open:2", "os.fsync:2", "os.close:1", "os.close:2"]


@pytest.mark.parametrize("kill_at", [*BEFORE_THE_RENAME, *AFTER_THE_RENAME])
def test_a_writer_killed_at_any_step_leaves_a_valid_file_and_no_lock(tmp_path: Path, kill_at: str) -> None:
    path = tmp_path / "ledger.json"
    killed = writer(path, "killed", 3, kill_at)
    told = finish(killed)
    assert (killed.returncode, told) == (-signal.SIGKILL, ["killed-0"])
    nodes = {entry.node for entry in FileStore(path, "test").read().entries}
    # The second node is in when the kill came after the new file had taken the old one's place, and not otherwise.
    assert nodes == ({"killed-0", "killed-1"} if kill_at in AFTER_THE_RENAME else {"killed-0"})
    assert finish(writer(path, "next", 1)) == ["next-0"]
    assert {entry.node for entry in FileStore(path, "test").read().entries} == {*nodes, "next-0"}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["ledger.json", "ledger.json.lock"]


def test_writers_killed_at_random_never_leave_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    told: set[str] = set()
    for number in range(6):
        processes = [writer(path, f"r{number}-{twin}", 1000) for twin in range(2)]
        for process in processes:
            assert process.stdout is not None
            told.add(process.stdout.readline().strip())
        time.sleep(0.011 * number)
        for process in processes:
            process.kill()
            told.update(finish(process))
        nodes = {entry.node for entry in FileStore(path, "test").read().entries}
        assert told <= nodes


def test_nothing_is_written_when_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    FileStore(path, "test").update(lambda ledger: ledger)
    assert not path.exists()
    finish(writer(path, "w", 1))
    before = path.stat()
    FileStore(path, "test").update(lambda ledger: ledger)
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_nothing_is_written_when_the_transition_fails(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    finish(writer(path, "w", 1))
    before = path.read_bytes()

    def fails(_ledger: Ledger) -> Ledger:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        FileStore(path, "test").update(fails)
    assert path.read_bytes() == before


def test_a_lock_that_is_held_too_long_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    with (tmp_path / "ledger.json.lock").open("w") as lock:
        lock.write("process 4242 on controller2\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LedgerError) as caught:
            FileStore(path, "test", lock_seconds=0.2).update(lambda ledger: ledger)
    assert str(caught.value) == (
        f"{path}: found a lock held by process 4242 on controller2, wanted it free within 0.2 seconds; wait for the "
        "other run to end, or end it if it hangs; then run again"
    )


def test_a_lock_file_removed_meanwhile_does_not_let_two_writers_in(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    lock = tmp_path / "ledger.json.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = writer(path, "waiting", 1)
        time.sleep(0.3)
        lock.unlink()
        # It goes on with a new lock file, which a third writer then finds and not the orphan.
        assert finish(waiting) == ["waiting-0"]
    assert lock.read_text().startswith("process ")


def test_the_mode_of_the_file_and_a_link_to_it_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "ledger.json"
    real.parent.mkdir()
    link = tmp_path / "ledger.json"
    link.symlink_to(real)
    finish(writer(link, "w", 1))
    real.chmod(0o640)
    finish(writer(link, "x", 1))
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert {entry.node for entry in FileStore(link, "test").read().entries} == {"w-0", "x-0"}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "ledger.json"
    assert FileStore(path, "test").read() == Ledger("test")
    with pytest.raises(LedgerError) as caught:
        FileStore(path, "test").update(lambda ledger: ledger)
    assert str(caught.value) == (
        f"{path}: found a file that cannot be locked (No such file or directory), wanted a file that the user who runs "
        "Ansible may read and write, in a folder that exists; mend the permissions, or set podnet_ledger.path"
    )


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LedgerError) as caught:
        FileStore(path, "test").read()
    assert str(caught.value) == (
        f"{path}: found bytes that are no text, wanted a ledger of podnet.fabric; {ledger_services.RESTORE}"
    )


@pytest.mark.parametrize("allocate", [True, False])
@pytest.mark.parametrize("damage", ["", "{", '{"format": 99}', '{"format": 1, "cluster": "other", "blocks": {}}'])
def test_an_unusable_ledger_stops_the_plan_and_stays_byte_for_byte(
    tmp_path: Path, host: Any, damage: str, allocate: bool
) -> None:
    path = tmp_path / ledger_store.LEDGER_NAME
    path.write_text(damage)
    outcome = planning.run([host("node1", "192.0.2.11")], [], str(tmp_path), allocate)
    assert outcome.plan is None
    assert [problem.path for problem in outcome.problems] == [str(path)]
    assert path.read_text() == damage


def test_an_unusable_ledger_is_told_together_with_other_problems(tmp_path: Path, host: Any) -> None:
    (tmp_path / ledger_store.LEDGER_NAME).write_text("{")
    outcome = planning.run([host("node1", vxlan_vni=0)], [], str(tmp_path), allocate=True)
    assert [problem.path.replace(str(tmp_path), "") for problem in outcome.problems] == [
        "podnet_vxlan_vni",
        "podnet_underlay.address (node1)",
        "/.podnet-ledger.json",
    ]


def test_a_prediction_makes_no_file_at_all(tmp_path: Path, host: Any) -> None:
    outcome = planning.run([host("node1", "192.0.2.11")], [], str(tmp_path), allocate=False)
    assert json.loads(outcome.after)["blocks"].keys() == {"10.244.0.0/24", "fd00:10:244::/64"}
    assert list(tmp_path.iterdir()) == []
