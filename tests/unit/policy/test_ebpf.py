# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that the eBPF programs ask says what the guards say, and the object is what the source makes."""

from __future__ import annotations

import ipaddress
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
    Allowance,
    Compiled,
    Endpoint,
    Guard,
    PortRange,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import holds, merged

BUILDER = Path(__file__).resolve().parents[3] / "tools" / "build_ebpf.py"
PROTOCOLS = ("sctp", "tcp", "udp")
POD = Endpoint("default", "pod", {}, {4: (1,), 6: (1,)})
# Close together, and at the ends of what there is, so that they meet.
ADDRESSES = {
    4: st.one_of(st.integers(0, 40), st.integers(2**32 - 9, 2**32 - 1)),
    6: st.one_of(st.integers(0, 40), st.integers(2**128 - 9, 2**128 - 1)),
}
PORTS = st.one_of(st.integers(1, 40), st.integers(65500, 65535))


def pairs(values: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(values, values).map(lambda pair: (min(pair), max(pair)))


RANGES = {family: st.lists(pairs(values), max_size=4).map(merged) for family, values in ADDRESSES.items()}
PORT_RANGES = st.tuples(st.sampled_from(PROTOCOLS), pairs(PORTS)).map(lambda each: PortRange(each[0], *each[1]))
ALLOWANCES = st.builds(
    Allowance,
    st.one_of(st.none(), st.lists(PORT_RANGES, min_size=1, max_size=3).map(tuple)),
    st.one_of(st.none(), st.fixed_dictionaries({}, optional=RANGES)),
)


def looked_up(elements: Mapping[bytes, bytes], space: int, data: bytes) -> int | None:
    """What the kernel's trie gives: the value of the longest prefix."""
    wanted = struct.pack("=Q", space) + data.ljust(16, b"\0")
    best, found = -1, None
    for key, value in elements.items():
        (length,) = struct.unpack_from("=I", key)
        ours, theirs = (int.from_bytes(each, "big") >> (192 - length) for each in (key[4:], wanted))
        if length > best and ours == theirs:
            best, found = length, struct.unpack("=Q", value)[0]
    return found


def passes(elements: Mapping[bytes, bytes], direction: str, family: int, peer: int, protocol: str, port: int) -> bool:
    """The steps of ebpf/policy.c."""
    size = 4 if family == 4 else 16
    guard = looked_up(elements, ebpf.HOOKS[direction] * 2 + (family == 6), (1).to_bytes(size, "big"))
    assert guard
    if guard == ebpf.OPEN:
        return True
    ports = looked_up(elements, guard + (family == 6), peer.to_bytes(size, "big"))
    if ports is None or ports == ebpf.EVERY:
        return ports is not None
    return looked_up(elements, ports, struct.pack(">BxH", ebpf.PROTOCOLS[protocol], port)) is not None


@given(
    st.lists(ALLOWANCES, max_size=4),
    st.sampled_from([INGRESS, EGRESS]),
    st.sampled_from([4, 6]),
    st.data(),
    st.sampled_from(PROTOCOLS),
    PORTS,
)
def test_the_table_allows_what_the_guard_allows(
    allowances: list[Allowance], direction: str, family: int, data: st.DataObject, protocol: str, port: int
) -> None:
    peer = data.draw(ADDRESSES[family])
    guard = Guard("g", direction, (), tuple(allowances))
    elements = ebpf.render(Compiled({"g": guard}, {INGRESS: {}, EGRESS: {}, direction: {POD[:2]: "g"}}), [POD])
    expected = any(
        (each.peers is None or holds(each.peers.get(family, ()), peer))
        and (
            each.ports is None
            or any(known.protocol == protocol and known.first <= port <= known.last for known in each.ports)
        )
        for each in allowances
    )
    assert passes(elements, direction, family, peer, protocol, port) == expected
    other = EGRESS if direction == INGRESS else INGRESS
    assert passes(elements, other, family, peer, protocol, port)


def test_many_sparse_peers_beside_everybody_take_an_element_each() -> None:
    peers = {6: tuple((address << 64, address << 64) for address in range(1, 1001))}
    allowances = (Allowance(None, peers), Allowance((PortRange("tcp", 80, 80),), None))
    compiled = Compiled({"g": Guard("g", INGRESS, (), allowances)}, {INGRESS: {POD[:2]: "g"}, EGRESS: {}})
    # The peers, everybody by two families, a port, and the pod twice by two families.
    assert len(ebpf.render(compiled, [POD])) == 1000 + 2 + 1 + 4


def test_a_guard_keeps_its_name_whoever_its_peers_are() -> None:
    def name_of(last: int, identity: str) -> bytes:
        guard = Guard(identity, INGRESS, (), (Allowance(None, {4: ((1, last),)}),))
        elements = ebpf.render(Compiled({identity: guard}, {INGRESS: {POD[:2]: identity}, EGRESS: {}}), [POD])
        return elements[ebpf.KEY.pack(96, 2, bytes([0, 0, 0, 1]))]

    assert name_of(2, "one") == name_of(3, "one")
    assert name_of(2, "one") != name_of(2, "other")


def test_the_elements_are_told_in_words() -> None:
    ports = (PortRange("udp", 16, 31),)
    guard = Guard("g", INGRESS, (), (Allowance(ports, {4: ((0x0A000000, 0x0A0000FF),)}),))
    pod = Endpoint("default", "pod", {}, {4: (int(ipaddress.ip_address("10.244.1.2")),)})
    told = ebpf.describe(ebpf.render(Compiled({"g": guard}, {INGRESS: {pod[:2]: "g"}, EGRESS: {}}), [pod]))
    words = [[word for word in line.split() if len(word) != 16] for line in told]
    assert words == [
        ["guard", "allows", "10.0.0.0/24", "ports"],
        ["pod", "10.244.1.2", "receives", "by", "guard"],
        ["pod", "10.244.1.2", "sends", "by", "nothing"],
        ["ports", "have", "udp", "16-31"],
    ]


def test_the_object_has_three_programs_and_seven_maps() -> None:
    found = elf.read(OBJECT)
    assert found.programs.keys() == {"sends", "receives", "writes"}
    assert found.maps.keys() == {"table", "generation", "flows", "fragments", "counts", "denials", "changes"}
    assert found.licence == b"GPL"
    assert {name for each in found.programs.values() for _offset, name in each.maps} == found.maps.keys()


@pytest.mark.parametrize("damaged", [b"", OBJECT[:100], OBJECT[:-50], OBJECT.replace(b"\xf7", b"\x3e", 1)])
def test_a_damaged_object_is_refused(damaged: bytes) -> None:
    with pytest.raises(PodnetError, match="BPF object is damaged"):
        elf.read(damaged)


@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang: on Debian 12, apt install clang llvm")
def test_the_object_is_what_the_source_makes() -> None:
    done = subprocess.run([sys.executable, BUILDER, "--check"], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, "")
