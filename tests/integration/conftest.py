# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests with the kernel share: root, and a network namespace of their own.

def test_a_route_appears(netns: Namespace) -> None:
    netns.ip("route", "add", "blackhole", "10.0.0.0/8")
    assert netns.ip_json("route")[0]["type"] == "blackhole"
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/sched.h, linux/mount.h; os.unshare and os.setns came with Python 3.12
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_HERE = Path(__file__).parent

# Playbooks that tests start pack each module once, and not once in each run. See tests/callback/packed.py.
os.environ["ANSIBLE_CALLBACK_PLUGINS"] = os.fspath(_HERE.parent / "callback")
os.environ["ANSIBLE_CALLBACKS_ENABLED"] = "packed"


class Namespace:
    """The network namespace that the test and every process that it starts are in."""

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """What a command that has to succeed prints."""
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{' '.join(argv)}: exit status {done.returncode}: {done.stderr.strip()}"
        return done.stdout

    def ip(self, *arguments: str) -> str:
        """Run `ip` on this namespace."""
        return self.run("ip", *arguments)

    def ip_json(self, *arguments: str) -> list[dict[str, Any]]:
        """What `ip -details -json` shows of this namespace."""
        shown = self.run("ip", "-details", "-json", *arguments)
        return [entry for entry in json.loads(shown or "[]") if entry]


def _checked(outcome: int, call: str) -> None:
    if outcome != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.fail(
            f"the tests in {_HERE.name}/ make network namespaces: run them as root, not as uid {os.geteuid()}",
            pytrace=False,
        )


@pytest.fixture(scope="session", autouse=True)
def _own_notes(_root: None) -> None:
    """Notes of this process's own in /run: another one that runs tests would take them for those of the same node."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _checked(libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None), "mount(MS_SLAVE)")
    RUN.mkdir(mode=0o755, exist_ok=True)
    _checked(libc.mount(b"podnet", bytes(RUN), b"tmpfs", 0, b"mode=0755"), f"mount({RUN})")


@pytest.fixture
def netns() -> Iterator[Namespace]:
    """A fresh network namespace with `lo` up, which the test is in.

    It has no name and goes with the last process and socket in it: close the sockets, wait for the processes.
    Only the network is the test's own: `/sys/class/net` and the files are still the machine's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # The thread's own: /proc/self is the main thread's, which need not be this one.
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(libc.unshare(_CLONE_NEWNET), "unshare(CLONE_NEWNET)")
        try:
            namespace = Namespace()
            namespace.ip("link", "set", "lo", "up")
            yield namespace
        finally:
            _checked(libc.setns(before, _CLONE_NEWNET), "setns")
    finally:
        os.close(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder needs the kernel."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.kernel)
