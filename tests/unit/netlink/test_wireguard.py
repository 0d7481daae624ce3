# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard's messages, byte for byte, and that no secret becomes part of what is read.

The answer is that of a kernel (Linux 6.12, little-endian) to

    wg set wg private-key <(echo EBEREREREREREREREREREREREREREREREREREREREVE=) listen-port 51820 fwmark 7
    wg set wg peer $(22...) endpoint 192.0.2.2:51820 persistent-keepalive 25 allowed-ips 10.1.0.0/24,fd00::/64
    wg set wg peer $(33...) endpoint [2001:db8::2]:51821 preshared-key <($(44...))
"""

from __future__ import annotations

import contextlib

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import attribute, message, text
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import BODY, nested
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import (
    Device,
    Peer,
    PeerChange,
    encode_device,
    encode_peer,
    get_device,
)
from ansible_collections.podnet.fabric.tests.unit.netlink.recorded import DONE, SEQUENCE, Recorded

FAMILY = 0x15
PRIVATE = bytes.fromhex("10" + 30 * "11" + "51")
PRESHARED = bytes(32 * (0x44,))
FIRST, SECOND = bytes(32 * (0x22,)), bytes(32 * (0x33,))
V6 = bytes.fromhex("20010db8000000000000000000000002")
PREFIXES = ((2, bytes((10, 1, 0, 0)), 24), (10, b"\xfd" + bytes(15), 64))
ANSWER = bytes.fromhex(
    "18020000 1500 0200 54000000 32000000 00 01 0000"
    "0600 0600 6cca 0000 0800 0700 07000000 0800 0100 03000000 0700 0200 776700 00"
    "2400 0300 1011111111111111111111111111111111111111111111111111111111111151"
    "2400 0400 7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
    "9c01 0880 ec00 0080"
    "2400 0100 2222222222222222222222222222222222222222222222222222222222222222"
    "2400 0200 0000000000000000000000000000000000000000000000000000000000000000"
    "1400 0600 0000000000000000 0000000000000000 0600 0500 1900 0000"
    "0400 0000 0c00 0800 0000000000000000 0400 0000 0c00 0700 0000000000000000 0800 0a00 01000000"
    "1400 0400 0200 ca6c c0000202 0000000000000000"
    "4800 0980 1c00 0080 0500 0300 18 000000 0600 0100 0200 0000 0800 0200 0a010000"
    "2800 0080 0500 0300 40 000000 0600 0100 0a00 0000 1400 0200 fd000000000000000000000000000000"
    "ac00 0080"
    "2400 0100 3333333333333333333333333333333333333333333333333333333333333333"
    "2400 0200 4444444444444444444444444444444444444444444444444444444444444444"
    "1400 0600 0000000000000000 0000000000000000 0600 0500 0000 0000"
    "0c00 0800 0000000000000000 0400 0000 0c00 0700 0000000000000000 0800 0a00 01000000"
    "2000 0400 0a00 ca6d 00000000 20010db8000000000000000000000002 00000000"
)
DEVICE = Device(
    index=3,
    name="wg",
    public_key=bytes.fromhex("7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"),
    listen_port=51820,
    fwmark=7,
    peers=(
        Peer(FIRST, bytes((192, 0, 2, 2)), 51820, 25, False, PREFIXES, 0, 0, 0),
        Peer(SECOND, V6, 51821, 0, True, (), 0, 0, 0),
    ),
)


def test_a_device_is_read() -> None:
    assert get_device(Recorded(ANSWER, DONE), FAMILY, "wg") == DEVICE


def test_no_secret_is_part_of_what_is_read() -> None:
    told = repr(get_device(Recorded(ANSWER, DONE), FAMILY, "wg"))
    assert PRIVATE in ANSWER
    assert PRESHARED in ANSWER
    for secret in (PRIVATE, PRESHARED):
        assert repr(secret)[2:-1] not in told
        assert secret.hex() not in told


def test_a_peer_that_goes_on_in_the_next_message_is_one_peer() -> None:
    more = [(2, bytes((10, 2, number, 0)), 24) for number in range(3)]
    parts = [
        nested(
            0,
            attribute(1, family.to_bytes(2, "little")),
            attribute(2, address),
            attribute(3, bytes((length,))),
        )
        for family, address, length in more
    ]
    peers = nested(8, nested(0, attribute(1, FIRST), nested(9, *parts)))
    body = BODY.pack(0, 1, 0) + text(2, "wg") + peers
    following = bytearray(message(FAMILY, 2, body))
    following[8:12] = SEQUENCE.to_bytes(4, "little")
    read = get_device(Recorded(ANSWER, bytes(following), DONE), FAMILY, "wg")
    assert read.peers[0] == DEVICE.peers[0]._replace(allowed_ips=tuple(sorted([*PREFIXES, *more])))
    assert read._replace(peers=()) == DEVICE._replace(peers=())


def test_an_answer_that_is_cut_short_is_refused() -> None:
    for length in range(1, len(ANSWER)):
        with contextlib.suppress(ProtocolError):
            get_device(Recorded(ANSWER[:length], DONE), FAMILY, "wg")
            pytest.fail(f"{length} bytes of {len(ANSWER)} were taken for a whole answer")


def test_an_answer_that_is_wrong_inside_is_refused_and_tells_no_secret() -> None:
    for position in range(20, len(ANSWER), 4):
        broken = bytearray(ANSWER)
        broken[position : position + 2] = b"\x07\0"
        complaint = ""
        try:
            get_device(Recorded(bytes(broken), DONE), FAMILY, "wg")
        except NetlinkError as error:
            complaint = str(error)
        assert "1111" not in complaint
        assert "4444" not in complaint


def test_a_device_is_written() -> None:
    assert encode_device(FAMILY, "wg", PRIVATE, 51820, 7) == bytes.fromhex(
        "50000000 1500 0100 00000000 00000000 01 01 0000 0700 0200 776700 00"
        "2400 0300 1011111111111111111111111111111111111111111111111111111111111151"
        "0600 0600 6cca 0000 0800 0700 07000000"
    )


@pytest.mark.parametrize(
    ("change", "written"),
    [
        (
            PeerChange(FIRST, endpoint=(bytes((192, 0, 2, 2)), 51820), keepalive=25, allowed_ips=PREFIXES),
            "b4000000 1500 0100 00000000 00000000 01 01 0000 0700 0200 776700 00 9800 0880 9400 0080"
            "2400 0100 2222222222222222222222222222222222222222222222222222222222222222"
            "0800 0300 00000000 1400 0400 0200 ca6c c0000202 0000000000000000 0600 0500 1900 0000"
            "4800 0980 1c00 0080 0600 0100 0200 0000 0800 0200 0a010000 0500 0300 18 000000"
            "2800 0080 0600 0100 0a00 0000 1400 0200 fd000000000000000000000000000000 0500 0300 40 000000",
        ),
        (
            PeerChange(SECOND, update_only=True, endpoint=(V6, 51821), drop_preshared=True),
            "94000000 1500 0100 00000000 00000000 01 01 0000 0700 0200 776700 00 7800 0880 7400 0080"
            "2400 0100 3333333333333333333333333333333333333333333333333333333333333333"
            "0800 0300 04000000 2000 0400 0a00 ca6d 00000000 20010db8000000000000000000000002 00000000"
            "2400 0200 0000000000000000000000000000000000000000000000000000000000000000",
        ),
        (
            PeerChange(SECOND, remove=True),
            "50000000 1500 0100 00000000 00000000 01 01 0000 0700 0200 776700 00 3400 0880 3000 0080"
            "2400 0100 3333333333333333333333333333333333333333333333333333333333333333 0800 0300 01000000",
        ),
    ],
)
def test_a_peer_is_written(change: PeerChange, written: str) -> None:
    assert encode_peer(FAMILY, "wg", change) == [bytes.fromhex(written)]


def test_more_prefixes_than_fit_go_on_in_the_next_message() -> None:
    many = [(10, number.to_bytes(16, "big"), 128) for number in range(5000)]
    messages = encode_peer(FAMILY, "wg", PeerChange(FIRST, keepalive=25, allowed_ips=many))
    assert len(messages) == 5
    assert max(map(len, messages)) < 1 << 16
    keepalive = attribute(5, (25).to_bytes(2, "little"))
    assert [keepalive in each for each in messages] == [True, False, False, False, False]


def test_a_key_of_another_length_is_refused_and_not_quoted() -> None:
    with pytest.raises(NetlinkError, match=r"a key of 31 bytes instead of 32") as refusal:
        encode_device(FAMILY, "wg", PRIVATE[:31], 51820)
    assert "1111" not in str(refusal.value)
