# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from the network is taken for a stream only when it is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.stream import message


def test_a_datagram_comes_back_as_it_was() -> None:
    data = message.encode(message.DATA, b"12345678", 2**40, b"rest")
    assert message.decode(data) == message.Datagram(message.DATA, b"12345678", 2**40, b"rest")


def test_a_greeting_comes_back_as_it_was_with_and_without_padding() -> None:
    hello = message.Hello(message.digest_of("run"), "00ff", "a", "node2/b")
    assert message.decode_hello(message.encode_hello(hello)) == hello
    assert message.decode_hello(message.encode_hello(hello).ljust(message.GREETING)) == hello


def test_the_longest_names_fit_into_a_greeting() -> None:
    hello = message.Hello(message.digest_of("run"), "00" * 8, "a" * 63, "b" * 253)
    assert len(message.encode_hello(hello)) <= message.GREETING


def test_another_version_is_not_understood() -> None:
    data = bytearray(message.encode(message.DATA, b"12345678"))
    data[4] += 1
    assert message.decode(bytes(data)) is None


@given(st.binary(max_size=600))
def test_anything_else_is_refused_without_an_error(data: bytes) -> None:
    assert message.decode(data) is None or data.startswith(message.MAGIC)
    message.decode_hello(data)


def test_a_token_that_is_no_number_is_refused() -> None:
    assert message.decode_hello(b'{"run": "r", "token": "zz", "sender": "a", "target": "b"}') is None
