# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel answers, and objects for it, are read or named as damaged; no other exception leaves a reader."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.answer import only
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import MESSAGE
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import dump_entries
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import family_id
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import dump_routes, lookup_route
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block, tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.traffic_control import clsact_devices, dump_filters
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import get_device
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf_object import OBJECT
from ansible_collections.podnet.fabric.plugins.module_utils.probe import decode, message
from ansible_collections.podnet.fabric.plugins.module_utils.stream import message as stream_message
from ansible_collections.podnet.fabric.tests.unit.netlink import test_wireguard
from ansible_collections.podnet.fabric.tests.unit.netlink.recorded import (
    DATAGRAMS,
    DONE,
    NAMES,
    READERS,
    ROUTE_BY_GATEWAY,
    SEQUENCE,
    Recorded,
)

from .raw import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block


class Answering(Recorded):
    """A recording that also answers requests for one object."""

    def get(self, kind: int, body: bytes) -> Block:
        found = [only(datagram, SEQUENCE) for datagram in self._datagrams]
        block = next((each for each in found if each is not None), None)
        if block is None:
            raise NetlinkError(110, "no answer")
        return block


OTHERS: dict[str, Callable[[Answering], Sequence[object]]] = {
    "routes by IPv6": lambda nl: dump_routes(nl, NAMES, 10),
    "the route": lambda nl: [lookup_route(nl, NAMES, bytes((10, 1, 0, 1)))],
    "the route by IPv6": lambda nl: [lookup_route(nl, NAMES, bytes(16))],
    "flows": lambda nl: list(dump_entries(nl)),
    "clsact": lambda nl: list(clsact_devices(nl)),
    "filters": lambda nl: dump_filters(nl, 4, 0),
    "a family": lambda nl: [family_id(nl, "wireguard")],
    "wireguard": lambda nl: [get_device(nl, 21, "wg")],
}
WAYS: dict[str, Callable[[Answering], Sequence[object]]] = {**READERS, **OTHERS}


def _seeds() -> list[bytes]:
    known = {**DATAGRAMS, "the route": ROUTE_BY_GATEWAY, "wireguard": test_wireguard.ANSWER}
    return [bytes((nth,)) + known[name] + DONE for nth, name in enumerate(WAYS) if name in known]


@raw(*_seeds())
def test_netlink_answers(data: bytes) -> None:
    """The first byte says who reads the rest, in two datagrams."""
    if len(data) < 2:
        return
    read = WAYS[list(WAYS)[data[0] % len(WAYS)]]
    half = len(data) // 2
    for datagrams in ((data[1:],), (data[1:half], data[half:])):
        if all(datagrams):
            with contextlib.suppress(NetlinkError):
                found = list(read(Answering(*datagrams, DONE)))
                assert all(hash(each) is not None for each in found if not hasattr(each, "data"))
                if read is OTHERS["the route"]:
                    assert len(found[0].dst) == 4  # type: ignore[attr-defined]


@raw(OBJECT)
def test_bpf_objects(data: bytes) -> None:
    with contextlib.suppress(PodnetError):
        elf.read(data)


@given(st.integers(0, len(OBJECT) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_bpf_objects_with_a_piece_replaced(at: int, piece: bytes, length: int) -> None:
    with contextlib.suppress(PodnetError):
        elf.read(OBJECT[:at] + piece + OBJECT[at + length :])


@raw(ebpf.KEY.pack(64, 1, bytes(16)) + ebpf.VALUE.pack(1), ebpf.KEY.pack(96, 2, bytes(16)) + ebpf.VALUE.pack(2))
def test_elements_of_bpf_maps(data: bytes) -> None:
    """A map that somebody else has made may hold anything, in elements of any size."""
    key = data[: ebpf.KEY.size]
    with contextlib.suppress(PodnetError):
        ebpf.describe({key: data[ebpf.KEY.size :]})
    size = ebpf.KEY.size + ebpf.VALUE.size
    rows = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
    assert ebpf.describe({row[: ebpf.KEY.size]: row[ebpf.KEY.size :] for row in rows}) is not None


@raw(bytes(14) + bytes.fromhex("4500002c000000004011000001020304050607080001 12b5 0018 0000".replace(" ", "")))
def test_packets_from_the_network(data: bytes) -> None:
    found = decode.ethernet(data)
    if found is not None:
        decode.sighting(*found, message.MAGIC)
        decode.sealed(*found)
    decode.sighting(0x0800, data, message.MAGIC)
    decode.sighting(0x86DD, data, message.MAGIC)
    message.decode_request(data)
    message.decode_reply(message.MAGIC + data)
    stream_message.decode(data)
    stream_message.decode_hello(data)


@given(st.binary(max_size=200), st.integers(0, 64))
def test_netlink_messages(data: bytes, body: int) -> None:
    padded = data + bytes(-len(data) & 3)
    if len(padded) < MESSAGE.size:
        return
    with contextlib.suppress(ProtocolError):
        for table in tables([Block(16, len(data), len(padded), padded)], body):
            for attribute in table.places:
                list(table.payloads(attribute))
