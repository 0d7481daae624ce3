# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a node: one process with namespaces of its own. When that process ends, all of the node ends with it."""

from __future__ import annotations

import os
import select
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import boot_id
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.lab import cgroup, filesystem, registry
from ansible_collections.podnet.fabric.plugins.module_utils.lab import namespaces as ns
from ansible_collections.podnet.fabric.plugins.module_utils.lab.registry import Record

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_NAMESPACES = (
    ns.CLONE_NEWNET | ns.CLONE_NEWNS | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC | ns.CLONE_NEWPID | ns.CLONE_NEWCGROUP
)
# `container` is how systemd's container interface tells programs where they are.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container": "podnet-lab"}
# Reaps as `wait` does for every child of process 1.
SHELL_HOLDER = "trap 'exit 0' TERM; while :; do sleep 86400 & wait; done"
PATIENCE_SECONDS = 20


def _holder(name: str) -> tuple[str, list[str]]:
    """Choose process 1: catatonit made for the purpose, else a shell. Its first word shows in `ps` whose it is."""
    title = f"podnet-lab:{name}"
    catatonit = shutil.which("catatonit", path=ENVIRONMENT["PATH"]) or shutil.which(
        "catatonit", path="/usr/libexec/catatonit:/usr/libexec/podman"
    )
    if catatonit:
        return catatonit, [title, "-P"]
    return "/bin/sh", [title, "-c", SHELL_HOLDER]


def _become_node(name: str, hostname: str, staging: Path, go: int) -> None:
    """Process 1. Waits until it is recorded, so that a maker killed in between leaves nothing behind."""
    if not os.read(go, 1):
        return
    os.close(go)
    filesystem.furnish(staging, hostname)
    program, argv = _holder(name)
    # The report's pipe closes by itself when the program is there: silence is success.
    os.execve(program, argv, ENVIRONMENT)  # noqa: S606 - no shell is the point


def _leave(name: str, hostname: str, staging: Path, go: int, report: int) -> None:
    """Enter the new namespaces and fork process 1 there; nothing of the maker's may come along."""
    os.setsid()
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    edges = [2, *sorted((go, report)), os.sysconf("SC_OPEN_MAX")]
    for low, high in zip(edges, edges[1:]):
        os.closerange(low + 1, high)
    cgroup.join(name)
    ns.unshare(OWN_NAMESPACES)
    pid = os.fork()
    if pid == 0:
        _run_child(report, lambda: _become_node(name, hostname, staging, go))
    os.write(report, f"{pid}\n".encode())


def _run_child(report: int, body: Callable[[], None]) -> NoReturn:
    """Run the body of a forked child. Come what may it must not return into the maker's code, which it is a copy of."""
    try:
        body()
    except BaseException as error:  # noqa: BLE001 - there is nobody to raise to
        # Nobody reads when the maker was killed.
        with suppress(OSError):
            os.write(report, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)


def _read_line(fd: int) -> str:
    """Read up to a line's end, or to the end when there is none."""
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            break
        text += byte
    return text.decode(errors="replace")


def make(run_dir: Path, name: str, hostname: str) -> Record:
    """Make a node out of nothing, and record and publish it.

    :raises ApplyError: the kernel refused a namespace or a mount; nothing is left
    """
    go_read, go_write = os.pipe()
    report_read, report_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        os.close(report_read)
        _run_child(report_write, lambda: _leave(name, hostname, run_dir, go_read, report_write))
    os.close(go_read)
    os.close(report_write)
    record: Record | None = None
    try:
        line = _read_line(report_read)
        os.waitpid(child, 0)
        trouble = "" if line.endswith("\n") else line or "the new process died"
        if not trouble:
            pid = int(line)
            record = Record(name, pid, registry.start_time(pid) or 0, boot_id(), ready=False)
            registry.write(run_dir, record)
            os.write(go_write, b"+")
            trouble = _read_line(report_read)
    finally:
        os.close(go_write)
        os.close(report_read)
    if not trouble and record is not None and registry.is_alive(record):
        record = record._replace(ready=True)
        registry.write(run_dir, record)
        registry.publish(record)
        return record
    unmake(run_dir, name)
    raise ApplyError(
        [f"node {name}: {trouble or 'its first process ended at once'}; is this root, with namespaces and overlayfs?"]
    )


def _end(pid: int, started: int) -> None:
    """Kill one process and wait until it, and if it is a process 1 all below it, has gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Checked after the handle is held: the number cannot come to mean another process now.
        if registry.start_time(pid) != started:
            return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], PATIENCE_SECONDS)[0]:
            raise ApplyError([f"process {pid} did not end within {PATIENCE_SECONDS} s of SIGKILL: /proc/{pid}/stack"])
    finally:
        os.close(handle)


def _namespace(pid: str, kind: str) -> tuple[int, int] | None:
    try:
        status = Path(f"/proc/{pid}/ns/{kind}").stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def guests(record: Record) -> list[int]:
    """Find processes in the node's network or mounts; one that came by `ip netns exec` would keep them alive."""
    own = {kind: _namespace(str(record.pid), kind) for kind in ("net", "mnt")}
    ours = {kind: _namespace("self", kind) for kind in ("net", "mnt")}
    found = []
    for entry in (path.name for path in Path("/proc").iterdir() if path.name.isdigit()):
        if int(entry) == record.pid:
            continue
        for kind, namespace in own.items():
            if namespace and namespace != ours[kind] and _namespace(entry, kind) == namespace:
                found.append(int(entry))
                break
    return found


def unmake(run_dir: Path, name: str) -> None:
    """Remove a node, whole or half-made, dead or alive. Returns when no process, link name or file of it is left."""
    record = registry.read(run_dir, name)
    if record is not None and registry.is_alive(record):
        visitors = [(pid, registry.start_time(pid)) for pid in guests(record)]
        _end(record.pid, record.started)
        for pid, started in visitors:
            if started is not None:
                _end(pid, started)
    registry.withdraw(name)
    cgroup.remove(name)
    registry.forget(run_dir, name)
