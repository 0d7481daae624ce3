# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams between pods of the two nodes that the probes are tried on: see tests/integration/probe/conftest.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.stream import process, session
from ansible_collections.podnet.fabric.plugins.plugin_utils import stream_report
from ansible_collections.podnet.fabric.tests.integration.probe.conftest import PODS, Fabric, fabric

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["fabric"]

PORT = 8485


class Streams(NamedTuple):
    """The module, as it runs on the two nodes, with records in a folder of the test."""

    fabric: Fabric
    folder: Path

    def call(self, role: str, state: str, *pods: str, **params: Any) -> dict[str, Any]:
        act = {"started": session.begin, "counted": session.count, "stopped": session.end}[state]
        return act(
            {
                "role": role,
                "pods": [
                    {"name": pod, "netns": self.fabric.netns(pod), "addresses": [f"{text}/24" for text in PODS[pod]]}
                    for pod in pods
                ]
                or None,
                "targets": [{"name": "node2/c", "addresses": list(PODS["c"]), "from": None}],
                "rate": 1000,
                "size": 128,
                "tcp_rate": 10,
                "port": PORT,
                "run": "test",
                "lifetime": 60,
                **params,
            },
            False,
        )

    def start(self, **params: Any) -> None:
        """From a on node1 to c on node2, over IPv4 and IPv6."""
        self.call("receiver", "started", "c", **params)
        self.call("sender", "started", "a", **params)

    def report(self, state: str = "stopped", **limits: Any) -> dict[str, list[Any]]:
        sent = self.call("sender", state)
        received = self.call("receiver", state)
        return stream_report.report(
            {"node1": stream_report.Counts(sent["flows"], sent["failures"])},
            {"node2": stream_report.Counts(received["flows"], received["failures"])},
            # How fast a busy machine sends is not what these tests are about.
            stream_report.Limits(**{"rate": 0.0, **limits}),
        )

    def pid(self, role: str, name: str) -> int:
        record = process._read(process._path(role, name, self.folder))
        assert record is not None
        return record.pid


@pytest.fixture
def streams(fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    """Records and counts are the test's own."""
    folder = tmp_path / "podnet" / "streams"
    for name in ("start", "count", "stop"):
        whole = getattr(process, name)
        monkeypatch.setattr(process, name, lambda *args, _whole=whole: _whole(*args, folder=folder))
    try:
        yield Streams(fabric, folder)
    finally:
        for role in ("sender", "receiver"):
            process.stop(role, None)


def flow_of(report: dict[str, list[Any]], family: str, protocol: str) -> dict[str, Any]:
    """The one flow of this family and protocol."""
    (one,) = [flow for flow in report["flows"] if (flow["family"], flow["protocol"]) == (family, protocol)]
    assert isinstance(one, dict)
    return one


def wait(seconds: float) -> None:
    """Time for packets."""
    time.sleep(seconds)
