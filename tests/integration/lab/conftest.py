# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs for tests: each has names and a folder of records of its own, and is gone afterwards."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.lab import converge, registry, topology

_numbers = itertools.count()


class Lab(NamedTuple):
    """Names of its own on this machine."""

    prefix: str
    run_dir: Path

    def name(self, node: str) -> str:
        """Give the name that the machine knows the node by."""
        return self.prefix + node

    def present(self, *, check: bool = False, **params: Any) -> converge.Outcome:
        """Do what the module does with state=present."""
        with registry.locked(self.run_dir):
            wanted = topology.parse(params, list(converge.living(self.run_dir)))
            return converge.present(wanted, self.run_dir, check=check)

    def absent(self, *names: str, check: bool = False) -> converge.Outcome:
        """Do what the module does with state=absent."""
        with registry.locked(self.run_dir):
            return converge.absent(names, self.run_dir, check=check)

    def make(self, *nodes: str) -> list[str]:
        """Make nodes without any network, and give their names."""
        names = [self.name(node) for node in nodes]
        self.present(nodes=[{"name": name} for name in names])
        return names

    def record(self, name: str) -> registry.Record:
        """Give the record of a node that is there."""
        record = registry.read(self.run_dir, name)
        assert record is not None
        return record

    def run(self, name: str, *argv: str, check: bool = True) -> str:
        """Run a command in a node and give what it printed."""
        entering = ["nsenter", "--target", str(self.record(name).pid), "--all", "--", *argv]
        return subprocess.run(entering, capture_output=True, text=True, check=check, timeout=30).stdout

    def traces(self) -> list[str]:
        """Tell what of the lab this machine still holds: processes, mounts, names, records, control groups."""
        found = [f"record {path}" for path in self.run_dir.glob("*")]
        found += [f"netns {path}" for path in registry.NETNS_DIR.glob(f"{self.prefix}*")]
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        found += [f"mount {line}" for line in mounts.splitlines() if self.prefix in line or str(self.run_dir) in line]
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = cmdline.read_bytes().decode(errors="replace")
                if f"podnet-lab:{self.prefix}" in words:
                    found.append(f"process {cmdline.parent.name} {words}")
            except (FileNotFoundError, ProcessLookupError):
                continue
        found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/podnet-lab/{self.prefix}*")]
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        return found + [f"link {line}" for line in links.splitlines() if "podnet-lab:" in line]


@pytest.fixture(scope="module")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Lab]]:
    """Make labs that are removed at the end of the module."""
    labs: list[Lab] = []

    def new() -> Lab:
        labs.append(Lab(f"pt{os.getpid()}-{next(_numbers)}-", tmp_path_factory.mktemp("lab") / "run"))
        return labs[-1]

    yield new
    for lab in labs:
        lab.absent(*registry.names(lab.run_dir))


@pytest.fixture
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """An empty lab."""
    return new_lab()
