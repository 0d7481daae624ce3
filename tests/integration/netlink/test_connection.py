# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches tell every error of the right object; dumps are consistent; neither loses messages at any size."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import DumpInterrupted, NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.fdb import FdbEntry, dump_fdb, encode_fdb
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import dump_links
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.neighbour import (
    Neighbour,
    dump_neighbours,
    encode_neighbour,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import (
    Nexthop,
    dump_nexthops,
    encode_nexthop,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes, encode_route
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)
MANY = 20_000


def _address(nth: int) -> bytes:
    return (0x0A000000 + nth).to_bytes(4, "big")


def _mac(nth: int) -> bytes:
    return b"\x02" + nth.to_bytes(5, "big")


def _blackholes(count: int) -> list[Route]:
    return [Route(V4, _address(nth), 32, protocol=84, type=6) for nth in range(count)]


def test_errors_amid_a_batch_are_told_of_the_right_objects_in_the_kernels_words(node: Node) -> None:
    routes = _blackholes(1500)
    messages = [encode_route("create", route, node.index_of) for route in routes]
    unreachable = Route(V4, packed("203.0.113.0"), 24, protocol=84, dev="v0", gateway=packed("198.51.100.1"))
    nowhere = unreachable._replace(dev="", gateway=b"", nhid=9)
    # In the first send and in the second, amid one, at the end of one and at the start of the next.
    bad = {
        0: (encode_route("create", unreachable, node.index_of), errno.ENETUNREACH, "Nexthop has invalid gateway"),
        511: (messages[7], errno.EEXIST, ""),
        512: (encode_route("delete", unreachable, node.index_of), errno.ESRCH, ""),
        777: (encode_route("create", nowhere, node.index_of), errno.EINVAL, "Nexthop id does not exist"),
        1499: (encode_route("create", unreachable, node.index_of), errno.ENETUNREACH, "Nexthop has invalid gateway"),
    }  # fmt: skip
    for index, (message, _number, _extack) in bad.items():
        messages[index] = message
    failures = node.nl.batch(messages)
    assert [(index, error.errno, error.extack) for index, error in failures] == [
        (index, number, extack) for index, (_message, number, extack) in bad.items()
    ]
    assert str(failures[0][1]) == "Network is unreachable: Nexthop has invalid gateway"
    assert str(failures[1][1]) == "File exists"
    assert len(dump_routes(node.nl, node.names, V4, 84)) == 1500 - len(bad)


def test_an_empty_batch_is_no_work(node: Node) -> None:
    assert node.nl.batch([]) == []


def test_twenty_thousand_errors_are_all_told(node: Node) -> None:
    messages = [encode_route("delete", route, node.index_of) for route in _blackholes(MANY)]
    failures = node.nl.batch(messages)
    assert [index for index, _error in failures] == list(range(MANY))
    assert {error.errno for _index, error in failures} == {errno.ESRCH}


def test_errors_with_words_fit_in_the_receive_buffer(node: Node) -> None:
    far = Route(V4, packed("203.0.113.0"), 24, protocol=84, dev="v0", gateway=packed("198.51.100.1"))
    failures = node.nl.batch([encode_route("create", far, node.index_of)] * MANY)
    assert len(failures) == MANY
    assert {error.extack for _index, error in failures} == {"Nexthop has invalid gateway"}


def test_without_the_right_to_a_large_buffer_the_sends_are_smaller(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Netlink, "_enlarge", lambda *_arguments: None)
    far = Route(V4, packed("203.0.113.0"), 24, protocol=84, dev="v0", gateway=packed("198.51.100.1"))
    with Netlink() as nl:
        failures = nl.batch([encode_route("create", far, node.index_of)] * 5_000)
        assert len(failures) == 5_000
        assert len(dump_links(nl)) == len(node.names)


def test_twenty_thousand_of_each_kind_arrive_and_are_read(node: Node) -> None:
    nexthops = [Nexthop(0x54000000 + nth, V4, "vx", _address(nth), 4, 84) for nth in range(MANY)]
    routes = [Route(V4, _address(nth), 32, protocol=84, nhid=0x54000000 + nth) for nth in range(MANY)]
    neighbours = [Neighbour("vx", _address(nth), _mac(nth)) for nth in range(MANY)]
    entries = [FdbEntry("vx", _mac(nth), _address(nth)) for nth in range(MANY)]
    vx = node.index_of["vx"]
    node.apply(*(encode_neighbour("create", each, node.index_of) for each in neighbours))
    node.apply(*(encode_fdb("create", each, node.index_of) for each in entries))
    node.apply(*(encode_nexthop("create", each, node.index_of) for each in nexthops))
    node.apply(*(encode_route("create", each, node.index_of) for each in routes))
    assert sorted(dump_neighbours(node.nl, node.names, vx, V4)) == neighbours
    assert sorted(dump_fdb(node.nl, node.names, vx)) == entries
    assert sorted(dump_nexthops(node.nl, node.names, vx)) == nexthops
    assert sorted(dump_routes(node.nl, node.names, V4, 84)) == routes


def test_kinds_that_come_mixed_are_told_apart(node: Node) -> None:
    # In order of their ids, so IPv4 and IPv6 and gateways and devices alternate in the dump.
    kinds = [
        Nexthop(0, V4, "vx", packed("10.1.0.0"), 4, 84),
        Nexthop(0, V6, "vx", packed("fd01::"), 4, 84),
        Nexthop(0, V4, "br0", b"", 0, 84),
        Nexthop(0, V4, "", b"", 0, 84, blackhole=True),
    ]
    nexthops = [kinds[nth % 4]._replace(id=nth) for nth in range(1, 3001)]
    node.apply(*(encode_nexthop("create", nexthop, node.index_of) for nexthop in nexthops))
    assert sorted(dump_nexthops(node.nl, node.names)) == nexthops


def test_messages_of_one_length_and_other_attributes_are_told_apart(node: Node) -> None:
    by_metric = Route(V4, packed("10.1.0.0"), 16, metric=7, protocol=84, dev="v0", scope=253)
    by_source = Route(V4, packed("10.2.0.0"), 16, protocol=84, dev="v0", scope=253, prefsrc=packed("192.0.2.1"))
    routes = [by_metric, by_source, by_metric._replace(metric=9), by_source._replace(dst=packed("10.3.0.0"))]
    node.apply(*(encode_route("create", route, node.index_of) for route in routes))
    assert sorted(dump_routes(node.nl, node.names, V4, 84)) == sorted(routes)


def _disturbed(node: Node, monkeypatch: pytest.MonkeyPatch, times: int) -> list[Nexthop]:
    """Nexthops; the next `times` dumps of them are disturbed between their first datagram and the second."""
    nexthops = [Nexthop(nth, V4, "vx", _address(nth), 4, 84) for nth in range(1, 2001)]
    node.apply(*(encode_nexthop("create", nexthop, node.index_of) for nexthop in nexthops))
    other = Nexthop(2_000_000, V4, "vx", packed("10.99.0.0"), 4, 84)
    left = iter(range(times))
    send, receive = node.nl._send, node.nl._receive
    fresh = False

    def note(request: bytearray) -> None:
        nonlocal fresh
        fresh = True
        send(request)

    def disturb() -> bytes:
        nonlocal fresh
        datagram = receive()
        nth = next(left, None) if fresh else None
        fresh = False
        if nth is not None:
            with Netlink() as second:
                verb = "delete" if nth % 2 else "create"
                assert second.batch([encode_nexthop(verb, other, node.index_of)]) == []
        return datagram

    monkeypatch.setattr(node.nl, "_send", note)
    monkeypatch.setattr(node.nl, "_receive", disturb)
    return [*nexthops, other] if times % 2 else nexthops


def test_an_interrupted_dump_is_repeated_until_it_is_whole(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _disturbed(node, monkeypatch, times=3)
    before = node.nl._sequence
    assert dump_nexthops(node.nl, node.names) == expected
    assert node.nl._sequence - before == 4


def test_a_dump_that_is_always_interrupted_ends_in_an_error(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    _disturbed(node, monkeypatch, times=1_000)
    with pytest.raises(DumpInterrupted, match="changed during each of 25 attempts"):
        dump_nexthops(node.nl, node.names)
    monkeypatch.undo()
    assert len(dump_links(node.nl)) == len(node.names)


def test_a_refused_dump_is_an_error_with_the_kernels_words(node: Node) -> None:
    with pytest.raises(NetlinkError) as caught:
        # A state in the header is none of the filters.
        node.nl.dump(30, b"\0\0\0\0" + b"\0\0\0\0" + b"\x80\0\0\0")
    assert caught.value.errno == errno.EINVAL
    assert "Invalid values in header" in caught.value.extack
    assert len(dump_links(node.nl)) == len(node.names)


def test_a_device_that_is_newer_than_the_names_shows_its_index(node: Node) -> None:
    route = Route(V4, packed("10.1.0.0"), 16, protocol=84, dev="br0", scope=253)
    node.apply(encode_route("create", route, node.index_of))
    index = node.index_of["br0"]
    names = {key: name for key, name in node.names.items() if key != index}
    assert dump_routes(node.nl, names, V4, 84) == [route._replace(dev=f"ifindex:{index}")]


def test_a_connection_leaves_no_descriptor_behind(node: Node) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Netlink() as nl:
        assert {link.name for link in dump_links(nl)} == set(node.names.values())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
