# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked arrives as asked; what arrives from a network is never trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.probe import message

NONCE = bytes(range(8))
DIGEST = message.digest_of("test")


@given(st.integers(message.SMALLEST, 9000))
def test_a_request_has_exactly_the_size_asked_for_and_reads_back(size: int) -> None:
    data = message.encode_request(message.FULL, NONCE, DIGEST, size)
    assert len(data) == size
    assert message.decode_request(data) == message.Request(message.FULL, NONCE, DIGEST)


@pytest.mark.parametrize("size", [message.SMALLEST - 1, message.LARGEST + 1])
def test_a_size_that_the_capture_would_miss_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="a probe has 128 to 65535 bytes"):
        message.encode_request(message.SMALL, NONCE, DIGEST, size)


def test_a_reply_reads_back_and_an_echo_is_as_long_as_its_request() -> None:
    reply = message.Reply(NONCE, "b", "fd00::1", 40000, 1422, False, 15)
    assert message.decode_reply(message.encode_reply(reply)) == reply
    assert len(message.encode_reply(reply)) < message.SMALLEST + 64
    echo = reply._replace(echo=True)
    assert len(message.encode_reply(echo)) == 1422
    assert message.decode_reply(message.encode_reply(echo)) == echo


def test_runs_do_not_answer_each_other() -> None:
    assert message.digest_of("one") != message.digest_of("two")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PNPB",
        b"PNPB[]",
        b'PNPB{"nonce": 1}',
        b'PNPB{"nonce": "zz", "name": "", "source": "", "port": 1, "length": 1, "echo": false, "held": 0}',
        b"PNPB" + b"[" * 100000,
        b'HTTP/1.1 400 Bad Request\r\n\r\n{"nonce": "00"}',
    ],
)
def test_a_false_reply_is_no_reply(data: bytes) -> None:
    assert message.decode_reply(data) is None


@given(st.binary(max_size=300))
def test_noise_is_neither_request_nor_reply(data: bytes) -> None:
    assert message.decode_request(data) is None or data.startswith(message.MAGIC)
    assert message.decode_reply(data) is None or data.startswith(message.MAGIC)
