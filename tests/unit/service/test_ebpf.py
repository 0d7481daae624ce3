# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The elements that programs of services ask say what the compiler says, and have the shapes of the programs' maps."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_bypass, service_ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    DROP,
    EVERYBODY,
    FORWARD,
    REJECT,
    STRANGERS,
    THE_NODE,
    Answer,
    Backend,
    Frontend,
    Handling,
    Table,
)

BLOCKS = {4: ((10 << 24, (10 << 24) + 255),), 6: ((0xFD << 120, (0xFD << 120) + 0xFFFF),)}
NUMBERS = {"tcp": 6, "udp": 17}

addresses = st.integers(1, 6)
forward = st.lists(st.builds(Backend, addresses, st.sampled_from([80, 0x1234])), min_size=1, max_size=4).map(
    lambda backends: Answer(FORWARD, tuple(backends))
)
answers = st.one_of(forward, st.sampled_from([Answer(REJECT), Answer(DROP)]))
handlings = st.builds(
    Handling,
    st.just("default/web"),
    answers,
    answers,
    st.sampled_from([STRANGERS, EVERYBODY, THE_NODE]),
    st.sampled_from([0, 10800]),
    st.sampled_from([None, ((1, 2),)]),
)
frontends = st.builds(
    Frontend,
    st.sampled_from([4, 6]),
    st.one_of(st.none(), addresses),
    st.sampled_from(["tcp", "udp", "sctp"]),
    st.sampled_from([80, 443]),
)


def packed(family: int, address: int) -> bytes:
    return address.to_bytes(4 if family == 4 else 16, "big").ljust(16, b"\0")


def found(elements: service_ebpf.Elements, frontend: Frontend) -> tuple[tuple[Backend, ...], int, set[Backend]] | None:
    """The steps of ebpf/service.c: what may be drawn, for how long a client comes back, and where it may stay."""
    key = struct.pack(
        ">16sHBB",
        packed(frontend.family, frontend.address or 0),
        frontend.port,
        NUMBERS.get(frontend.protocol, 132),
        frontend.family == 6,
    )
    value = elements["frontends"].get(key)
    if value is None:
        return None
    name, count, affinity = struct.unpack("=8sII", value)

    def backend(data: bytes) -> Backend:
        size = 4 if frontend.family == 4 else 16
        assert not any(data[size:16] + data[18:])
        return Backend(int.from_bytes(data[:size], "big"), int.from_bytes(data[16:18], "big"))

    drawn = tuple(backend(elements["slots"][struct.pack("=8sII", name, place, 0)]) for place in range(count))
    stays = {backend(each[8:28]) for each in elements["members"] if each[:8] == name}
    return drawn, affinity, stays


@given(st.dictionaries(frontends, handlings, max_size=6))
def test_pods_are_sent_where_the_compiler_says_or_left_to_nftables(table: dict[Frontend, Handling]) -> None:
    elements = service_ebpf.render(Table(table, frozenset()), BLOCKS)
    expected = 0
    for frontend, handling in table.items():
        told = found(elements, frontend) if frontend.address is not None else None
        if (
            frontend.address is None
            or frontend.protocol == "sctp"
            or handling.inside.verdict != FORWARD
            or handling.masquerade == EVERYBODY
            or handling.sources is not None
        ):
            assert told is None
            continue
        expected += 1
        assert told is not None
        drawn, affinity, stays = told
        assert (drawn, affinity) == (handling.inside.backends, handling.affinity)
        if affinity or frontend.protocol == "udp":
            assert stays == set(drawn)
    assert len(elements["frontends"]) == expected
    # Nothing is there that no frontend leads to.
    lists = {value[:8] for value in elements["frontends"].values()}
    assert {key[:8] for name in ("slots", "members") for key in elements[name]} <= lists
    assert len(elements["inside"]) == (2 if expected else 0)
    assert len(service_ebpf.describe(elements)) == sum(map(len, elements.values()))


@given(st.lists(forward, min_size=2, max_size=2))
def test_a_list_of_backends_never_changes(two: list[Answer]) -> None:
    made = []
    for answer in two:
        handling = Handling("default/web", answer, answer, STRANGERS, 0)
        made.append(service_ebpf.render(Table({Frontend(4, 9, "udp", 80): handling}, frozenset()), BLOCKS))
    for name in ("slots", "members"):
        for key in made[0][name].keys() & made[1][name].keys():
            assert made[0][name][key] == made[1][name][key]
    assert (made[0] == made[1]) == (two[0] == two[1])


def test_elements_fit_into_the_maps_of_the_programs() -> None:
    answer = Answer(FORWARD, (Backend(1, 80),))
    table = Table({Frontend(4, 9, "udp", 80): Handling("a/b", answer, answer, STRANGERS, 7)}, frozenset())
    shapes = elf.read(OBJECT).maps
    for name, elements in service_ebpf.render(table, BLOCKS).items():
        for key, value in elements.items():
            assert (shapes[name].key_size, shapes[name].value_size) == (len(key), len(value))
    assert service_ebpf.describe(service_ebpf.render(table, BLOCKS))[0].startswith("0.0.0.9 udp 80 to list ")
    assert shapes[service_bypass.WAYS][1:3] == (service_bypass.NUMBER.size, service_bypass.WAY.size)
    assert shapes[service_bypass.PLACES][1:3] == (service_ebpf.INSIDE_KEY.size, service_bypass.NUMBER.size)


def test_backends_that_several_frontends_lead_to_are_told_where_flows_go_past_the_host() -> None:
    def to(*ports: int, masquerade: str = STRANGERS) -> Handling:
        answer = Answer(FORWARD, tuple(Backend(1, port) for port in ports))
        return Handling("default/web", answer, answer, masquerade, 0)

    table = {
        Frontend(4, 7, "tcp", 80): to(80, 81),
        Frontend(4, 8, "tcp", 80): to(81),
        # Under another address than the client's own, of another protocol, and of another family.
        Frontend(4, 9, "tcp", 80): to(80, masquerade=EVERYBODY),
        Frontend(4, 7, "udp", 80): to(80, 81),
        Frontend(6, 7, "tcp", 80): to(80),
    }
    for bypass in (False, True):
        elements = service_ebpf.render(Table(table, frozenset()), BLOCKS, bypass)
        flagged = [(value[16:18], value[18:]) for value in elements["slots"].values() if any(value[18:])]
        assert flagged == [((81).to_bytes(2, "big"), b"\1\0")] * 2 * bypass
        told = [line for line in service_ebpf.describe(elements) if "as of others" in line]
        assert len(told) == 2 * bypass
        # A backend is the same wherever it is looked for.
        assert not any(any(key[26:28]) for key in elements["members"])
