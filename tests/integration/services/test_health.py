# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backends that fail their checks get no new connections, and get them again when they are well."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import declaration
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.service import health
from ansible_collections.podnet.fabric.plugins.module_utils.service_health import check_backends, told
from tests.conformance import service_cases as scene
from tests.integration.services.conftest import left
from tests.integration.services.ground import netns
from tests.integration.services.offered import ADDRESSES, endpoints, service, to_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.service_health import Checked
    from tests.integration.services.clients import Clients
    from tests.integration.services.conftest import Declarer

HTTP_PORT = 8081
TCP = {"tcpSocket": {"port": scene.TARGET}, "failureThreshold": 2, "successThreshold": 2, "periodSeconds": 1}


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a node of its own keeps its lock and what it knows."""
    folder = tmp_path / "run"
    for module, name, path in (
        (declaration, "RUN", folder),
        (declaration, "LOCK", folder / "lock"),
        (health, "NOTE", folder / "service-health.json"),
    ):
        monkeypatch.setattr(module, name, path)
    return folder


def check(declarer: Declarer, *, dry: bool = False, settle: bool = False, now: bool = True) -> Checked:
    return declarer.node.run(lambda: check_backends(declarer.declarations, now, settle, dry))


def answering(clients: Clients, protocol: str = "tcp") -> set[str]:
    """Who answers on new connections, or what else comes of them."""
    attempts = [to_service("pod", family, protocol) for family in ADDRESSES for _each in range(40)]
    return {each.backend or each.verdict for each in clients.attempt(attempts)}


def uncounted() -> list[str]:
    """What is in the packet filters, without what has been counted."""
    return [re.sub(r"(packets|bytes) \d+|\[\d+:\d+\]", "", line) for line in left()]


def failing(*pods: str, why: str = "Connection refused", out: bool = True, port: int = scene.TARGET) -> list[str]:
    places = sorted((family, scene.pod_address(pod, family)) for pod in pods for family in ADDRESSES)
    said = f"is out: {why}" if out else f"fails its checks ({why}), but stays, as no other is left"
    return [
        f"service default/web1: backend {f'[{address}]' if family == 6 else address}:{port} {said}"
        for family, address in places
    ]


def test_a_backend_that_refuses_gets_nothing_new_until_it_is_back(
    declarer: Declarer, clients: Clients, run_folder: Path
) -> None:
    documents, pods = [service(readinessProbe=TCP)], endpoints("one", "far")
    declarer.declare(documents, endpoints=pods)
    assert check(declarer).after == []
    standing = [clients.open(to_service("pod", family)) for family in ADDRESSES for _each in range(8)]
    datagrams = [clients.open(to_service("pod", family, "udp")) for family in ADDRESSES for _each in range(8)]
    try:
        before = clients.ask(standing)
        assert {each.backend for each in before} == {"one", "far"}
        assert {each.backend for each in clients.ask(datagrams)} == {"one", "far"}
        clients.refuse("one")
        assert check(declarer).result is None
        assert answering(clients) == {"far", "reject"}

        state, noted = uncounted(), (run_folder / "service-health.json").read_bytes()
        dry = check(declarer, dry=True)
        assert dry.after == failing("one")
        assert dry.result is not None
        assert dry.result.changed
        assert (uncounted(), (run_folder / "service-health.json").read_bytes()) == (state, noted)
        assert answering(clients) == {"far", "reject"}

        assert check(declarer).after == failing("one")
        assert answering(clients) == {"far"}
        assert clients.ask(standing) == before
        assert {each.backend for each in clients.ask(datagrams)} == {"far"}
        # What is out is told, and is no drift; nor does a run put it in again.
        assert told(declarer.declarations) == failing("one")
        again = declarer.declare(documents, endpoints=pods)
        assert (again.changed, again.notes) == (False, failing("one"))

        clients.serve("one", "tcp")
        assert check(declarer).after == failing("one")
        assert answering(clients) == {"far"}
        assert check(declarer).after == []
        assert answering(clients) == {"one", "far"}
        assert clients.ask(standing) == before
    finally:
        for connection in (*standing, *datagrams):
            connection.close()


def test_where_all_fail_all_stay(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service(readinessProbe=TCP)], endpoints=endpoints("one", "far"))
    for pod in ("one", "far"):
        clients.refuse(pod)
    check(declarer)
    done = check(declarer)
    assert done.after == failing("one", "far", out=False)
    assert done.result is not None
    assert not done.result.changed
    assert answering(clients, "udp") == {"one", "far"}
    clients.serve("far", "tcp")
    check(declarer)
    assert check(declarer).after == failing("one")
    assert answering(clients) == {"far"}


@contextmanager
def web(pod: str, answers: dict[str, Any]) -> Iterator[None]:
    """An HTTP server in a pod, with the status that ``answers`` has at the moment, and what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers["asked"] = (self.path, self.headers["Host"], self.headers["X-Probe"])
            if answers["status"] is None:
                held.wait(5)
            elif isinstance(answers["status"], bytes):
                self.wfile.write(answers["status"])
            else:
                self.send_response(answers["status"])
                self.end_headers()

        def log_message(self, *_words: Any) -> None:
            return

    held = threading.Event()
    with namespace.inside(netns(pod)):
        server = ThreadingHTTPServer((scene.pod_address(pod, 4), HTTP_PORT), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        held.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_http_answers_counts(declarer: Declarer, clients: Clients) -> None:
    probe = {
        "httpGet": {
            "path": "/healthz?full",
            "port": HTTP_PORT,
            "httpHeaders": [{"name": "host", "value": "shop.example"}, {"name": "X-Probe", "value": "podnet"}],
        },
        "failureThreshold": 1,
    }
    only = service(readinessProbe=probe, clusterIPs=[ADDRESSES[4]])
    declarer.declare([only], endpoints=endpoints("one", "far"))
    answers: dict[str, dict[str, Any]] = {pod: {"status": 200} for pod in ("one", "far")}
    asks = [to_service("pod", 4)] * 40
    with web("one", answers["one"]), web("far", answers["far"]):
        assert check(declarer).after == []
        assert answers["one"]["asked"] == ("/healthz?full", "shop.example", "podnet")
        for status, why in (
            (500, "HTTP status 500"),
            (404, "HTTP status 404"),
            (None, "no answer within 1 s"),
            (b"SSH-2.0-x\r\n", "no answer in HTTP"),
        ):
            answers["one"]["status"] = status
            assert check(declarer).after == failing("one", why=why, port=HTTP_PORT)[:1]
            assert {each.backend for each in clients.attempt(asks)} == {"far"}
            answers["one"]["status"] = 302
            assert check(declarer).after == []
            assert {each.backend for each in clients.attempt(asks)} == {"one", "far"}


@pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
def test_a_run_that_settles_comes_to_a_verdict(declarer: Declarer, clients: Clients) -> None:
    declarer.declare([service(readinessProbe=TCP)], endpoints=endpoints("one", "far"))
    clients.refuse("one")
    assert check(declarer, dry=True, settle=True).after == failing("one")
    assert check(declarer, settle=True).after == failing("one")
    # The period has not passed.
    clients.serve("one", "tcp")
    declarer.declare([service(readinessProbe={**TCP, "periodSeconds": 3600})], endpoints=endpoints("one", "far"))
    assert check(declarer, now=False).checks == 0
    assert check(declarer, settle=False).checks == 4


@pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
def test_who_asks_for_no_checks_has_none(declarer: Declarer, clients: Clients, run_folder: Path) -> None:
    pods = endpoints("one", "far")
    declarer.declare([service(readinessProbe=TCP)], endpoints=pods)
    clients.refuse("one")
    assert check(declarer, settle=True).after == failing("one")
    assert len(json.loads((run_folder / "service-health.json").read_text())["default/web1"]["backends"]) == 2
    # What has been found out counts no longer.
    assert declarer.declare([service()], endpoints=pods).changed
    assert answering(clients) == {"far", "reject"}
    state = uncounted()
    assert check(declarer) == (0, [], [], None)
    assert uncounted() == state
    assert [path.name for path in run_folder.iterdir()] == ["lock"]
