# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs on one node at the same time: one after the other, and the second finds nothing to do."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import declaration, resource_module
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError

from .test_disk import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.tests.integration.cni.node import Node


@contextmanager
def held(lock: str, enter: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Somebody else has the lock, until they are killed."""
    script = f"mkdir -p $(dirname {lock}); exec flock --no-fork {lock} sh -c 'echo held; exec sleep 60'"
    with subprocess.Popen([*enter, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_the_second_run_waits_and_finds_nothing_to_do(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_module, "LONG", 0.3)
    with held("/run/podnet/lock", node.enter) as holder:
        runs = [node.start("bridge", **BRIDGE) for _nth in range(2)]
        time.sleep(0.5)
        assert "podnet1" not in node.run("ip", "-brief", "link")
        # A check changes nothing and does not wait.
        assert node.module("bridge", check=True, **BRIDGE)["changed"]
        holder.kill()  # as with kill -9: the lock goes with the process
        results = [run.result() for run in runs]
    assert sorted(result["changed"] for result in results) == [False, True]
    for result in results:
        (warning,) = result["warnings"]
        assert " s for another run of podnet.fabric on this node" in str(warning)
    quick = node.module("bridge", **BRIDGE)
    assert (quick["changed"], quick.get("warnings", [])) == (False, [])


def test_a_run_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaration, "RUN", tmp_path)
    monkeypatch.setattr(declaration, "LOCK", tmp_path / "lock")
    with held(str(tmp_path / "lock")) as holder:
        with (
            pytest.raises(DeclarationError, match=rf"lock: process {holder.pid} \(sleep\) is changing this node"),
            declaration.node_lock(check=False, timeout=0.1),
        ):
            raise AssertionError
        holder.kill()
        holder.wait()
        with declaration.node_lock(check=False, timeout=0.1) as waited:
            assert waited < 0.1
