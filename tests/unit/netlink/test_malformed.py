# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are no netlink end in a NetlinkError, never in an IndexError or a struct.error."""

from __future__ import annotations

import contextlib
import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.answer import Answer, error_in, header_at
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import (
    DumpInterrupted,
    NetlinkError,
    ProtocolError,
)
from ansible_collections.podnet.fabric.tests.unit.netlink import recorded
from ansible_collections.podnet.fabric.tests.unit.netlink.recorded import DATAGRAMS, DONE, READERS, Recorded


@pytest.mark.parametrize("kind", READERS)
def test_an_answer_that_is_cut_short_is_refused(kind: str) -> None:
    whole = DATAGRAMS[kind]
    for length in range(1, len(whole)):
        with contextlib.suppress(ProtocolError):
            # Between two messages the cut cannot be seen.
            read = READERS[kind](Recorded(whole[:length], DONE))
            assert len(read) < len(READERS[kind](Recorded(whole, DONE)))


@pytest.mark.parametrize("kind", READERS)
def test_a_message_without_its_body_is_refused(kind: str) -> None:
    header = bytearray(DATAGRAMS[kind][:16])
    header[:4] = (16).to_bytes(4, "little")
    with pytest.raises(ProtocolError):
        READERS[kind](Recorded(bytes(header) + DONE))


@pytest.mark.parametrize(
    ("datagram", "complaint"),
    [
        (b"\x10", "1 bytes are left where a message should start"),
        (bytes.fromhex("0f000000 1800 0200 54000000 00000000"), "message 24 claims 15 bytes"),
        (bytes.fromhex("11000000 1800 0200 54000000 00000000"), "message 24 claims 17 bytes of the 16"),
        (recorded.NEXTHOP + b"\0\0\0", "3 bytes are left where a message should start"),
        (bytes.fromhex("12000000 0200 0000 54000000 00000000 0000"), "holds no error number"),
    ],
)
def test_what_is_wrong_with_a_datagram_is_said(datagram: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint) as caught:
        Answer(recorded.SEQUENCE).add(datagram)
    assert caught.value.errno == errno.EBADMSG


@pytest.mark.parametrize(
    ("hexadecimal", "complaint"),
    [
        ("0300 0100 00000000", "attribute 1 claims 3 bytes"),
        ("0900 0100 00000000", "attribute 1 claims 9 bytes of the 8"),
        ("0800 0100 00000000 0800", "2 bytes are left where an attribute should start"),
        ("0600 0100 0000 0000", "attribute 1 of message 104 holds 2 bytes instead of a number's 4"),
    ],
)
def test_what_is_wrong_with_an_attribute_is_said(hexadecimal: str, complaint: str) -> None:
    attributes = bytes.fromhex(hexadecimal)
    message = bytearray(recorded.NEXTHOP[:24] + attributes)
    message[0] = len(message)
    with pytest.raises(ProtocolError, match=complaint):
        READERS["nexthops"](Recorded(bytes(message)))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.data())
def test_no_change_of_bytes_gets_past_the_reader_as_another_kind_of_error(kind: str, data: st.DataObject) -> None:
    datagram = bytearray(DATAGRAMS[kind] * 2 + DONE)
    for _nth in range(data.draw(st.integers(1, 4))):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NetlinkError):
        READERS[kind](Recorded(bytes(datagram), DONE))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.binary(min_size=1, max_size=200))
def test_no_noise_gets_past_the_reader_as_another_kind_of_error(kind: str, noise: bytes) -> None:
    start = DATAGRAMS[kind][4:16]
    length = (16 + len(noise)).to_bytes(4, "little")
    for datagram in (noise, length + start + noise):
        with contextlib.suppress(NetlinkError):
            READERS[kind](Recorded(datagram, DONE))


def _error_in(datagram: bytes) -> NetlinkError | None:
    length, kind, flags, _sequence = header_at(datagram, 0)
    return error_in(datagram, 0, length, kind, flags)


def test_an_error_has_the_kernels_words() -> None:
    error = _error_in(recorded.REFUSAL)
    assert error is not None
    assert (error.errno, error.extack) == (errno.EINVAL, "Nexthop id does not exist")
    assert str(error) == "Invalid argument: Nexthop id does not exist"


def test_an_error_that_repeats_the_whole_message_has_the_words_behind_it() -> None:
    # Without NETLINK_CAP_ACK: the message of 0x18 bytes instead of its header alone.
    whole = bytearray(
        recorded.REFUSAL[:20] + bytes.fromhex("18000000") + recorded.REFUSAL[24:36] + bytes(8) + recorded.REFUSAL[36:]
    )
    whole[0] = len(whole)
    whole[6:8] = (0x200).to_bytes(2, "little")
    assert str(_error_in(bytes(whole))) == "Invalid argument: Nexthop id does not exist"


def test_an_error_without_words_is_the_systems_text() -> None:
    bare = bytearray(recorded.REFUSAL[:36])
    bare[0], bare[7] = len(bare), 0x01
    assert str(_error_in(bytes(bare))) == "Invalid argument"


def test_an_acknowledgement_is_no_error() -> None:
    fine = bytearray(recorded.REFUSAL[:36])
    fine[0], fine[7] = len(fine), 0x01
    fine[16:20] = bytes(4)
    assert _error_in(bytes(fine)) is None


def test_a_dump_that_ends_in_an_error_raises_it() -> None:
    failed = bytearray(DONE)
    failed[16:20] = (-errno.EOPNOTSUPP).to_bytes(4, "little", signed=True)
    with pytest.raises(NetlinkError) as caught:
        READERS["nexthops"](Recorded(recorded.NEXTHOP + bytes(failed)))
    assert caught.value.errno == errno.EOPNOTSUPP


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_change_of_an_errors_bytes_ends_in_another_kind_of_error(data: st.DataObject) -> None:
    refusal = bytearray(recorded.REFUSAL)
    for _nth in range(data.draw(st.integers(1, 3))):
        refusal[data.draw(st.integers(0, len(refusal) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NetlinkError):
        _error_in(bytes(refusal))


def test_an_interruption_without_end_says_so() -> None:
    assert str(DumpInterrupted(25)).endswith("the table changed during each of 25 attempts to read it")
