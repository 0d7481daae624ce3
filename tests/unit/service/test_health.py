# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many checks it takes until a backend is out or in, which stay when all fail, and what is kept of it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents, health
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Backend, World, compile_services
from ansible_collections.podnet.fabric.plugins.module_utils.service.health import Condition, Health, Record
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = "Connection refused"


def service(probe: dict[str, Any] | None, **spec: Any) -> dict[str, Any]:
    more = {} if probe is None else {"readinessProbe": probe}
    return {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}], **more, **spec},
    }


def world(*hosts: int, **conditions: dict[str, bool]) -> World:
    """Backends 10.244.0.x, those with conditions by ``b<x>``, the odd ones on node a."""
    listed = {
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {documents.SERVICE_NAME: "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [
            {
                "addresses": [f"10.244.0.{host}"],
                "nodeName": "ba"[host % 2],
                "conditions": conditions.get(f"b{host}", {}),
            }
            for host in hosts
        ],
    }
    return World([], documents.slices([listed]))


def place(host: int, port: int = 8080) -> health.Place:
    return 4, Backend(int(ipaddress.ip_address(f"10.244.0.{host}")), port)


def wanted(probe: dict[str, Any], there: World) -> dict[str, health.Asked]:
    return health.asked(documents.services([service(probe)]), there)


def gone(*hosts: int) -> Health:
    return {"shop/web": Record(0.0, {place(host): Condition(True, 0, REFUSED) for host in hosts})}


def sent_to(document: dict[str, Any], there: World, known: Health, node: str = "a") -> tuple[str, list[int]]:
    """The verdict and the last numbers of the backends' addresses."""
    table = compile_services(documents.services([document]), there, node, health.out(known))
    answer = next(iter(table.frontends.values())).inside
    return answer.verdict, [backend.address & 255 for backend in answer.backends]


def test_thresholds_are_checks_in_a_row() -> None:
    probe = {"tcpSocket": {}, "failureThreshold": 3, "successThreshold": 2}
    asked = wanted(probe, world(1))
    known: Health = {}
    states = []
    # What has not been come to (None) counts for neither.
    for why in (REFUSED, REFUSED, "", REFUSED, None, REFUSED, REFUSED, "", REFUSED, "", "", REFUSED):
        known = health.advance(known, asked, {"shop/web": {} if why is None else {place(1): why}}, 7.0)
        states.append(bool(health.out(known)))
    assert states == [False] * 6 + [True] * 4 + [False] * 2


def test_by_default_three_failures_take_a_backend_out_and_one_success_brings_it_back() -> None:
    asked = wanted({"tcpSocket": {}}, world(1))
    known: Health = {}
    states = []
    for why in (REFUSED, REFUSED, REFUSED, ""):
        known = health.advance(known, asked, {"shop/web": {place(1): why}}, 7.0)
        states.append(bool(health.out(known)))
    assert states == [False, False, True, False]
    assert known == {"shop/web": Record(7.0, {})}


def test_who_is_out_gets_nothing_and_where_all_are_all_stay() -> None:
    document = service({"tcpSocket": {}})
    assert sent_to(document, world(1, 2, 3), gone()) == ("forward", [1, 2, 3])
    assert sent_to(document, world(1, 2, 3), gone(2)) == ("forward", [1, 3])
    assert sent_to(document, world(1, 2, 3), gone(1, 2, 3)) == ("forward", [1, 2, 3])
    assert sent_to(document, world(), gone(1)) == ("reject", [])
    # Without a probe nobody looks at what was found out before.
    assert sent_to(service(None), world(1, 2), gone(1)) == ("forward", [1, 2])


def test_who_terminates_takes_over_from_ready_ones_that_fail() -> None:
    there = world(1, 2, b2={"ready": False, "serving": True, "terminating": True})
    assert sent_to(service({"tcpSocket": {}}), there, gone()) == ("forward", [1])
    assert sent_to(service({"tcpSocket": {}}), there, gone(1)) == ("forward", [2])
    assert sent_to(service({"tcpSocket": {}}), there, gone(1, 2)) == ("forward", [1])


def test_a_local_policy_drops_where_the_nodes_own_backends_fail_and_others_do_not() -> None:
    document = service({"tcpSocket": {}}, internalTrafficPolicy="Local")
    assert sent_to(document, world(1, 2), gone(1)) == ("drop", [])
    assert sent_to(document, world(1, 2), gone(1), "b") == ("forward", [2])
    assert sent_to(document, world(1, 2), gone(1, 2)) == ("forward", [1])


def test_one_port_may_answer_for_all() -> None:
    asked = wanted({"httpGet": {"port": 9000}}, world(1, 2))
    assert asked["shop/web"].places == {place(1, 9000), place(2, 9000)}
    known = {"shop/web": Record(0.0, {place(2, 9000): Condition(True, 0, REFUSED)})}
    assert sent_to(service({"httpGet": {"port": 9000}}), world(1, 2), known) == ("forward", [1])


def test_who_gets_no_connections_is_not_checked() -> None:
    there = world(1, 2, 3, b2={"ready": False}, b3={"ready": False, "serving": True, "terminating": True})
    assert wanted({"tcpSocket": {}}, there)["shop/web"].places == {place(1), place(3)}


def test_who_is_no_backend_any_more_is_forgotten() -> None:
    asked = wanted({"tcpSocket": {}}, world(1))
    assert health.advance(gone(1, 2), asked, {}, 7.0) == gone(1)
    assert health.advance(gone(1, 2), {}, {}, 7.0) == {}


def test_a_check_is_due_when_the_period_is_nearly_over_or_the_clock_began_anew() -> None:
    known = {"shop/web": Record(100.0, {})}
    times = (100.0, 108.9, 109.1, 50.0)
    assert [health.due(known, "shop/web", 10, now) for now in times] == [False, False, True, True]
    assert health.due({}, "shop/web", 10, 0.0)


def test_each_backend_that_fails_is_told() -> None:
    services = documents.services([service({"tcpSocket": {}})])
    assert health.sentences(services, world(1, 2), gone(2, 9)) == [
        "service shop/web: backend 10.244.0.2:8080 is out: Connection refused"
    ]
    (stays,) = health.sentences(services, world(2), gone(2))
    assert stays.endswith("10.244.0.2:8080 fails its checks (Connection refused), but stays, as no other is left")


def test_what_is_known_is_kept_and_damage_is_nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "NOTE", tmp_path / "note.json")
    six = (6, Backend(int(ipaddress.ip_address("fd00::1")), 80))
    known = {
        "shop/web": Record(3.5, {place(1): Condition(False, 2, "HTTP status 500"), six: Condition(True, 0, REFUSED)})
    }
    health.write(known)
    assert health.read() == known
    whole = health.NOTE.read_text()
    for damage in ("", "[]", "{", whole.replace("10.244", "10.2444"), whole.replace('"streak": 2', '"streak": "x"')):
        assert damage != whole
        health.NOTE.write_text(damage)
        assert health.read() == {}
    health.write({})
    assert not health.NOTE.exists()
    assert health.read() == {}


def found(probe: Any, **spec: Any) -> list[str]:
    inspection = Inspection()
    inspect_services(inspection, "x", [service(probe, **spec)])
    return sorted(map(str, inspection.findings))


def test_what_probes_may_say_is_taken() -> None:
    headers = [{"name": "Host", "value": "shop.example"}]
    probes: list[dict[str, Any]] = [
        {"tcpSocket": {}},
        {"tcpSocket": {"port": 80}, "periodSeconds": 86400, "timeoutSeconds": 60},
        {"httpGet": {"path": "/healthz?full=1", "port": 1, "httpHeaders": headers}, "failureThreshold": 1},
    ]
    for probe in probes:
        assert found(probe) == []
    read = documents.services([service({"httpGet": {"httpHeaders": headers}, "timeoutSeconds": 2})])[0].probe
    assert read == documents.Probe("/", 0, (("Host", "shop.example"),), 10, 2, 3, 1)


def test_everything_that_is_wrong_with_a_probe_is_told_at_once() -> None:
    path = "x[0].spec.readinessProbe"
    assert found("yes") == [
        f"{path}: 'yes'; give a mapping with tcpSocket, httpGet, periodSeconds, timeoutSeconds, failureThreshold, "
        "successThreshold"
    ]
    assert found({}) == [f"{path}: no handler given; give tcpSocket or httpGet"]
    assert found({"tcpSocket": {}, "httpGet": {}}) == [
        f"{path}: tcpSocket and httpGet given; give tcpSocket or httpGet"
    ]
    wrong = {
        "httpGet": {
            "path": "healthz",
            "port": "web",
            "scheme": "HTTPS",
            "httpHeaders": [{"name": "a b", "value": "x"}, {"name": "a", "value": "x\r\nb: y"}],
        },
        "periodSeconds": 0,
        "timeoutSeconds": 61,
        "failureThreshold": True,
        "successThreshold": "1",
        "initialDelaySeconds": 5,
    }
    assert [line.partition(":")[0] for line in found(wrong)] == [
        f"{path}.failureThreshold",
        f"{path}.httpGet.httpHeaders[0].name",
        f"{path}.httpGet.httpHeaders[1].value",
        f"{path}.httpGet.path",
        f"{path}.httpGet.port",
        f"{path}.httpGet.scheme",
        f"{path}.initialDelaySeconds",
        f"{path}.periodSeconds",
        f"{path}.successThreshold",
        f"{path}.timeoutSeconds",
    ]


def test_a_probe_that_nothing_can_come_of_is_refused() -> None:
    udp = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53}]
    path = "x[0].spec.readinessProbe"
    assert found({"tcpSocket": {}}, ports=udp) == [
        f"{path}.tcpSocket.port: nothing, but a port of the service is 'UDP'; "
        "give the TCP port that answers for all of them"
    ]
    assert found({"tcpSocket": {"port": 53}}, ports=udp) == []
    for spec in ({"clusterIP": "None"}, {"publishNotReadyAddresses": True}):
        (line,) = found({"tcpSocket": {}}, **spec)
        assert line.startswith(f"{path}: given with ")


@pytest.mark.parametrize("probe", [{}, "yes", {"httpGet": {"port": 70000}}, {"tcpSocket": {}, "periodSeconds": "x"}])
def test_a_declared_probe_that_somebody_has_edited_is_named(probe: Any) -> None:
    with pytest.raises(DeclarationError, match="holds no Service"):
        documents.services([service(probe)])
