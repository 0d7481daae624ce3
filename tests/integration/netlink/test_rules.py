# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy rules: ours and pyroute2's view of the kernel are the same, in both directions."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.rule import (
    FR_ACT_BLACKHOLE,
    FR_ACT_PROHIBIT,
    Rule,
    dump_rules,
    encode_rule,
)
from ansible_collections.podnet.fabric.tests.integration.netlink import oracle
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)
RULES = [
    Rule(V4, 100, 77, src=packed("10.244.0.0"), src_len=16, protocol=84),
    Rule(V4, 100, 77, dst=packed("10.244.0.0"), dst_len=16, iif="v0", protocol=84, invert=True),
    Rule(V4, 101, 100_000, oif="br0", fwmark=0x54, fwmask=0xFF, protocol=84, tos=0x10),
    Rule(V4, 102, 0, action=FR_ACT_BLACKHOLE, protocol=84),
    Rule(V4, 103, 254, suppress_prefixlen=0, protocol=84),
    Rule(V6, 100, 77, src=packed("fd00::"), src_len=48, dst=packed("fd01::"), dst_len=64, protocol=84),
    Rule(V6, 101, 0, action=FR_ACT_PROHIBIT, fwmark=1, fwmask=0xFFFFFFFF, protocol=84),
    Rule(V6, 4_000_000_000, 254, iif="lo", protocol=84),
]


@pytest.mark.parametrize("family", [V4, V6])
def test_rules_of_ours_are_what_pyroute2_reads(node: Node, family: int) -> None:
    before = oracle.rules(node, family)
    rules = [rule for rule in RULES if rule.family == family]
    node.apply(*(encode_rule("create", rule, node.index_of) for rule in rules))
    assert sorted(dump_rules(node.nl, family)) == oracle.rules(node, family)
    assert sorted(dump_rules(node.nl, family, 84)) == sorted(rules)
    node.apply(*(encode_rule("delete", rule, node.index_of) for rule in rules))
    assert oracle.rules(node, family) == before


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (
            "from 10.0.0.0/8 lookup 77 priority 9 protocol 84",
            RULES[0]._replace(priority=9, src=packed("10.0.0.0"), src_len=8),
        ),
        ("not to 10.244.0.0/16 iif v0 lookup 77 priority 100 protocol 84", RULES[1]),
        ("fwmark 0x54/0xff oif br0 tos 0x10 lookup 100000 priority 101 protocol 84", RULES[2]),
        ("blackhole priority 102 protocol 84", RULES[3]),
        ("lookup main suppress_prefixlength 0 priority 103 protocol 84", RULES[4]),
        ("fwmark 1 prohibit priority 101 protocol 84", RULES[6]),
    ],
)
def test_a_rule_of_iproute2_is_what_we_read(node: Node, command: str, rule: Rule) -> None:
    node.netns.ip("-6" if rule.family == V6 else "-4", "rule", "add", *command.split())
    assert dump_rules(node.nl, rule.family, 84) == [rule]


def test_create_refuses_a_rule_that_is_there(node: Node) -> None:
    node.apply(encode_rule("create", RULES[0], node.index_of))
    ((_nth, error),) = node.nl.batch([encode_rule("create", RULES[0], node.index_of)])
    assert error.errno == errno.EEXIST


def test_replace_is_refused_before_the_kernel_makes_a_second_rule_of_it(node: Node) -> None:
    with pytest.raises(ValueError, match="the kernel cannot change it"):
        encode_rule("replace", RULES[0], node.index_of)


@st.composite
def any_rule(draw: st.DrawFn) -> Rule:
    family = draw(st.sampled_from((V4, V6)))
    bits = 32 if family == V4 else 128
    src_len, dst_len = draw(st.integers(0, bits)), draw(st.integers(0, bits))
    address = st.binary(min_size=bits // 8, max_size=bits // 8)
    fwmask = draw(st.integers(0, 0xFFFFFFFF))
    return Rule(
        family,
        draw(st.integers(1, 32765)),
        draw(st.integers(1, 0xFFFFFFFF)),
        draw(address) if src_len else b"",
        src_len,
        draw(address) if dst_len else b"",
        dst_len,
        draw(st.sampled_from(("", "lo", "v0", "fifteen-letters"))),
        draw(st.sampled_from(("", "lo", "v0"))),
        draw(st.integers(1, 0xFFFFFFFF)) if fwmask else 0,
        fwmask,
        protocol=84,
        invert=draw(st.booleans()),
        suppress_prefixlen=draw(st.integers(-1, bits)),
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_rule(), max_size=8, unique=True))
def test_any_rules_read_back_as_written(node: Node, rules: list[Rule]) -> None:
    node.apply(*(encode_rule("create", rule, node.index_of) for rule in rules))
    try:
        for family in (V4, V6):
            read = sorted(dump_rules(node.nl, family, 84))
            assert read == sorted(rule for rule in rules if rule.family == family)
            assert read == [rule for rule in oracle.rules(node, family) if rule.protocol == 84]
    finally:
        node.apply(*(encode_rule("delete", rule, node.index_of) for rule in rules))
