# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guards stand ready for the pods that are likely to come, and one more of them changes none."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.policy import documents, preparation
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint, World, compile_policies


def policy(name: str, labels: dict[str, str], peers: dict[str, Any] | None = None, **more: Any) -> documents.Policy:
    spec: dict[str, Any] = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], **more}
    if peers is not None:
        spec["ingress"] = [{"from": [peers]}]
    return documents.read({"metadata": {"name": name, "namespace": "default"}, "spec": spec})


def endpoint(number: int, **labels: str) -> Endpoint:
    return Endpoint("default", f"pod{number}", labels, {4: (number,)})


def sorts(policies: list[documents.Policy], *endpoints: Endpoint) -> set[str]:
    """The sets of policies of which guards are prepared."""
    found = preparation.prepared(policies, World({}, endpoints)).values()
    return {" ".join(name.partition("/")[2] for name in guard.policies) for guard in found}


def test_a_policy_stands_ready_with_all_that_select_its_pods_and_with_each_other() -> None:
    some = [policy("all", {}), policy("db", {"app": "db"}), policy("web", {"app": "web"}), policy("x", {"x": "y"})]
    assert sorts(some) == {"all", "all db", "all web", "all x", "all db x", "all web x"}
    assert sorts([*some, policy("z", {"z": "y"})], endpoint(1, app="db", x="y", z="y", own="1")) >= {"all db x z"}


def test_up_to_four_policies_stand_ready_together_as_long_as_there_is_room() -> None:
    some = [policy(name, {name: "y"}) for name in "abcde"]
    every = {" ".join(each) for size in range(1, 5) for each in combinations("abcde", size)}
    assert sorts(some) == every
    many = [policy(f"p{number:03}", {f"k{number}": "v"}) for number in range(60)]
    assert {name.count(" ") for name in sorts(many)} == {0, 1}


def test_who_comes_to_a_guard_that_is_prepared_finds_it() -> None:
    some = [policy("all", {}), policy("db", {"app": "db"}, {"podSelector": {"matchLabels": {"app": "web"}}})]
    ready = preparation.prepared(some, World({}, []))
    one = endpoint(1, app="db", more="labels")
    needed = compile_policies(some, World({}, [one]), [one]).guards
    assert needed.items() <= ready.items()
    assert preparation.prepared(some, World({}, [one])) == ready


def test_the_known_come_first_and_one_more_of_a_sort_changes_nothing() -> None:
    many = [policy(f"p{number:03}", {f"k{number}": "v"}) for number in range(100)]
    known = [endpoint(number, **{f"k{number}": "v", "k99": "v"}) for number in range(30, 50)]
    before = sorts(many, *known)
    assert len(before) == preparation.MOST_GUARDS
    assert before >= {f"p{number:03} p099" for number in range(30, 50)}
    ready = next(name for name in sorted(before) if " " not in name)
    more = endpoint(200, **{f"k{int(ready[1:])}": "v"})
    assert sorts(many, *known, more, known[0]._replace(name="another")) == before


def test_what_would_change_more_than_elements_is_not_prepared() -> None:
    pods = {"podSelector": {"matchLabels": {"app": "web"}}}
    rule = {"to": [pods], "ports": [{"protocol": "TCP", "port": "http"}]}
    named = policy("named", {"app": "db"}, policyTypes=["Egress"], egress=[rule])
    assert sorts([named, policy("plain", {"app": "web"})]) == {"plain"}
    very_many = [policy(f"p{number:03}", {}) for number in range(17)]
    assert sorts(very_many) == set()


def test_pods_are_expected_with_the_ports_of_those_of_their_namespace() -> None:
    rule = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]}
    some = [policy("named", {"app": "db"}, ingress=[rule]), policy("all", {})]
    numbers = [endpoint(number)._replace(ports=(("http", "tcp", 80 + number),)) for number in (0, 1)]
    elsewhere = endpoint(9)._replace(namespace="elsewhere", ports=(("http", "tcp", 9),))
    # What no policy asks for makes no difference.
    others = [endpoint(2)._replace(ports=(("http", "udp", 5), ("https", "tcp", 6)))]
    ready = preparation.prepared(some, World({}, [*numbers, elsewhere, *others])).values()
    found = {(guard.policies, *(each.ports[0].first for each in guard.allowances if each.ports)) for guard in ready}
    both, alone = ("default/all", "default/named"), ("default/all",)
    assert found == {(alone,), (both,), (both, 80), (both, 81)}
    without = preparation.prepared(some[:1], World({}, [others[0]._replace(labels={"app": "db"})]))
    assert [guard.allowances for guard in without.values()] == [()]


def test_peers_beyond_a_limit_are_not_held_ready(monkeypatch: Any) -> None:
    monkeypatch.setattr(preparation, "MOST_PEERS", 3)
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    some = [policy("a", {"app": "a"}, web), policy("b", {"app": "b"}, web), policy("c", {"app": "c"})]
    assert sorts(some, endpoint(1, app="web"), endpoint(2, app="web")) == {"a", "c"}
