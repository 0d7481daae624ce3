# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Associations are sent on as connections are, and what arrives has a checksum that is right."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.services import sctp
from tests.integration.services.conftest import EVERY
from tests.integration.services.ground import forget_ways, netns
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.services.conftest import Declarer

OFFERED = service(ports=[sctp.PORT])
SACKED = sctp.chunk(sctp.SACK, struct.pack("!IIHH", 1, 65535, 0, 0))
REFUSING = """
    chain input {
        type filter hook input priority 0
        meta l4proto sctp reject with icmpx type port-unreachable
    }
"""
every = pytest.mark.parametrize("declarer", EVERY, indirect=True)
programs = pytest.mark.parametrize("declarer", ["ebpf"], indirect=True)


@every
def test_each_backend_gets_its_share_of_associations(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints(*PODS))
    for family, address in ADDRESSES.items():
        with sctp.Ends(family, ("pod", *PODS)) as ends:
            seen: Counter[str] = Counter()
            for _each in range(120):
                ends.send("pod", address, sctp.build(sctp.free_port(), scene.PORT, 0, sctp.init(1)))
                got = ends.receive_right(scene.TARGET)
                assert got is not None
                assert got.peer == scene.pod_address("pod", family)
                seen[got.pod] += 1
            # 30 are expected; the standard deviation is 4.7.
            assert set(seen) == set(PODS)
            assert min(seen.values()) > 6, seen


@every
def test_an_association_goes_on_and_new_ones_avoid_who_has_gone(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints("one", "far"))
    for family, address in ADDRESSES.items():
        with sctp.Ends(family, ("pod", *PODS)) as ends:
            # One reaches itself half of the times.
            opened = [ends.associate(client, address) for client in ("pod", "one") for _each in range(16)]
            assert all(opened)
            assert {each.backend for each in opened if each} == {"one", "far"}
            declarer.declare([OFFERED, service(2)], endpoints=endpoints("two", "far"))
            assert all(each and each.stands() for each in opened)
            fresh = [ends.associate("pod", address) for _each in range(30)]
            assert {each.backend for each in fresh if each} == {"two", "far"}
            declarer.declare([OFFERED], endpoints=endpoints("one", "far"))


@programs
def test_pods_are_sent_on_without_nftables(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints(*PODS))
    for family, address in ADDRESSES.items():
        name = f"service-frontends{family}"
        argv = ["ip", "netns", "exec", netns("a"), "nft", "flush", "map", "inet", "podnet", name]
        subprocess.run(argv, check=True, timeout=60)
        with sctp.Ends(family, ("pod", *PODS)) as ends:
            opened = [ends.associate("pod", address) for _each in range(16)]
            assert all(each and each.stands() for each in opened)


@programs
def test_the_checksum_is_right_at_every_length(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints("far"))
    drawn = random.Random(20261126)
    # Below 60 bytes a frame is filled up, which the checksum does not cover.
    lengths = [*range(4, 64), *drawn.sample(range(64, 1400), 60), 1400]
    for family, address in ADDRESSES.items():
        with sctp.Ends(family, ("pod", "far")) as ends:
            made = ends.associate("pod", address)
            assert made is not None
            for length in lengths:
                # Of four bytes by the RFC; what is not comes as it was sent, too.
                value = struct.pack("!BBH", sctp.DATA, 3, length) + drawn.randbytes(length - 4)
                got = made.ask(value)
                assert got is not None, length
                assert got.packet[12:] == value
                assert made.answer(value) == sctp.DATA


@contextmanager
def tunnel() -> Iterator[None]:
    """VXLAN between the nodes, for what their pods send to each other."""
    for node, other, far in (("a", "b", 2), ("b", "a", 1)):
        ends = f"local {scene.NODES[node][4]} remote {scene.NODES[other][4]}"
        for line in (
            f"link add vxlan0 type vxlan id 9 dstport 8472 {ends}",
            f"addr add 172.31.0.{3 - far}/24 dev vxlan0",
            f"addr add fd99::{3 - far}/64 dev vxlan0 nodad",
            "link set vxlan0 up",
            # Before what leads there without it.
            f"route add 10.244.{far}.0/25 via 172.31.0.{far}",
            f"route add fd00:10:244:{far}::/65 via fd99::{far}",
        ):
            subprocess.run(["ip", "-n", netns(node), *line.split()], check=True, timeout=60)
    try:
        yield
    finally:
        for node in scene.NODES:
            subprocess.run(["ip", "-n", netns(node), "link", "del", "vxlan0"], check=True, timeout=60)
        forget_ways()


def carried(node: str) -> int:
    """Packets that have come out of a node's tunnel."""
    argv = ["ip", "-n", netns(node), "-j", "-s", "link", "show", "vxlan0"]
    shown = json.loads(subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout)
    return int(shown[0]["stats64"]["rx"]["packets"])


@programs
def test_the_checksum_is_right_through_a_tunnel(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints("far"))
    with tunnel():
        for family, address in ADDRESSES.items():
            with sctp.Ends(family, ("pod", "far")) as ends:
                before = [carried(node) for node in scene.NODES]
                for _each in range(20):
                    made = ends.associate("pod", address)
                    assert made is not None
                    assert made.stands()
                assert all(now >= then + 60 for now, then in zip(map(carried, scene.NODES), before, strict=True))


@programs
def test_a_checksum_of_zero_is_one_and_what_the_kernel_has_yet_to_fill_in_is_left(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints("two", "far"))
    with sctp.Ends(4, ("pod", "two", "far")) as ends:
        for awaited in (True, False) * 4:
            source = sctp.free_port()
            packet = zeroed(sctp.build(source, scene.PORT, 0, sctp.init(1)))
            assert sctp.checksum(packet) == bytes(4) == packet[8:12]
            frame_from_pod(packet, awaited)
            got = ends.receive(scene.TARGET)
            assert got is not None
            assert got.source == source
            assert got.packet[8:12] == (bytes(4) if awaited else sctp.checksum(got.packet))
            assert sctp.checksum(got.packet) != bytes(4)


def zeroed(packet: bytes) -> bytes:
    """The packet with other four bytes at its end, so that its checksum is zero."""
    # What is known is the checksum before these bytes, and the register after them: it is taken back by 32 bits.
    before = int.from_bytes(sctp.checksum(packet[:8] + bytes(4) + packet[12:-4]), "little") ^ 0xFFFFFFFF
    register = 0xFFFFFFFF
    for _bit in range(32):
        top = register >> 31
        register = ((register ^ (0x82F63B78 if top else 0)) << 1 | top) & 0xFFFFFFFF
    return packet[:8] + bytes(4) + packet[12:-4] + struct.pack("<I", before ^ register)


def frame_from_pod(packet: bytes, awaited: bool) -> None:
    """A packet to the service out of the pod's interface.

    :param awaited: as it is with SCTP of the kernel's own: the checksum is left to the device, and that to nobody
    """
    argv = ["ip", "-n", netns("a"), "-j", "link", "show", "podnet0"]
    gateway = json.loads(subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout)[0]["address"]
    addresses = socket.inet_aton(scene.pod_address("pod", 4)) + socket.inet_aton(ADDRESSES[4])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(packet), 0, 0x4000, 64, sctp.IPPROTO_SCTP, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    frame = bytes.fromhex(gateway.replace(":", "")) + bytes.fromhex("020000000001") + b"\x08\0" + head + packet
    # struct virtio_net_hdr (linux/virtio_net.h): VIRTIO_NET_HDR_F_NEEDS_CSUM, and from where to where.
    told = struct.pack("=BBHHHH", awaited, 0, 0, 0, 34 * awaited, sctp.CHECKSUM * awaited)
    with namespace.inside(netns("pod")):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with opened:
        opened.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
        opened.bind(("eth0", 0x0800))
        opened.send(told + frame)


@programs
def test_fragments_arrive_where_the_port_stays_and_nowhere_else(declarer: Declarer) -> None:
    for target, arrives in ((scene.PORT, True), (scene.TARGET, False)):
        port = {**sctp.PORT, "targetPort": target}
        declarer.declare([service(ports=[port])], endpoints=endpoints("two", "far"))
        for family, address in ADDRESSES.items():
            with sctp.Ends(family, ("pod", "two", "far")) as ends:
                source = sctp.free_port()
                ends.send("pod", address, sctp.build(source, scene.PORT, 0, sctp.init(1)))
                first = ends.receive_right(target)
                assert first is not None
                packet = sctp.build(source, scene.PORT, 1, sctp.chunk(sctp.DATA, os.urandom(4000)))
                ends.send("pod", address, packet)
                got = ends.receive_right(target, 2 if arrives else 0.5)
                assert got == (first._replace(packet=packet) if arrives else None)


@programs
def test_errors_find_their_way(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints("far"))
    for family, address in ADDRESSES.items():
        with namespace.inside(netns("pod")):
            protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
            told = socket.socket(sctp.SORTS[family], socket.SOCK_RAW, protocol)
        with told, sctp.Ends(family, ("pod",)) as ends, sctp.ruled("far", "refusing", REFUSING):
            told.settimeout(5)
            source = sctp.free_port()
            ends.send("pod", address, sctp.build(source, scene.PORT, 0, sctp.init(1)))
            wanted = socket.inet_pton(sctp.SORTS[family], address) + struct.pack("!HH", source, scene.PORT)
            error = told.recv(2048)
            while error[20 if family == 4 else 0] != (3 if family == 4 else 1):
                error = told.recv(2048)
            assert wanted in error


@programs
def test_an_association_that_is_over_makes_room_for_another_and_one_that_stands_does_not(declarer: Declarer) -> None:
    declarer.declare([OFFERED], endpoints=endpoints(*PODS))
    ends_it = (
        (sctp.chunk(sctp.ABORT),),
        (SACKED, sctp.chunk(sctp.SHUTDOWN, bytes(4))),
    )
    for family, address in ADDRESSES.items():
        with sctp.Ends(family, ("pod", *PODS)) as ends:
            for over in ((), *ends_it):
                source = sctp.free_port()
                seen = set()
                for _each in range(20):
                    made = ends.associate("pod", address, source=source)
                    assert made
                    assert made.stands()
                    seen.add(made.backend)
                    assert not over or made.ask(*over)
                # One of four is drawn 20 times once in 10^12.
                assert (len(seen) > 1) == bool(over)


@programs
def test_who_has_not_been_answered_is_forgotten_before_who_has(declarer: Declarer) -> None:
    """Cookie wait takes 3 seconds, and an established association 210."""
    declarer.declare([OFFERED], endpoints=endpoints("far"))
    with sctp.Ends(4, ("pod", "far")) as four, sctp.Ends(6, ("pod", "far")) as six:
        stand, asked = [], []
        for ends in (four, six):
            stand.append(ends.associate("pod", ADDRESSES[ends.family]))
            asked.append(sctp.free_port())
            ends.send("pod", ADDRESSES[ends.family], sctp.build(asked[-1], scene.PORT, 0, sctp.init(1)))
            assert ends.receive_right(scene.TARGET)
        time.sleep(4)
        for ends, made, source in zip((four, six), stand, asked, strict=True):
            assert made
            assert made.stands()
            late = sctp.build(source, scene.PORT, 1, sctp.chunk(sctp.COOKIE_ECHO, bytes(8)))
            ends.send("pod", ADDRESSES[ends.family], late)
            assert ends.receive(scene.TARGET, 0.5) is None
