# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real etcd on the loopback, in a folder of the test's, with ports that were free."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access

STARTS_WITHIN = 60.0  # seconds


def free_port() -> int:
    """Return a TCP port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Etcd:
    """One member, which can be killed and started again on what it had written."""

    folder: Path
    options: tuple[str, ...] = ()
    scheme: str = "http"
    ctl_options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def access(self) -> Access:
        """The way in without authentication."""
        return Access((self.url,))

    def start(self, *credentials: str) -> None:
        """Start it and wait until it answers, to a user if it wants one."""
        peer = f"http://127.0.0.1:{self.peer_port}"
        with (self.folder / "etcd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("etcd", "--name", "test", "--data-dir", str(self.folder / "data"), "--log-level", "error"),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", f"test={peer}", *self.options),
                ],
                stdout=log,
                stderr=log,
                env={key: value for key, value in os.environ.items() if not key.startswith("ETCD")},
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while self._ctl(*credentials, "endpoint", "status").returncode != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"etcd does not start:\n{(self.folder / 'etcd.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it at once, as a loss of power does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ctl(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what etcdctl prints."""
        done = self._ctl(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def found(self, key: str) -> dict[str, Any] | None:
        """Return a key as etcd has it (its value, version, mod_revision), as another client reads it."""
        answer = json.loads(self.ctl("get", key, "--write-out", "json"))
        coded = b64encode(key.encode()).decode()
        return next((item for item in answer.get("kvs", ()) if item["key"] == coded), None)

    def revision(self) -> int:
        """Return how many changes etcd has seen, of any key."""
        return int(json.loads(self.ctl("get", "/none", "--write-out", "json"))["header"]["revision"])

    def _ctl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["etcdctl", "--endpoints", self.url, *self.ctl_options, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
