# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy rules: which routing table a packet is looked up in (RTM_NEWRULE; linux/fib_rules.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ADDRESS_SIZE,
    attribute,
    message,
    number,
    text,
    text_of,
    verbs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Table, records, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

FR_ACT_TO_TBL = 1
FR_ACT_BLACKHOLE = 6
FR_ACT_UNREACHABLE = 7
FR_ACT_PROHIBIT = 8

_RTM_GETRULE = 34
_VERBS = verbs(new=32, delete=33)
# struct fib_rule_hdr: family, destination's and source's prefix length, tos, table, (reserved), action, flags.
_BODY = struct.Struct("=BBBBBxxBI")
_FIB_RULE_INVERT = 2
_FRA_DST = 1
_FRA_SRC = 2
_FRA_IIFNAME = 3
_FRA_PRIORITY = 6
_FRA_FWMARK = 10
_FRA_SUPPRESS_PREFIXLEN = 14
_FRA_TABLE = 15
_FRA_FWMASK = 16
_FRA_OIFNAME = 17
_FRA_PROTOCOL = 21
_NO_SUPPRESSION = 0xFFFFFFFF


class Rule(NamedTuple):
    """A policy rule. Selectors that we never set (ports, user ids, ...) are not read either."""

    family: int
    priority: int
    table: int = 0
    src: bytes = b""
    src_len: int = 0
    dst: bytes = b""
    dst_len: int = 0
    iif: str = ""
    oif: str = ""
    fwmark: int = 0
    fwmask: int = 0  # the bits of the mark that are compared: 0xFFFFFFFF for all
    action: int = FR_ACT_TO_TBL
    protocol: int = 0
    invert: bool = False
    tos: int = 0
    suppress_prefixlen: int = -1  # routes with a prefix this long or shorter do not count; -1 for all do


def dump_rules(nl: Netlink, family: int, protocol: int = 0) -> list[Rule]:
    """The rules of one family: of one owner (protocol) or of all (0)."""
    rules: list[Rule] = []
    for each in tables(nl.dump(_RTM_GETRULE, _BODY.pack(family, 0, 0, 0, 0, 0, 0)), _BODY.size):
        rules += _rules(each)
    # The kernel has no filter for rules.
    return [rule for rule in rules if protocol in (0, rule.protocol)]


def encode_rule(verb: str, rule: Rule, _index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to a rule. The kernel cannot replace rules: "create" or "delete"."""
    if verb not in ("create", "delete"):
        raise ValueError(f"{verb}: a rule is created or deleted, the kernel cannot change it")
    kind, message_flags = _VERBS[verb]
    for address in (rule.src, rule.dst):
        if len(address) not in (0, ADDRESS_SIZE[rule.family]):
            raise ValueError(f"{rule}: {len(address)} bytes are no address of family {rule.family}")
    body = _BODY.pack(
        rule.family,
        rule.dst_len,
        rule.src_len,
        rule.tos,
        rule.table if rule.table < 256 else 0,
        rule.action,
        _FIB_RULE_INVERT if rule.invert else 0,
    )
    body += number(_FRA_PRIORITY, rule.priority) + attribute(_FRA_PROTOCOL, bytes((rule.protocol,)))
    if rule.table:
        body += number(_FRA_TABLE, rule.table)
    if rule.src_len:
        body += attribute(_FRA_SRC, rule.src)
    if rule.dst_len:
        body += attribute(_FRA_DST, rule.dst)
    if rule.iif:
        body += text(_FRA_IIFNAME, rule.iif)
    if rule.oif:
        body += text(_FRA_OIFNAME, rule.oif)
    if rule.fwmark or rule.fwmask:
        body += number(_FRA_FWMARK, rule.fwmark) + number(_FRA_FWMASK, rule.fwmask)
    if rule.suppress_prefixlen >= 0:
        body += number(_FRA_SUPPRESS_PREFIXLEN, rule.suppress_prefixlen)
    return message(kind, message_flags, body)


def _rules(table: Table) -> list[Rule]:
    suppressed = table.numbers(_FRA_SUPPRESS_PREFIXLEN, _NO_SUPPRESSION)
    return records(
        Rule,
        table.octets(0),
        table.numbers(_FRA_PRIORITY),
        table.numbers(_FRA_TABLE) if _FRA_TABLE in table else table.octets(4),
        table.payloads(_FRA_SRC),
        table.octets(2),
        table.payloads(_FRA_DST),
        table.octets(1),
        _texts(table, _FRA_IIFNAME),
        _texts(table, _FRA_OIFNAME),
        table.numbers(_FRA_FWMARK),
        table.numbers(_FRA_FWMASK),
        table.octets(7),
        [payload[0] if payload else 0 for payload in table.payloads(_FRA_PROTOCOL)],
        [bool(flags & _FIB_RULE_INVERT) for flags in table.words(8)],
        table.octets(3),
        [-1 if length == _NO_SUPPRESSION else length for length in suppressed],
    )


def _texts(table: Table, attribute_type: int) -> Iterable[str]:
    return map(text_of, table.payloads(attribute_type))
