# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled services in iptables' words, walked as a packet would, without a kernel."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ipsets
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import NAME_BYTES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    CHAIN_BYTES,
    IptablesChain,
    IptablesJump,
    jump_digest,
    key,
    parse,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_iptables import render
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_iptables_objects import CHAINS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import of_networks
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import CREATE, Operation
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Table, World, compile_services
from tests.conformance import service_cases as scene

PODS, BLOCKS, SERVICES = (of_networks(each.values()) for each in (scene.PODS, scene.BLOCKS, scene.SERVICES))


class Packet(NamedTuple):
    """The first one of a connection."""

    destination: str
    port: int
    protocol: str = "tcp"
    source: str = "10.244.1.99"


class Walk:
    """How a packet fares in the chains of ``nat``, each time that chance decides in all ways."""

    def __init__(self, rendering: Rendering, packet: Packet) -> None:
        self._rendering, self._packet = rendering, packet
        self.family = ipaddress.ip_address(packet.destination).version
        self.ends: dict[str, float] = defaultdict(float)
        self.compared = 0
        self._chain(f"{CHAINS}LOOKUP", 1.0)

    def _chain(self, name: str, share: float) -> float:
        """Gives the share of all connections that comes back to where the chain was called from."""
        back = 0.0
        for rule in rules(self._rendering, name, self.family):
            words = rule.split()
            taken = share * self._matches(words)
            verb, target = words[words.index("-j" if "-j" in words else "-g") :][:2]
            if not taken:
                continue
            if target == "DNAT":
                self.ends[words[-1]] += taken
                share -= taken
            elif verb == "-g":
                back += self._chain(target, taken)
                share -= taken
            elif target.startswith(CHAINS):
                share -= taken - self._chain(target, taken)
        return back + share

    def _matches(self, words: list[str]) -> float:
        """How many of the packets like this one a rule takes; neither end is the node itself."""
        self.compared += 1
        packet, told = self._packet, dict(pairwise(words))
        if "--match-set" in told:
            place = words.index("--match-set")
            if self._in_set(words[place + 1], words[place + 2]) == (words[place - 1] == "!"):
                return 0
        wanted = (("-p", packet.protocol), ("--dport", str(packet.port)), ("-d", packet.destination))
        if "--src-type" in told or "--dst-type" in told or any(told.get(each, text) != text for each, text in wanted):
            return 0
        return float(told.get("--probability", 1))

    def _in_set(self, name: str, flags: str) -> bool:
        found = self._rendering.sets[name]
        if found.timeout:
            return False
        if flags == "dst,dst":
            return f"{self._packet.destination},{self._packet.protocol}:{self._packet.port}" in found.elements
        assert flags == "src"
        source = ipaddress.ip_address(self._packet.source)
        return any(source in ipaddress.ip_network(each) for each in found.elements)


def rules(rendering: Rendering, name: str, family: int) -> list[str]:
    text = str(IPTABLES.describe(rendering.rules["nft", family, name])["rules"])
    return text.split("; ") if text else []


def chains(rendering: Rendering) -> list[IptablesChain]:
    return [each for each in rendering.rules.values() if isinstance(each, IptablesChain)]


def compiled(*services: dict[str, Any], slices: tuple[dict[str, Any], ...] = ()) -> Table:
    return compile_services(documents.services(list(services)), World([], documents.slices(list(slices))), "a")


def drawn(table: Table) -> Rendering:
    return render("nft", table, BLOCKS, PODS, SERVICES)


def service(number: int, **spec: Any) -> dict[str, Any]:
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    return {
        "metadata": {"name": f"web{number}"},
        "spec": {"clusterIPs": [address, f"fd00:10:96::{number + 1:x}"], "ports": [{"port": 80}], **spec},
    }


def backends(number: int, *weights: int) -> tuple[dict[str, Any], ...]:
    """Slices of both families; a backend has the number of its service and its own in its address."""
    return tuple(
        {
            "metadata": {"name": f"web{number}-{family}", "labels": {"kubernetes.io/service-name": f"web{number}"}},
            "addressType": f"IPv{family}",
            "ports": [{"port": 8080}],
            "endpoints": [
                {"addresses": [text.format(number // 250, number % 250, place + 2)], "weight": weight}
                for place, weight in enumerate(weights)
            ],
        }
        for family, text in ((4, "10.{}.{}.{}"), (6, "fd00:{}:{}::{:x}"))
    )


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
@pytest.mark.parametrize("weights", [(1,), (1, 1, 1), (5, 1, 3), (1,) * 100, tuple(range(1, 40))], ids=len)
def test_each_backend_gets_its_share_exactly(weights: tuple[int, ...], affinity: str) -> None:
    rendering = drawn(compiled(service(0, sessionAffinity=affinity), slices=backends(0, *weights)))
    for packet, text in (
        (Packet("10.96.0.1", 80), "10.0.0.{}:8080"),
        (Packet("fd00:10:96::1", 80, source="fd00:10:244:1::9"), "[fd00::{:x}]:8080"),
    ):
        expected = {text.format(place): weight / sum(weights) for place, weight in enumerate(weights, 2)}
        assert Walk(rendering, packet).ends == pytest.approx(expected, abs=1e-7)
    if affinity == "None":
        assert max(len(each.rules) for each in chains(rendering)) <= 17


def test_each_of_many_services_is_led_to_its_own_backends_in_few_steps() -> None:
    many = range(2000)
    table = compiled(*map(service, many), slices=tuple(each for number in many for each in backends(number, 1, 1)))
    rendering = drawn(table)
    most = 0
    for number in many[::37]:
        walk = Walk(rendering, Packet(f"10.96.{number // 250}.{number % 250 + 1}", 80))
        expected = {f"10.{number // 250}.{number % 250}.{place}:8080" for place in (2, 3)}
        assert {end: round(share, 7) for end, share in walk.ends.items()} == dict.fromkeys(expected, 0.5)
        most = max(most, walk.compared)
        assert not Walk(rendering, Packet(f"10.96.{number // 250}.{number % 250 + 1}", 81)).ends
    # One of all, sixteen at a step, 64 in the last, and those of the answer.
    assert most <= 1 + 16 + 64 + 3
    # What is for no service is told by a look: there are no node ports.
    assert Walk(rendering, Packet("192.0.2.7", 80)).compared == 1


def test_a_service_more_touches_a_few_sets_and_chains_and_other_backends_no_set_of_the_tree() -> None:
    many = range(400)
    slices = tuple(each for number in many for each in backends(number, 1, 1))

    def differences(one: Rendering, other: Rendering) -> tuple[set[str], set[str]]:
        sets = {name for name in {*one.sets, *other.sets} if one.sets.get(name) != other.sets.get(name)}
        chains = {each for each in {*one.rules, *other.rules} if one.rules.get(each) != other.rules.get(each)}
        return sets, {name.removeprefix(CHAINS) for _flavour, _family, name in chains}

    before = drawn(compiled(*map(service, many), slices=slices))
    after = drawn(compiled(*map(service, range(401)), slices=(*slices, *backends(400, 1, 1))))
    sets, names = differences(before, after)
    # Of each family: all addresses, all frontends, those with the same first digit, and who may come to itself.
    assert len(sets) == 8
    assert len([name for name in names if name.startswith("F")]) == 2
    assert len(names) == 4
    moved = drawn(compiled(*map(service, many), slices=(*slices[2:], *backends(0, 1, 1, 1))))
    sets, names = differences(before, moved)
    assert {name[:17] for name in sets} == {"podnet-service-h4", "podnet-service-h6"}
    assert len(names) == 6


def test_names_are_as_long_as_the_kernel_lets_them_be() -> None:
    found = [case.documents("TCP", "UDP", "SCTP") for case in scene.cases()]
    for each, _slices in found:
        each["spec"]["sessionAffinity"] = "ClientIP"
    table = compiled(
        *(each for each, _slices in found),
        *(service(number) for number in range(300)),
        slices=(
            *(each for _service, some in found for each in some),
            *(each for number in range(300) for each in backends(number, 1)),
        ),
    )
    rendering = drawn(table)
    assert max(map(len, rendering.sets)) <= NAME_BYTES
    assert max(len(each.name) for each in chains(rendering)) <= CHAIN_BYTES
    assert {key(each) for each in rendering.rules.values()} == set(rendering.rules)
    # Each set that a rule looks into is there, and each is looked into or filled.
    texts = " ".join(rule for each in chains(rendering) for rule in rules(rendering, each.name, each.family))
    named = {word for word in texts.split() if word.startswith("podnet-service-")}
    assert named <= set(rendering.sets)
    assert {name for name in set(rendering.sets) - named if name[15] != "b"} == set()


def test_without_services_there_is_nothing_and_a_family_without_one_has_nothing() -> None:
    assert drawn(compiled()) == Rendering({}, {}, {})
    four = service(0)
    four["spec"]["clusterIPs"] = ["10.96.0.1"]
    rendering = drawn(compiled(four, slices=backends(0, 1)))
    assert {each.family for each in rendering.rules.values()} == {4}
    assert {each.family for each in rendering.sets.values()} == {"inet"}


def test_a_set_of_clients_is_one_of_its_own_for_each_backend_of_a_port() -> None:
    sticky = {"sessionAffinity": "ClientIP"}
    one, other = service(0, **sticky), service(1, **sticky)
    rendering = drawn(compiled(one, other, slices=(*backends(0, 1, 3), *backends(1, 1))))
    clients = [each for each in rendering.sets.values() if each.timeout]
    assert len(clients) == 6
    assert {each.elements for each in clients} == {frozenset()}
    # Who is in there, and for how long, says nothing of whether the set is as it should be.
    shown = f"create {clients[0].name} hash:ip family inet hashsize 64 maxelem 65536 timeout {clients[0].timeout}\n"
    filled = f"{shown}add {clients[0].name} 192.0.2.1 timeout 17\n"
    assert ipsets.parse(filled)[clients[0].name] == clients[0]._replace(family="inet")
    (made,) = ipsets.additions(Operation("ipsets", CREATE, None, clients[0]))
    assert made.endswith(f"maxelem 65536 timeout {clients[0].timeout}")
    assert ipsets.IPSETS.immutable(clients[0]._replace(timeout=0), clients[0])


JUMPS = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m comment --comment "{first}" -j {first_name}
-A FORWARD -m comment --comment "{second}" -j {second_name}
-A FORWARD -j DOCKER
COMMIT
"""


def test_what_is_rejected_is_so_before_a_policy_drops_it() -> None:
    stray, guard = f"{CHAINS}STRAY", "PODNET-POLICY-FORWARD"
    jumps = [IptablesJump("nft", 4, "FORWARD", name) for name in (stray, guard)]

    def read(first: str, second: str) -> list[Any]:
        digests = {"first": jump_digest(first), "second": jump_digest(second)}
        saved = JUMPS.format(first_name=first, second_name=second, **digests)
        found = parse("nft", 4, "PODNET-", saved)
        return [found[key(jump)] for jump in jumps]

    assert read(stray, guard) == jumps
    assert read(guard, stray) == [jumps[0]._replace(first=False), jumps[1]]
    # A policy that comes later comes behind, and services before all.
    lines = IPTABLES.script([Operation("iptables", CREATE, None, each) for each in jumps], {"FORWARD": 1}).splitlines()
    assert [line.split()[:3] for line in lines[1:-1]] == [["-I", "FORWARD", "1"], ["-I", "FORWARD", "2"]]
    # What sends on is there before what rejects the rest.
    rule = IPTABLES.rule("-j DROP")
    made = [IptablesChain("nft", 4, f"{CHAINS}{table.upper()}", (rule,), table) for table in ("filter", "nat")]
    tables = IPTABLES.script([Operation("iptables", CREATE, None, each) for each in made]).splitlines()
    assert [line for line in tables if line.startswith(("*", "COMMIT"))] == ["*nat", "COMMIT", "*filter", "COMMIT"]
