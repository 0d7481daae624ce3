# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services get addresses and node ports that nobody else has, keep them, and what has rested is handed on."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text, planning
from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import Allotment, Needs, complete, settle
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import ServiceRange
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

if TYPE_CHECKING:
    from pathlib import Path

BOTH = Needs([ServiceRange(ipaddress.ip_network(text)) for text in ("10.96.0.0/24", "fd00:96::/112")], (30000, 32767))
NARROW = Needs([ServiceRange(ipaddress.ip_network("10.96.0.0/29"))], (30000, 30002))
REST = 100


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def given_out(
    held: tuple[Allotment, ...], services: list[dict[str, Any]], needs: Needs = BOTH, now: int = 0
) -> tuple[tuple[Allotment, ...], list[list[str]]]:
    """What the ledger holds then, and each service's addresses and node ports."""
    settled, problems = settle(held, services, needs, now, REST)
    assert problems == []
    done = complete(services, settled)
    inspection = Inspection()
    inspect_services(inspection, "services", done)
    assert inspection.findings == []
    shown = [
        [
            *documents.given_addresses(each["spec"]),
            *(str(p["nodePort"]) for p in each["spec"]["ports"] if "nodePort" in p),
        ]
        for each in done
    ]
    return settled, shown


def test_the_first_family_of_the_ranges_is_that_of_a_service_which_asks_for_none() -> None:
    asked = [
        service("plain"),
        service("six", ipFamilies=["IPv6"]),
        service("both", ipFamilyPolicy="PreferDualStack"),
        service("turned", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv6", "IPv4"]),
        service("named", clusterIP="10.96.0.10"),
        service("more", clusterIP="10.96.0.11", ipFamilyPolicy="RequireDualStack"),
        service("headless", clusterIP="None", ports=[]),
        service("port", type="NodePort"),
        service(
            "ports", type="LoadBalancer", ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2, "nodePort": 31000}]
        ),
        service("none", type="LoadBalancer", allocateLoadBalancerNodePorts=False),
    ]
    _held, shown = given_out((), asked)
    assert shown == [
        ["10.96.0.17"],
        ["fd00:96::101"],
        ["10.96.0.18", "fd00:96::102"],
        ["fd00:96::103", "10.96.0.19"],
        ["10.96.0.10"],
        ["10.96.0.11", "fd00:96::104"],
        ["None"],
        ["10.96.0.20", "30086"],
        ["10.96.0.21", "30087", "31000"],
        ["10.96.0.22"],
    ]


def test_what_a_service_has_stays_and_what_it_had_comes_back() -> None:
    held, before = given_out((), [service("a"), service("b", type="NodePort"), service("c")])
    held, _shown = given_out(held, [service("c"), service("new")], now=10)
    assert [each.released for each in held if each.service == "default/b"] == [10, 10]
    held, shown = given_out(held, [service("b", type="NodePort"), service("c"), service("new"), service("x")], now=20)
    assert shown[:2] == before[1:]
    # What a has had still rests, also from a service that comes now; then it is handed on.
    assert before[0][0] not in {address for each in shown for address in each}
    _held, shown = given_out(held, [service("b", type="NodePort"), service("y")], now=111)
    assert shown[1] == before[0]


def test_what_a_document_names_is_no_one_elses() -> None:
    held, shown = given_out((), [service("a")])
    taken = service("b", clusterIP=shown[0][0])
    _settled, problems = settle(held, [service("a"), taken], BOTH, 0, REST)
    assert [str(problem) for problem in problems] == [
        "podnet_services[1].spec.clusterIP: found 10.96.0.17, which default/a has been given, wanted one that is free; "
        "give another one, or none to get one"
    ]
    # When the other has left, an operator may have it at once; and it goes round one that it does not have.
    _held, shown = given_out(held, [taken, service("c")])
    assert shown == [["10.96.0.17"], ["10.96.0.18"]]


def test_a_shortage_is_told_for_each_service() -> None:
    many = [service(f"s{number}", type="NodePort") for number in range(7)]
    dual = service("dual", ipFamilyPolicy="RequireDualStack", clusterIP="192.0.2.1")
    _settled, problems = settle((), [*many, dual], NARROW, 0, REST)
    assert [problem.path for problem in problems] == [
        "podnet_services[7].spec.clusterIP",
        *(f"podnet_services[{number}].spec.ports" for number in (3, 4, 5)),
        *("podnet_services[6].spec.clusterIP", "podnet_services[6].spec.ports", "podnet_services[7].spec.clusterIP"),
    ]
    assert "192.0.2.1, wanted an address in podnet_service_cidrs" in str(problems[0])
    assert "no free IPv6 address in podnet_service_cidrs" in str(problems[-1])


NAMES = st.sets(st.sampled_from("abcdefgh"), max_size=4)


@given(st.lists(st.tuples(NAMES, st.integers(0, 60), st.booleans()), max_size=12))
def test_nothing_is_ever_two_services(runs: list[tuple[set[str], int, bool]]) -> None:
    held: tuple[Allotment, ...] = ()
    last: dict[str, tuple[int, str]] = {}  # address: when somebody had it last, and who
    before: dict[str, str] = {}
    now = 0
    for names, later, named in runs:
        now += later
        asked = [
            service(
                name, type="NodePort", **({"clusterIP": f"10.96.0.{ord(name) - 90}"} if named and name in "ab" else {})
            )
            for name in sorted(names)
        ]
        needs = Needs([ServiceRange(ipaddress.ip_network("10.96.0.0/27"))], (30000, 30099))
        held, shown = given_out(held, asked, needs, now)
        have = [what for each in shown for what in each]
        assert len(have) == len(set(have))
        for document, found in zip(asked, shown, strict=True):
            name = document["metadata"]["name"]
            address = found[0]
            when, who = last.get(address, (0, name))
            assert who == name or now - when >= REST or "clusterIP" in document["spec"]
            if not named and name in before and before[name] not in {f"10.96.0.{ord(each) - 90}" for each in "ab"}:
                assert address == before[name]
            last[address] = (now, name)
        before = {document["metadata"]["name"]: found[0] for document, found in zip(asked, shown, strict=True)}
        assert {each.what for each in held if each.released is None} >= set(before.values())


def test_the_ledger_writes_and_reads_it() -> None:
    held, _shown = given_out((), [service("a", type="NodePort", ipFamilyPolicy="RequireDualStack"), service("b")])
    held, _shown = given_out(held, [service("a", type="NodePort", ipFamilyPolicy="RequireDualStack")], now=60)
    text = ledger_text.render(Ledger("lab", (), held))
    assert json.loads(text) == {
        "format": 2,
        "cluster": "lab",
        "blocks": {},
        "services": {
            "10.96.0.17": {"service": "default/a"},
            "10.96.0.18": {"service": "default/b", "released": "1970-01-01T00:01:00Z"},
            "fd00:96::101": {"service": "default/a"},
            "tcp/30086": {"service": "default/a", "port": "tcp-80"},
        },
    }
    assert ledger_text.parse(text, "L", "lab") == Ledger("lab", (), held)
    for good, bad in (
        ("tcp/30086", "icmp/30086"),
        ("10.96.0.17", "10.96.0"),
        ('"port": "tcp-80"', '"name": "tcp-80"'),
        ('"default/b"', "7"),
        ("1970-01-01T", "1970-01-01 "),
    ):
        with pytest.raises(ledger_text.LedgerError, match="L: services"):
            ledger_text.parse(text.replace(good, bad), "L", "lab")


def test_the_plan_gives_them_out_and_writes_them_down(tmp_path: Path) -> None:
    def run(allocate: bool, **variables: Any) -> planning.Outcome:
        given = {"podnet_service_cidrs": ["10.96.0.0/24"], **variables}
        return planning.run([Host("n1", given, "192.0.2.1")], [], str(tmp_path), allocate)

    services = [service("web", selector={"app": "web"})]
    services[0]["metadata"]["creationTimestamp"] = dt.date(2026, 1, 31)
    services[0]["status"] = {"loadBalancer": {}, "conditions": [{"lastTransitionTime": dt.date(2026, 1, 31)}]}
    outcome = run(True, podnet_services=services)
    assert outcome.problems == []
    assert outcome.plan is not None
    assert json.loads(outcome.plan["services"]) == [
        {
            "metadata": {"name": "web"},
            "spec": {"clusterIPs": ["10.96.0.17"], "selector": {"app": "web"}, "ports": [{"port": 80}]},
        }
    ]
    assert '"10.96.0.17": {"service": "default/web"}' in (tmp_path / ".podnet-ledger.json").read_text()
    again = run(True, podnet_services=services)
    assert (again.before, again.plan) == (again.after, outcome.plan)
    wrong = run(True, podnet_services=[service("web", type="Web")], podnet_service_node_ports="40000-30000")
    assert {problem.path for problem in wrong.problems} == {"podnet_services[0].spec.type", "podnet_service_node_ports"}
    short = run(True, podnet_services=[service("web", ipFamilies=["IPv6"])])
    assert [problem.path for problem in short.problems] == ["podnet_services[0].spec.clusterIP"]
    inside = run(True, podnet_services=[service("web", externalIPs=["10.96.0.200", "198.51.100.1"])])
    assert [(problem.path, problem.found) for problem in inside.problems] == [
        ("podnet_services[0].spec", "10.96.0.200, which lies in podnet_service_cidrs[0] 10.96.0.0/24")
    ]
    # Whoever removes them has the ledger of before, with what rests.
    assert run(True).problems == []
