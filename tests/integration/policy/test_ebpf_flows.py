# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the eBPF backend remembers of flows: replies, errors, fragments, and what a new policy does to them."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_flows import REMEMBERED_FLOWS
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result, line
from tests.integration.policy.conftest import isolate
from tests.integration.policy.talk import arrives, connected

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Ground

FAMILIES = pytest.mark.parametrize("family", [4, 6])
# On one bridge, and across nodes.
PAIRS = pytest.mark.parametrize(("client", "family"), [(2, 4), (1, 6)])
SERVER = 0
STREAM, DGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW


@PAIRS
def test_replies_reach_a_pod_that_may_receive_nothing(ground: Ground, client: int, family: int) -> None:
    ground.declare(isolate(client, [], [SERVER]), isolate(SERVER, [client], []))
    with ground.socket(client, DGRAM, family) as asking, ground.socket(SERVER, DGRAM, family) as answering:
        assert not arrives(answering, asking, asking.getsockname())
        assert arrives(asking, answering, answering.getsockname())
        assert arrives(answering, asking, asking.getsockname())
    with ground.socket(client, STREAM, family) as asking, ground.socket(SERVER, STREAM, family) as listening:
        accepted = connected(ground, asking, listening)
        assert accepted
        with accepted:
            assert arrives(accepted, asking)
    with ground.socket(client, STREAM, family) as listening, ground.socket(SERVER, STREAM, family) as asking:
        assert connected(ground, asking, listening) is None


@PAIRS
def test_a_flow_that_a_new_policy_denies_is_cut_both_ways_until_it_is_allowed(
    ground: Ground, client: int, family: int
) -> None:
    ground.declare(isolate(SERVER, [client]))
    with (
        ground.socket(client, STREAM, family) as asking,
        ground.socket(SERVER, STREAM, family) as listening,
        ground.socket(client, DGRAM, family) as one,
        ground.socket(SERVER, DGRAM, family) as other,
    ):
        accepted = connected(ground, asking, listening)
        assert accepted
        with accepted:
            assert arrives(asking, accepted)
            assert arrives(one, other, other.getsockname())
            told = [
                f"{protocol} {ground.address(client, family)} sport {here.getsockname()[1]} "
                f"to {ground.address(SERVER, family)} dport {there.getsockname()[1]}"
                for protocol, here, there in (("tcp", asking, listening), ("udp", one, other))
            ]
            # A dry run says what would end, and changes nothing.
            assert _ended(ground.declare(isolate(SERVER, [client, 4]))) == []
            assert _ended(ground.declare(isolate(SERVER, [4]), check=True)) == told
            assert arrives(asking, accepted)
            assert arrives(one, other, other.getsockname())
            # Nothing stands in the way of what the server sends, but that it belongs to a flow that is denied.
            assert _ended(ground.declare(isolate(SERVER, [4]))) == told
            assert not any(done.changed for done in ground.declare(isolate(SERVER, [4])))
            assert not arrives(asking, accepted)
            assert not arrives(accepted, asking)
            assert not arrives(one, other, other.getsockname())
            assert not arrives(other, one, one.getsockname())
            ground.declare(isolate(SERVER, [client]))
            assert arrives(one, other, other.getsockname())
            assert arrives(other, one, one.getsockname())
            limit = time.monotonic() + 5
            while not arrives(asking, accepted) and time.monotonic() < limit:
                pass
            assert arrives(asking, accepted)


@FAMILIES
def test_flows_of_a_pod_go_on_when_its_first_policy_comes(ground: Ground, family: int) -> None:
    ground.declare()
    with ground.socket(2, STREAM, family) as asking, ground.socket(SERVER, STREAM, family) as listening:
        accepted = connected(ground, asking, listening)
        assert accepted
        with accepted:
            ground.declare(isolate(2, [], [SERVER]))
            assert arrives(asking, accepted)
            assert arrives(accepted, asking)


def test_a_connection_of_before_the_programs_is_judged_packet_by_packet(ground: Ground) -> None:
    with ground.socket(2, STREAM) as asking, ground.socket(SERVER, STREAM) as listening:
        accepted = connected(ground, asking, listening)
        assert accepted
        with accepted:
            ground.declare(isolate(SERVER, [2]))
            assert arrives(asking, accepted)
            assert arrives(accepted, asking)
            ground.declare(isolate(SERVER, [4]))
            # What the server may send does not open the way for what it may not receive.
            assert arrives(accepted, asking)
            assert not arrives(asking, accepted)


@FAMILIES
def test_an_icmp_error_passes_when_it_belongs_to_a_flow(ground: Ground, family: int) -> None:
    ground.declare(isolate(2, [], [SERVER]))
    with ground.socket(2, DGRAM, family) as asking:
        there = (ground.address(SERVER, family), 9)
        asking.connect(there)
        asking.send(b"nobody listens")
        with pytest.raises(ConnectionRefusedError):
            asking.recv(10)


@FAMILIES
def test_an_icmp_error_about_no_flow_is_dropped(ground: Ground, family: int) -> None:
    number, kind = (socket.IPPROTO_ICMP, 3) if family == 4 else (socket.IPPROTO_ICMPV6, 1)
    own, peer = (socket.inet_pton(_sort(family), ground.address(place, family)) for place in (2, SERVER))

    def error(port: int) -> bytes:
        """Port unreachable, about a datagram from pod 2 to the server."""
        datagram = struct.pack("!HHHH", port, 9, 8, 0)
        if family == 4:
            inner = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, own, peer) + datagram
        else:
            inner = struct.pack("!IHBB16s16s", 6 << 28, 8, 17, 64, own, peer) + datagram
        head = struct.pack("!BBHI", kind, 4 if family == 6 else 3, 0, 0)
        return head[:2] + struct.pack("!H", _checksum(head + inner)) + head[4:] + inner

    with (
        ground.socket(SERVER, RAW, family, number) as forging,
        ground.socket(2, RAW, family, number) as hearing,
        ground.socket(2, DGRAM, family) as asking,
    ):
        there = (ground.address(2, family), 0)
        ground.declare(isolate(2, [], [SERVER]))
        forging.sendto(error(7), there)
        asking.sendto(b"a flow", (ground.address(SERVER, family), 9))
        forging.sendto(error(asking.getsockname()[1]), there)
        heard = []
        limit = time.monotonic() + 0.5
        while time.monotonic() < limit:
            try:
                data = hearing.recv(2048)
            except TimeoutError:
                break
            packet = data[20:] if family == 4 else data
            if packet[0] == kind:
                heard.append(struct.unpack_from("!H", packet, 8 + (20 if family == 4 else 40))[0])
        assert 7 not in heard
        assert asking.getsockname()[1] in heard


@PAIRS
def test_a_pod_that_may_receive_nothing_hears_the_answer_to_its_echo_only(
    ground: Ground, client: int, family: int
) -> None:
    ground.declare(isolate(client, [], [SERVER]), isolate(SERVER, [client]))
    assert _ping(ground, client, SERVER, family)
    assert not _ping(ground, SERVER, client, family)


@FAMILIES
def test_a_node_reaches_its_own_pods_and_a_pod_its_node_only_in_answer(ground: Ground, family: int) -> None:
    ground.declare(isolate(SERVER, [], []))
    node = ground.built.nodes[0]
    with ground.socket(SERVER, STREAM, family) as listening:
        with namespace.inside(node):
            probing = socket.socket(_sort(family), STREAM)
        probing.settimeout(0.5)
        with probing:
            accepted = connected(ground, probing, listening)
            assert accepted
            with accepted:
                assert arrives(accepted, probing)
    with namespace.inside(node):
        listening = socket.socket(_sort(family), STREAM)
    with listening, ground.socket(SERVER, STREAM, family) as asking:
        listening.bind(("10.244.1.1" if family == 4 else "fd00:10:244:1::1", 0))
        assert connected(ground, asking, listening) is None


@PAIRS
def test_a_datagram_in_fragments_passes_where_its_port_may(ground: Ground, client: int, family: int) -> None:
    with (
        ground.socket(client, DGRAM, family) as asking,
        ground.socket(SERVER, DGRAM, family) as answering,
        ground.socket(SERVER, DGRAM, family) as other,
    ):
        ground.declare(isolate(SERVER, [client], port=answering.getsockname()[1]))
        large = bytes(5000)
        asking.sendto(large, other.getsockname())
        asking.sendto(large, answering.getsockname())
        assert answering.recv(8000) == large
        with pytest.raises(TimeoutError):
            other.recv(8000)


def test_a_later_fragment_without_its_first_is_dropped(ground: Ground) -> None:
    ground.declare(isolate(SERVER, [2]))
    with (
        ground.socket(2, RAW, 4, socket.IPPROTO_RAW) as sending,
        ground.socket(SERVER, DGRAM) as hearing,
        _sniffer(ground, SERVER) as sniffing,
    ):
        there = hearing.getsockname()
        datagram = struct.pack("!HHHH", 5000, there[1], 8 + 16, 0) + bytes(16)
        own, peer = (socket.inet_aton(ground.address(place)) for place in (2, SERVER))

        def fragment(number: int, offset: int, more: bool, content: bytes) -> bytes:
            where = offset // 8 | (0x2000 if more else 0)
            return (
                struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(content), number, where, 64, 17, 0, own, peer) + content
            )

        seen = []
        sending.sendto(fragment(1, 16, False, datagram[16:]), (there[0], 0))
        sending.sendto(fragment(2, 0, True, datagram[:16]), (there[0], 0))
        sending.sendto(fragment(2, 16, False, datagram[16:]), (there[0], 0))
        assert hearing.recv(100) == bytes(16)
        while True:
            try:
                packet = sniffing.recv(2048)
            except TimeoutError:
                break
            if packet[12:14] == b"\x08\x00" and packet[23] == 17:
                seen.append(struct.unpack_from("!H", packet, 18)[0])
        assert seen == [2, 2]


def test_a_frame_with_a_tag_does_not_go_round_the_policy(ground: Ground) -> None:
    with ground.socket(SERVER, DGRAM) as hearing, _sniffer(ground, SERVER) as sniffing:
        port = hearing.getsockname()[1]
        frame = _tagged(ground, port)
        for policies, passes in (([isolate(SERVER, [])], False), (None, True)):
            if policies:
                ground.declare(*policies)
            else:
                ground.withdraw()
            with _sniffer(ground, 2) as sending:
                sending.send(frame)
            assert _hears(sniffing, b"tagged") == passes


@pytest.mark.parametrize(
    ("family", "to"), [(4, "255.255.255.255"), (4, "224.0.0.1"), (6, "ff02::1"), (6, "its link-local address")]
)
def test_addresses_that_are_nobodys_own_do_not_go_round_the_policy(ground: Ground, family: int, to: str) -> None:
    if to == "its link-local address":
        shown = subprocess.check_output(
            ["ip", "-n", ground.built.pods[SERVER], "-j", "-6", "address", "show", "dev", "eth0", "scope", "link"]
        )
        (to,) = (info["local"] for link in json.loads(shown) for info in link.get("addr_info", ()) if "local" in info)
    with namespace.inside(ground.built.pods[2]):
        asking = socket.socket(_sort(family), DGRAM)
        index = socket.if_nametoindex("eth0")
    with namespace.inside(ground.built.pods[SERVER]):
        hearing = socket.socket(_sort(family), DGRAM)
    with asking, hearing:
        hearing.settimeout(0.35)
        hearing.bind(("", 0))
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        there: Any = (to, hearing.getsockname()[1]) if family == 4 else (to, hearing.getsockname()[1], 0, index)
        assert arrives(asking, hearing, there)
        ground.declare(isolate(SERVER, []))
        assert not arrives(asking, hearing, there)


def _ended(results: list[Result]) -> list[str]:
    """The flows that runs end, or would end."""
    return sorted(
        line(REMEMBERED_FLOWS, operation.before)
        for result in results
        for operation in result.operations
        if operation.facility == REMEMBERED_FLOWS.name
    )


def _ping(ground: Ground, place: int, to: int, family: int) -> bool:
    number, ask, answer = (socket.IPPROTO_ICMP, 8, 0) if family == 4 else (socket.IPPROTO_ICMPV6, 128, 129)
    with ground.socket(place, RAW, family, number) as asking:
        body = struct.pack("!HH", 77, 1)
        packet = struct.pack("!BBH", ask, 0, _checksum(bytes([ask, 0, 0, 0]) + body)) + body
        asking.sendto(packet, (ground.address(to, family), 0))
        limit = time.monotonic() + 0.5
        while time.monotonic() < limit:
            try:
                data = asking.recv(2048)
            except TimeoutError:
                return False
            heard = data[20:] if family == 4 else data
            if heard[0] == answer and heard[4:8] == body:
                return True
        return False


def _sort(family: int) -> int:
    return socket.AF_INET if family == 4 else socket.AF_INET6


def _checksum(data: bytes) -> int:
    """RFC 1071; of ICMPv6 the kernel makes it."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _sniffer(ground: Ground, place: int) -> socket.socket:
    with namespace.inside(ground.built.pods[place]):
        made = socket.socket(socket.AF_PACKET, RAW, socket.htons(3))  # ETH_P_ALL
        made.bind(("eth0", 0))
    made.settimeout(0.2)
    return made


def _hears(sniffing: socket.socket, word: bytes) -> bool:
    try:
        while True:
            if word in sniffing.recv(2048):
                return True
    except TimeoutError:
        return False


def _tagged(ground: Ground, port: int) -> bytes:
    """An Ethernet frame to everybody with tag 0 and in it a datagram from pod 2 to the server."""
    own, peer = (socket.inet_aton(ground.address(place)) for place in (2, SERVER))
    content = struct.pack("!HHHH", 5000, port, 14, 0) + b"tagged"
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 34, 9, 0, 64, 17, 0, own, peer) + content
    return b"\xff" * 6 + bytes.fromhex("020000000001") + struct.pack("!HHH", 0x8100, 0, 0x0800) + packet
