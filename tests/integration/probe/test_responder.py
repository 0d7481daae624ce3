# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Responders come, answer, and are gone: by themselves, by order, and never anybody else's process with them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace, process
from ansible_collections.podnet.fabric.plugins.module_utils.probe.responder import ResponderError

from .conftest import PORT, RUN, only, target

if TYPE_CHECKING:
    from .conftest import Fabric


def _pids(fabric: Fabric) -> list[int]:
    return [record.pid for record in process.present(fabric.folder)]


def _gone(pid: int, within: float) -> bool:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        try:
            # Ours to reap when no init above does.
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_a_second_start_finds_the_responder_there(fabric: Fabric) -> None:
    assert fabric.respond("b") == ["b"]
    before = _pids(fabric)
    assert fabric.respond("b") == []
    assert _pids(fabric) == before


def test_a_responder_with_other_settings_is_replaced(fabric: Fabric) -> None:
    fabric.respond("b")
    (before,) = _pids(fabric)
    wanted = [process.Wanted("b", fabric.netns("b"), PORT, "another", 60)]
    assert process.ensure(wanted, True, fabric.folder) == ["b"]
    assert _pids(fabric) == [before]
    assert process.ensure(wanted, False, fabric.folder) == ["b"]
    assert _gone(before, 1)
    assert only(fabric.ask(target("b"), run="another"))["reachable"]


def test_a_responder_ends_by_itself_and_takes_its_record_along(fabric: Fabric) -> None:
    fabric.respond("b", lifetime=0.5)
    (pid,) = _pids(fabric)
    assert _gone(pid, 3)
    assert not fabric.folder.exists()


def test_a_responder_whose_record_was_taken_away_ends(fabric: Fabric) -> None:
    fabric.respond("b")
    (pid,) = _pids(fabric)
    (fabric.folder / "b.json").unlink()
    assert _gone(pid, 5)


def test_absent_ends_all_and_leaves_nothing(fabric: Fabric) -> None:
    fabric.respond("a", "b", "c")
    pids = _pids(fabric)
    assert process.remove(None, True, fabric.folder) == ["a", "b", "c"]
    assert _pids(fabric) == pids
    assert process.remove(["a"], False, fabric.folder) == ["a"]
    assert _pids(fabric) == pids[1:]
    assert process.remove(None, False, fabric.folder) == ["b", "c"]
    assert all(_gone(pid, 1) for pid in pids)
    assert not fabric.folder.exists()
    assert process.remove(None, False, fabric.folder) == []
    assert not only(fabric.ask(target("b"), timeout=0.3))["reachable"]


def test_a_responder_that_was_killed_is_started_again(fabric: Fabric) -> None:
    fabric.respond("b")
    (pid,) = _pids(fabric)
    os.kill(pid, signal.SIGKILL)
    assert _gone(pid, 1)
    assert fabric.respond("b") == ["b"]
    assert only(fabric.ask(target("b")))["reachable"]


def test_a_process_that_took_over_the_number_is_left_alone(fabric: Fabric) -> None:
    fabric.respond("b")
    (pid,) = _pids(fabric)
    with subprocess.Popen(["sleep", "30"]) as other:
        try:
            path = fabric.folder / "b.json"
            record = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps({**record, "pid": other.pid}), encoding="utf-8")
            assert process.remove(None, False, fabric.folder) == ["b"]
            assert other.poll() is None
        finally:
            other.terminate()
            os.kill(pid, signal.SIGTERM)
    assert _gone(pid, 1)


def test_the_responder_holds_nothing_of_the_one_who_started_it(fabric: Fabric, tmp_path: Path) -> None:
    """A module's caller reads its pipes to the end, so a responder that kept one would hang the playbook."""
    program = (
        "import sys; from pathlib import Path\n"
        "from ansible_collections.podnet.fabric.plugins.module_utils.probe import process\n"
        f"held = open({str(tmp_path / 'held')!r}, 'w')\n"
        f"process.ensure([process.Wanted('b', {fabric.netns('b')!r}, {PORT}, {RUN!r}, 60)], False, "
        f"Path({str(fabric.folder)!r}))\n"
    )
    started = time.monotonic()
    paths = [path for path in sys.path if (Path(path) / "ansible_collections").is_dir()]
    subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=10,
        check=True,
    )
    assert time.monotonic() - started < 5
    (pid,) = _pids(fabric)
    open_files = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert all(name == "/dev/null" or name.startswith(("socket:", "anon_inode:[event")) for name in open_files)
    assert Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == process.COMM
    assert os.getsid(pid) != os.getsid(0)
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
    assert only(fabric.ask(target("b")))["reachable"]


def test_a_port_that_is_taken_is_named(fabric: Fabric) -> None:
    with namespace.inside(fabric.netns("b")):
        squatter = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with squatter:
        squatter.bind(("0.0.0.0", PORT))
        squatter.listen()
        with pytest.raises(ResponderError, match=f"port {PORT} in network namespace .*: Address already in use"):
            fabric.respond("b")
    assert not fabric.folder.exists()


def test_a_namespace_that_is_not_there_is_named(fabric: Fabric) -> None:
    before = Path("/proc/self/ns/net").readlink()
    with pytest.raises(namespace.NamespaceError, match="/run/netns/none-such: No such file or directory"):
        process.ensure([process.Wanted("x", "/run/netns/none-such", PORT, RUN, 60)], False, fabric.folder)
    assert Path("/proc/self/ns/net").readlink() == before


def test_a_damaged_record_is_named(fabric: Fabric) -> None:
    fabric.folder.mkdir(parents=True)
    (fabric.folder / "b.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResponderError, match=r"b\.json: not a record of a responder"):
        fabric.respond("b")
    (fabric.folder / "b.json").unlink()


def test_idle_connections_do_not_keep_others_out(fabric: Fabric) -> None:
    fabric.respond("b")
    with contextlib.ExitStack() as idle:
        with namespace.inside(fabric.netns("a")):
            for _number in range(300):
                idle.enter_context(socket.create_connection(("10.244.1.3", PORT), timeout=2))
        assert only(fabric.ask(target("b")))["tcp"]


def test_a_host_with_two_addresses_answers_from_the_one_that_was_asked(fabric: Fabric) -> None:
    fabric.ip("b", "address add 10.244.1.77/24 dev eth0", "address add fd00:0:0:1::77/64 dev eth0")
    fabric.respond("b")
    second = [{"name": "b", "address": address} for address in ("10.244.1.77", "fd00:0:0:1::77")]
    assert fabric.ask(*second)["failures"] == []
