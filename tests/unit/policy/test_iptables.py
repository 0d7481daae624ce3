# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled policies in iptables' words, and iptables' words read back, without a kernel."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ipsets, iptables_objects, iptables_tools
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import IPSETS, IpSet, additions, removals
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    CHAIN_BYTES,
    IptablesChain,
    IptablesJump,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables import CHAINS, render
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    Allowance,
    Compiled,
    Endpoint,
    Guard,
    PortRange,
)
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import CREATE, DELETE, REPLACE, Operation

INGRESS, EGRESS = "Ingress", "Egress"
EVERYBODY = {4: ((0, 2**32 - 1),), 6: ((0, 2**128 - 1),)}


def number(text: str) -> int:
    return int(ipaddress.ip_address(text))


def pod(name: str, *addresses: str) -> Endpoint:
    by_family: dict[int, tuple[int, ...]] = {}
    for text in addresses:
        family = ipaddress.ip_address(text).version
        by_family[family] = (*by_family.get(family, ()), number(text))
    return Endpoint("default", name, {}, by_family)


def guarded(*allowances: Allowance, direction: str = INGRESS, addresses: tuple[str, ...] = ("10.0.0.2",)) -> Rendering:
    """One pod behind one guard."""
    identity = "0123456789ab"
    before: dict[str, dict[tuple[str, str], str]] = {INGRESS: {}, EGRESS: {}}
    before[direction]["default", "a"] = identity
    compiled = Compiled({identity: Guard(identity, direction, (), allowances)}, before)
    return render("nft", compiled, [pod("a", *addresses)])


def rules(rendering: Rendering, name: str, family: int = 4) -> list[str]:
    """The texts of a chain."""
    chain = rendering.rules["nft", family, CHAINS + name]
    return str(IPTABLES.describe(chain)["rules"]).split("; ")


def named(rendering: Rendering, *elements: str) -> str:
    """The name of the set with these elements."""
    (name,) = (each.name for each in rendering.sets.values() if each.elements == set(elements))
    return name


def test_a_guard_returns_what_is_allowed_and_drops_the_rest() -> None:
    peers = {4: ((number("10.1.0.0"), number("10.1.255.255")),), 6: ((number("fd00::1"), number("fd00::1")),)}
    ports = (PortRange("tcp", 80, 80), PortRange("tcp", 100, 200), PortRange("udp", 53, 53))
    found = guarded(Allowance(None, peers), Allowance(ports, peers))
    prefix = named(found, "10.1.0.0/16")
    assert found.sets[prefix].type == "hash:net"
    assert rules(found, "0123456789ab") == [
        f"-m set --match-set {prefix} src -j RETURN",
        f"-p tcp -m multiport --dports 80,100:200 -m set --match-set {prefix} src -j RETURN",
        f"-p udp -m multiport --dports 53 -m set --match-set {prefix} src -j RETURN",
        "-g PODNET-POLICY-0123456789ab-D",
    ]
    # No IPv6 address is guarded, so nothing of that family is there.
    assert {family for _flavour, family, _name in found.rules} == {4}


def test_everybody_needs_no_set_and_every_port_no_list() -> None:
    found = guarded(
        Allowance((PortRange("sctp", 0, 65535),), None), Allowance(None, EVERYBODY), addresses=("10.0.0.2", "fd00::2")
    )
    for family in (4, 6):
        assert rules(found, "0123456789ab", family) == [
            "-p sctp -j RETURN",
            "-j RETURN",
            "-g PODNET-POLICY-0123456789ab-D",
        ]
    assert {element for each in found.sets.values() for element in each.elements} == {"10.0.0.2", "fd00::2"}


def test_more_ports_than_a_rule_holds_are_more_rules() -> None:
    ports = tuple(PortRange("tcp", first, first + 1) for first in range(10, 90, 10))
    lists = [rule.split()[5] for rule in rules(guarded(Allowance(ports, None)), "0123456789ab")[:-1]]
    assert lists == ["10:11,20:21,30:31,40:41,50:51,60:61,70:71", "80:81"]


def test_neighbours_are_found_whatever_a_policy_says() -> None:
    found = guarded(direction=EGRESS, addresses=("fd00::2",))
    for chain in ("FORWARD", "INPUT"):
        texts = rules(found, chain, 6)
        assert texts[0].startswith("-m conntrack --ctstate ESTABLISHED,RELATED")
        assert sum("icmp6" in text and text.endswith("-j RETURN") for text in texts) == 8
        assert texts[-1] == f"-m set --match-set {named(found, 'fd00::2')} src -j {CHAINS}0123456789ab"


def test_what_a_node_receives_is_for_the_senders_policies_alone() -> None:
    assert ("nft", 4, f"{CHAINS}INPUT") not in guarded(direction=INGRESS).rules
    assert ("nft", 4, f"{CHAINS}INPUT") in guarded(direction=EGRESS).rules


@pytest.mark.parametrize("count", [1, 2, 16, 17, 300, 5000])
def test_the_way_to_a_guard_is_as_long_as_the_logarithm_of_their_number(count: int) -> None:
    names = [f"pod{place}" for place in range(count)]
    identities = {name: hashlib.sha256(name.encode()).hexdigest()[:12] for name in names}
    pods = [pod(name, str(ipaddress.ip_address("10.0.0.0") + place)) for place, name in enumerate(names)]
    guards = {identity: Guard(identity, INGRESS, (), ()) for identity in identities.values()}
    before = {INGRESS: {("default", name): identity for name, identity in identities.items()}, EGRESS: {}}
    found = render("legacy", Compiled(guards, before), pods)
    chains = {name: rule for (_flavour, _family, name), rule in found.rules.items()}
    assert max(map(len, (name for name in chains if " " not in name))) <= CHAIN_BYTES
    assert max(map(len, found.sets)) <= ipsets.NAME_BYTES
    longest = 0
    for each in pods[:: max(1, count // 50)]:
        address = str(ipaddress.ip_address(each.addresses[4][0]))
        looks, chain = walk(found, chains, address)
        assert chain == CHAINS + identities[each.name]
        longest = max(longest, looks)
    steps = 1 if count == 1 else len(f"{count - 1:x}") + 1
    assert longest <= 1 + 16 * steps


def walk(found: Rendering, chains: dict[str, Any], address: str) -> tuple[int, str]:
    """The sets that the first packet to an address is looked up in, and the chain where it ends."""
    chain, looks = f"{CHAINS}FORWARD", 0
    while True:
        for text in str(IPTABLES.describe(chains[chain])["rules"]).split("; "):
            words = text.split()
            if "--match-set" in words and "dst" in words:
                looks += 1
                if address in found.sets[words[words.index("--match-set") + 1]].elements:
                    chain = words[-1]
                    break
        else:
            return looks, chain


def test_a_set_of_other_elements_is_another_set() -> None:
    def of(*addresses: str) -> set[str]:
        return set(guarded(addresses=addresses).sets)

    assert of("10.0.0.2") == of("10.0.0.2")
    assert of("10.0.0.2").isdisjoint(of("10.0.0.3"))


SAVED = """\
# Warning: iptables-legacy tables present, use iptables-legacy-save to see them
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:420]
:PODNET-POLICY-FORWARD - [0:0]
:PODNET-OTHER - [0:0]
:DOCKER - [0:0]
-A FORWARD -m comment --comment "podnet:{other}" -j PODNET-OTHER
-A FORWARD -m comment --comment "podnet:{ours}" -j PODNET-POLICY-FORWARD
-A FORWARD -j DOCKER
-A INPUT -s 10.0.0.0/8 -m comment --comment "podnet:{ours}" -j ACCEPT
-A PODNET-POLICY-FORWARD -m comment --comment "podnet:0123456789ab" -j DROP
-A PODNET-POLICY-FORWARD -s 192.0.2.1/32 -j ACCEPT
COMMIT
"""


def read(saved: str) -> dict[Any, Any]:
    digests = {
        name: iptables_objects.jump_digest(target).partition(":")[2]
        for name, target in (("ours", "PODNET-POLICY-FORWARD"), ("other", "PODNET-OTHER"))
    }
    return dict(iptables_objects.parse("nft", 4, CHAINS, saved.format(**digests)))


def test_what_is_ours_is_read_by_its_digests() -> None:
    chain = IptablesChain("nft", 4, f"{CHAINS}FORWARD", ("podnet:0123456789ab", iptables_objects.NO_COMMENT))
    jump = IptablesJump("nft", 4, "FORWARD", f"{CHAINS}FORWARD")
    assert set(read(SAVED).values()) == {chain, jump}
    line = "-A FORWARD -j DOCKER\n"
    foreign_first = SAVED.replace(line, "").replace("-A FORWARD", f"{line}-A FORWARD", 1)
    assert read(foreign_first)["nft", 4, f"FORWARD {CHAINS}FORWARD"] == jump._replace(first=False)


def test_a_transaction_names_chains_first_and_removes_them_last() -> None:
    rule = IPTABLES.rule("-j DROP")
    new, old = (IptablesChain("nft", 4, f"{CHAINS}{name}", (rule,)) for name in ("NEW", "OLD"))
    jump = IptablesJump("nft", 4, "FORWARD", new.name)
    leading = f"-m comment --comment {iptables_objects.jump_digest(new.name)} -j {new.name}"
    operations = [
        Operation("iptables", CREATE, None, new),
        Operation("iptables", REPLACE, jump._replace(copies=2, first=False), jump),
        Operation("iptables", DELETE, old, None),
    ]
    assert IPTABLES.script(operations).splitlines() == [
        "*filter",
        f":{new.name} - [0:0]",
        f":{old.name} - [0:0]",
        f"-A {new.name} -m comment --comment {rule} -j DROP",
        *[f"-D FORWARD {leading}"] * 2,
        f"-I FORWARD 1 {leading}",
        f"-X {old.name}",
        "COMMIT",
    ]


def test_sets_are_read_by_their_elements_and_changed_by_what_differs() -> None:
    saved = (
        "ipset> create podnet-policy-p4-a hash:net family inet hashsize 64 maxelem 65536 initval 0x1\n"
        "add podnet-policy-p4-a 10.0.0.0/8\nadd podnet-policy-p4-a 192.0.2.1\n"
        "ipset> create podnet-policy-a6-b hash:ip family inet6 hashsize 64 maxelem 65536\nipset> "
    )
    before = IpSet("podnet-policy-p4-a", "hash:net", "inet", frozenset({"10.0.0.0/8", "192.0.2.1/32"}))
    empty = IpSet("podnet-policy-a6-b", "hash:ip", "inet6", frozenset())
    assert ipsets.parse(saved) == {each.name: each for each in (before, empty)}
    after = before._replace(elements=frozenset({"10.0.0.0/8", "10.128.0.0/9"}))
    operation = Operation("ipsets", REPLACE, before, after)
    assert [*additions(operation), *removals(operation)] == [
        f"add {before.name} 10.128.0.0/9",
        f"del {before.name} 192.0.2.1/32",
    ]
    assert not IPSETS.immutable(before, after)
    assert IPSETS.immutable(before, before._replace(type="hash:ip"))
    with pytest.raises(PodnetError, match="Kernel error"):
        ipsets.parse("ipset v7.17: Kernel error received: Operation not permitted\n")


def test_a_large_set_has_room_for_its_elements() -> None:
    elements = frozenset(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(70_000))
    (create, *adds) = additions(Operation("ipsets", CREATE, None, IpSet("s", "hash:ip", "inet", elements)))
    words = create.split()
    assert int(words[words.index("maxelem") + 1]) >= len(adds) == 70_000


def test_our_own_rules_are_no_reason_for_a_flavour() -> None:
    assert not iptables_tools.holds_rules(":FORWARD DROP [0:0]\n-A FORWARD -j PODNET-POLICY-FORWARD\n")
    assert iptables_tools.holds_rules("-A FORWARD -j PODNET-POLICY-FORWARD\n-A FORWARD -j DOCKER\n")
