# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules of policies have counted: by policy what it allowed, by pod what was denied.

Of what is allowed the first packets of each flow are counted, up to the first reply, for the others pass before the
policies are asked, and by eBPF the very first one alone, by nftables each echo request; of what is denied every packet.
A flow that several policies allow is counted of the first of them. eBPF has one count for the policies that select a
pod together, as all backends have for more than compiler.SEPARATE of them.
"""

from __future__ import annotations

import ipaddress
import json
import re
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError, taking_apart
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_flows, ipsets
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import COUNTS, DENIALS, datapaths
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import TABLE as FILTER
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import PROGRAMS, tool
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import TABLE, digest
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import (
    ebpf,
    iptables,
    iptables_sets,
    nftables,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import SEPARATE
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import BITS, prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Compiled, Endpoint

_RULE = re.compile(r"\[(\d+):(\d+)\] -A (\S+) ")
_COMMENT = re.compile(r' --comment "?(podnet:[0-9a-f]{12})"?(?: |$)')
_ELEMENT = re.compile(r"add (\S+) (\S+) packets (\d+) bytes (\d+)")
# struct count_key and struct count of ebpf/policy.c
_KEY, _COUNT = struct.Struct("=Q16sII"), struct.Struct("=QQ")
_DIRECTIONS = {number: direction for direction, number in ebpf.HOOKS.items()}

Read = dict[tuple[str, str], "Count"]
"""What rules have counted, by chain and comment, and sets, by name and address."""


class Count(NamedTuple):
    """Packets, and their bytes with all headers that the packet filter sees."""

    packets: int = 0
    bytes: int = 0


class Denial(NamedTuple):
    """A flow that policies of a direction denied; ``seconds_ago`` came its last packet."""

    direction: str
    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    packets: int
    seconds_ago: float


class Counted(NamedTuple):
    """By policies and direction what they allowed, and by pod and direction what was denied."""

    allowed: dict[tuple[tuple[str, ...], str], Count]
    denied: dict[tuple[str, str], Count]


def counted(backend: str, compiled: Compiled, guarded: Sequence[Endpoint]) -> Counted:
    """What has been counted on this node.

    :param backend: a name of backends.BACKENDS
    :raises PodnetError: the packet filter cannot be read
    """
    found = Counted({}, {})
    for guard in compiled.guards.values():
        apart = backend != "ebpf" and len(guard.policies) <= SEPARATE
        for names in [(name,) for name in guard.policies] if apart else [guard.policies]:
            found.allowed[names, guard.direction] = Count()
    for direction, before in compiled.before.items():
        for namespace, name in before:
            found.denied[f"{namespace}/{name}", direction] = Count()
    if backend == "ebpf":
        _by_ebpf(found, compiled, guarded)
    elif backend == "nftables":
        _by_nftables(found, compiled, guarded)
    else:
        _by_iptables(found, backend.partition("-")[2], compiled, guarded)
    return found


def _add(into: dict, key: object, count: Count | None) -> None:  # type: ignore[type-arg]
    if count:
        had = into.get(key, Count())
        into[key] = Count(had.packets + count.packets, had.bytes + count.bytes)


def _by_nftables(found: Counted, compiled: Compiled, guarded: Sequence[Endpoint]) -> None:
    read = _read_nftables()
    for guard in compiled.guards.values():
        for text, policies in {rule.text: rule.policies for rule in reversed(nftables.rules(guard))}.items():
            count = read.get((nftables.PREFIX + guard.identity, digest(text)))
            _add(found.allowed, (policies, guard.direction), count)
    for direction, before in compiled.before.items():
        for endpoint in guarded:
            if (endpoint.namespace, endpoint.name) in before:
                for family, address in _addresses(endpoint):
                    text = IP_TEXTS[address.to_bytes(BITS[family] // 8, "big")]
                    whose = (f"{endpoint.namespace}/{endpoint.name}", direction)
                    _add(found.denied, whose, read.get((nftables.refused(direction, family), text)))


def _read_nftables() -> Read:
    try:
        printed = run(["nft", "-j", "list", "table", *TABLE.split()])
    except ToolError as error:
        if "No such file or directory" in error.stderr:
            return {}
        raise PodnetError(f"nftables cannot be read: {error}") from error
    found: Read = {}
    with taking_apart(f"nft -j list table {TABLE}"):
        for entry in json.loads(printed)["nftables"]:
            rule, counting = entry.get("rule"), entry.get("set", {})
            for expression in rule["expr"] if rule else ():
                if "counter" in expression:
                    told = expression["counter"]
                    found[rule["chain"], rule.get("comment", "")] = Count(told["packets"], told["bytes"])
            for element in counting.get("elem", ()) if "stmt" in counting else ():
                told = element["elem"]["counter"]
                found[counting["name"], element["elem"]["val"]] = Count(told["packets"], told["bytes"])
    return found


def _by_iptables(found: Counted, flavour: str, compiled: Compiled, guarded: Sequence[Endpoint]) -> None:
    called = iptables_sets.names(ipsets.names())
    for family in PROGRAMS:
        refusing = {each: iptables.refused(called, each, family) for each in compiled.guards}
        read = {**_read_iptables(flavour, family), **_read_sets(refusing.values())}
        drawings = [iptables.Drawing(flavour, family, Rendering({}, {}, {}), None, each) for each in (None, called)]
        for guard in compiled.guards.values():
            chain = iptables.CHAINS + guard.identity
            rules = [rule for drawing in drawings for rule in drawing.rules(guard)]
            for text, policies in dict(reversed(rules)).items():
                _add(found.allowed, (policies, guard.direction), read.get((chain, digest(text))))
        for direction, before in compiled.before.items():
            for endpoint in guarded:
                identity = before.get((endpoint.namespace, endpoint.name))
                if identity is None:
                    continue
                for address in endpoint.addresses.get(family, ()):
                    prefix = next(prefixes(family, ((address, address),)))
                    chain = f"{iptables.CHAINS}{identity}{iptables.DENIED}"
                    whose = (f"{endpoint.namespace}/{endpoint.name}", direction)
                    _add(found.denied, whose, read.get((chain, digest(iptables.denies(direction, prefix)))))
                    _add(found.denied, whose, read.get((refusing[identity], prefix.partition("/")[0])))


def _read_iptables(flavour: str, family: int) -> Read:
    try:
        saved = run([tool(flavour, family, "save"), "-c", "-t", FILTER])
    except ToolError as error:
        raise PodnetError(f"iptables cannot be read: {error}") from error
    found: Read = {}
    for line in saved.splitlines():
        rule, comment = _RULE.match(line), _COMMENT.search(line)
        if rule and comment:
            found[rule[3], comment[1]] = Count(int(rule[1]), int(rule[2]))
    return found


def _read_sets(names: Iterable[str]) -> Read:
    """What elements of sets have counted, as far as there are such sets."""
    there = set(ipsets.names()).intersection(names)
    if not there:
        return {}
    try:
        saved = run(["ipset", "-"], stdin="".join(f"save {name}\n" for name in sorted(there)))
    except ToolError as error:
        raise PodnetError(f"the IP sets cannot be read: {error}") from error
    elements = filter(None, map(_ELEMENT.search, saved.splitlines()))
    return {(each[1], each[2]): Count(int(each[3]), int(each[4])) for each in elements}


def _by_ebpf(found: Counted, compiled: Compiled, guarded: Sequence[Endpoint]) -> None:
    guards = ebpf.guards_by_digest(compiled)
    pods = {
        (family, address): f"{endpoint.namespace}/{endpoint.name}"
        for endpoint in guarded
        for family, address in _addresses(endpoint)
    }
    for key, value in _read_ebpf().items():
        number, pod, hook, ipv6 = _KEY.unpack(key)
        count = Count(*_COUNT.unpack(value))
        if number in guards:
            _add(found.allowed, (guards[number].policies, guards[number].direction), count)
        elif not number:
            whose = pods.get((6, int.from_bytes(pod, "big")) if ipv6 else (4, int.from_bytes(pod[:4], "big")))
            if whose and (whose, _DIRECTIONS[hook]) in found.denied:
                _add(found.denied, (whose, _DIRECTIONS[hook]), count)


def last_denied() -> list[Denial]:
    """The latest flows that eBPF has denied, those with the newest packets first."""
    now = time.monotonic_ns()
    found = []
    for key, value in _read_ebpf(DENIALS).items():
        flow, hook = ebpf_flows.flow_of(key)
        packets, when = _COUNT.unpack(value)
        source, destination = (str(ipaddress.ip_address(each)) for each in (flow.source, flow.destination))
        there = (flow.protocol, source, flow.source_port, destination, flow.destination_port)
        found.append(Denial(_DIRECTIONS[hook], *there, packets, max(0.0, (now - when) / 1e9)))
    return sorted(found, key=lambda each: each.seconds_ago)


def _read_ebpf(name: str = COUNTS) -> Mapping[bytes, bytes]:
    for folder in datapaths():
        if (folder / name).exists():
            with syscall.pinned(str(folder / name)) as handle:
                return maps.elements(handle)
    return {}


def _addresses(endpoint: Endpoint) -> list[tuple[int, int]]:
    return [(family, address) for family, addresses in endpoint.addresses.items() for address in addresses]
