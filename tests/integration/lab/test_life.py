# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes are made whole, are their own, and go without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict
from ansible_collections.podnet.fabric.plugins.module_utils.lab import registry

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.lab.conftest import Lab

COLLECTIONS = Path(__file__).resolve().parents[3] / "collections"


@pytest.mark.parametrize("path", ["/etc/podnet-test", "/run/podnet-test", "/var/lib/podnet-test", "/tmp/podnet-test"])  # noqa: S108
def test_what_a_node_writes_is_its_own(lab: Lab, path: str) -> None:
    one, two = lab.make("one", "two")
    lab.run(one, "sh", "-c", f"echo mine > {path}")
    assert lab.run(one, "cat", path) == "mine\n"
    assert lab.run(two, "sh", "-c", f"cat {path} || true") == ""
    assert not Path(path).exists()


def test_a_node_has_its_own_name_processes_and_network(lab: Lab) -> None:
    one, two = lab.make("one", "two")
    assert [lab.run(name, "hostname").strip() for name in (one, two)] == [one, two]
    assert lab.run(one, "cat", "/etc/hostname").strip() == one
    assert os.uname().nodename not in (one, two)
    assert lab.run(one, "cat", "/proc/1/cmdline").startswith(f"podnet-lab:{one}\0")
    processes = [int(word) for word in lab.run(one, "ls", "/proc").split() if word.isdigit()]
    assert len(processes) <= 3
    assert lab.run(one, "ls", "/sys/class/net").split() == ["lo"]


def test_a_node_sees_the_files_of_the_machine(lab: Lab) -> None:
    (one,) = lab.make("one")
    assert lab.run(one, "cat", __file__) == Path(__file__).read_text(encoding="utf-8")
    assert lab.run(one, sys.executable, "-c", "print('runs')") == "runs\n"


def test_settings_of_the_whole_machine_cannot_be_written_those_of_the_network_can(lab: Lab) -> None:
    one, two = lab.make("one", "two")
    for path in ("/proc/sys/kernel/panic", "/proc/sys/vm/swappiness", "/proc/sys/fs/file-max"):
        before = Path(path).read_text(encoding="ascii")
        refused = lab.run(one, "sh", "-c", f"(echo 7 > {path}) 2>&1 || true")
        assert "Read-only" in refused
        assert Path(path).read_text(encoding="ascii") == before
    lab.run(one, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/forwarding")
    assert lab.run(two, "cat", "/proc/sys/net/ipv4/conf/all/forwarding") != "1\n"


def test_namespaces_made_in_a_node_are_seen_in_it_alone(lab: Lab) -> None:
    one, two = lab.make("one", "two")
    lab.run(one, "ip", "netns", "add", "pod-of-one")
    assert lab.run(one, "ip", "netns", "list").split()[0] == "pod-of-one"
    assert lab.run(two, "ip", "netns", "list") == ""
    assert not (registry.NETNS_DIR / "pod-of-one").exists()
    assert "pod-of-one" not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def test_iproute2_moves_links_into_a_node_by_its_name(lab: Lab) -> None:
    (one,) = lab.make("one")
    # In a network of its own, so that this machine's is left alone.
    script = f"ip link add here type veth peer name there && ip link set there netns {one}"
    subprocess.run(["unshare", "--net", "sh", "-c", script], check=True, timeout=30)
    devices = subprocess.run(
        ["ip", "netns", "exec", one, "ls", "/sys/class/net"], check=True, capture_output=True, text=True, timeout=30
    )
    # Its other end died with the scratch network, and so did it; whether it is still there is a matter of moments.
    assert set(devices.stdout.split()) <= {"lo", "there"}


def test_processes_of_the_node_are_reaped(lab: Lab) -> None:
    (one,) = lab.make("one")
    lab.run(one, "sh", "-c", "sh -c 'exit 0' & sh -c '(sleep 0.05 &) ; exit 0'")
    time.sleep(0.3)
    assert "Z" not in lab.run(one, "sh", "-c", "cut -d' ' -f3 /proc/[0-9]*/stat")


def test_the_fallback_for_process_1_reaps_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_kwargs: None)
    (one,) = lab.make("one")
    assert "sleep" in lab.run(one, "cat", "/proc/1/cmdline")
    lab.run(one, "sh", "-c", "(sleep 0.05 &)")
    time.sleep(0.3)
    assert "Z" not in lab.run(one, "sh", "-c", "cut -d' ' -f3 /proc/[0-9]*/stat")
    lab.absent(one)
    assert lab.traces() == []


def test_a_removed_node_leaves_nothing(lab: Lab) -> None:
    one, two = lab.make("one", "two")
    pid = lab.record(one).pid
    lab.run(one, "ip", "netns", "add", "pod")
    lab.run(one, "sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &")
    lab.run(one, "ip", "netns", "exec", "pod", "sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &")
    # Somebody's shell in the node's network, from outside.
    with subprocess.Popen(["ip", "netns", "exec", one, "sleep", "1000"]) as visitor:
        while os.stat(f"/proc/{visitor.pid}/ns/net").st_ino != os.stat(f"/proc/{pid}/ns/net").st_ino:  # noqa: PTH116
            time.sleep(0.01)
        assert lab.absent(one).changed
        assert visitor.wait(timeout=5) == -signal.SIGKILL
    assert not [trace for trace in lab.traces() if two not in trace]
    assert not lab.absent(one).changed
    lab.absent(two)
    assert lab.traces() == []


def test_check_mode_removes_nothing(lab: Lab) -> None:
    (one,) = lab.make("one")
    assert lab.absent(one, check=True).changed
    assert lab.run(one, "hostname").strip() == one


def test_a_node_whose_process_died_is_made_again(lab: Lab) -> None:
    (one,) = lab.make("one")
    before = lab.record(one)
    os.kill(before.pid, signal.SIGKILL)
    while registry.is_alive(before):
        time.sleep(0.01)
    lab.make("one")
    assert lab.run(one, "hostname").strip() == one
    assert lab.record(one).pid != before.pid


def test_a_network_namespace_of_somebody_else_is_left_alone(lab: Lab) -> None:
    name = lab.name("one")
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    try:
        with pytest.raises(Conflict, match=f"ip netns delete {name}"):
            lab.make("one")
        lab.absent(name)
        assert (registry.NETNS_DIR / name).exists()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True, timeout=30)
    assert lab.traces() == []


MAKER = """
import sys
from pathlib import Path
from ansible_collections.podnet.fabric.plugins.module_utils.lab import converge, registry, topology
run_dir, names = Path(sys.argv[1]), sys.argv[2:]
print("go", flush=True)
with registry.locked(run_dir):
    wanted = topology.parse({"nodes": [{"name": name} for name in names]}, [])
    converge.present(wanted, run_dir, check=False)
print("done", flush=True)
"""


@pytest.mark.parametrize("delay_ms", [0, 2, 5, 9, 14, 20, 30])
def test_a_maker_that_is_killed_leaves_what_the_next_one_completes(lab: Lab, delay_ms: int) -> None:
    names = [lab.name(f"n{number}") for number in range(4)]
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    argv = [sys.executable, "-c", MAKER, str(lab.run_dir), *names]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"go\n"
        time.sleep(delay_ms / 1000)
        maker.kill()
    lab.make("n0", "n1", "n2", "n3")
    assert [lab.run(name, "hostname").strip() for name in names] == names
    lab.absent(*names)
    # A process that waits for its maker's word ends when it sees that there is none.
    deadline = time.monotonic() + 5
    while lab.traces() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lab.traces() == []


def test_a_maker_killed_before_the_record_leaves_nothing_that_removal_misses(lab: Lab) -> None:
    name = lab.name("one")
    (two,) = lab.make("two")
    for group in Path("/sys/fs/cgroup").glob(f"**/podnet-lab/{two}"):
        group.with_name(name).mkdir()
    assert not lab.absent(name).changed
    lab.absent(two)
    assert lab.traces() == []


def test_half_made_nodes_are_removed(lab: Lab) -> None:
    (one,) = lab.make("one")
    registry.write(lab.run_dir, lab.record(one)._replace(ready=False))
    (registry.NETNS_DIR / one).unlink()
    assert lab.absent(one).changed
    assert lab.traces() == []


def test_twenty_nodes_are_made_and_removed_in_seconds(lab: Lab) -> None:
    begin = time.monotonic()
    names = lab.make(*(f"n{number}" for number in range(20)))
    made = time.monotonic()
    lab.absent(*names)
    assert made - begin < 10
    assert time.monotonic() - made < 10
    assert lab.traces() == []
