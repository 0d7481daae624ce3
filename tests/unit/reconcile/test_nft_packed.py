# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements as the kernel has them, there and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_packed
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS

PARTS = {
    "ipv4_addr": st.ip_addresses(v=4).map(str),
    "ipv6_addr": st.integers(0, 2**128 - 1).map(lambda each: IP_TEXTS[each.to_bytes(16, "big")]),
    "inet_proto": st.sampled_from(["tcp", "udp", "sctp"]),
    "inet_service": st.integers(0, 65535).map(str),
    "integer": st.integers(0, 2**32 - 1).map(str),
}
SORTS = st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=4)
JOINED = SORTS.flatmap(
    lambda sorts: st.tuples(st.just(" . ".join(sorts)), st.tuples(*(PARTS[each] for each in sorts)).map(" . ".join))
)
CHAINS = st.text("abcdefghij-0123456789", min_size=1, max_size=40)
VERDICTS = st.one_of(
    st.just("drop"), CHAINS.map(lambda chain: f"goto {chain}"), CHAINS.map(lambda chain: f"jump {chain}")
)


@given(JOINED, JOINED, VERDICTS)
def test_texts_come_back(key: tuple[str, str], value: tuple[str, str], said: str) -> None:
    (sort, text), (value_sort, what) = key, value
    bare = nft_packed.pack(sort, text)
    assert nft_packed.key_texts(sort, [bare]) == [text]
    for leads_to, target in ((value_sort, what), (nft_packed.VERDICT, said)):
        element = nft_packed.pack(sort, text, leads_to, target)
        assert nft_packed.key_texts(sort, [element, element]) == [text, text]
        assert nft_packed.value_texts(sort, leads_to, [element]) == [target]
        assert nft_packed.without_value(sort, element) == bare
        # Netlink's lengths hold padding, so elements stand one behind the other.
        assert struct.unpack_from("=H", element)[0] == len(element)
        assert not len(element) % 4


@given(st.lists(VERDICTS, max_size=50), st.integers(0, 3))
def test_a_list_is_taken_apart_where_it_was_joined(said: list[str], cut: int) -> None:
    elements = [nft_packed.pack("inet_service", str(number), "verdict", each) for number, each in enumerate(said)]
    joined = b"".join(elements)
    assert list(nft_packed.split(joined)) == elements
    if elements and cut:
        with pytest.raises(ValueError, match="cut off"):
            nft_packed.split(joined[:-cut])


def test_messages_take_what_fits() -> None:
    elements = [nft_packed.pack("ipv4_addr . integer", f"10.0.0.1 . {number}") for number in range(10_000)]
    bundles = nft_packed.bundles(elements)
    assert max(map(len, bundles)) <= 65_000
    assert len(bundles) == -(-sum(map(len, elements)) // 60_000)
    assert b"".join(bundles) == b"".join(elements)
    assert nft_packed.bundles([]) == []


@pytest.mark.parametrize(
    ("sort", "text", "value", "said"),
    [
        ("ipv4_addr . inet_service", "10.0.0.1", "", ""),
        ("ipv4_addr . inet_service", "fd00::1 . 80", "", ""),
        ("ipv4_addr . inet_service", "10.0.0.1 . 65536", "", ""),
        ("ipv4_addr . inet_service", "10.0.0.1 . http", "", ""),
        ("ipv4_addr . inet_proto", "10.0.0.1 . icmp", "", ""),
        ("ipv4_addr . integer", "10.0.0.1 . -1", "", ""),
        ("inet_service . inet_service", "1 . 2", "verdict", "accept"),
        ("inet_service . inet_service", "1 . 2", "verdict", "goto"),
        ("inet_service . inet_service", "1 . 2", "verdict", "drop x"),
        ("ifname . inet_service", "eth0 . 2", "", ""),
    ],
)
def test_what_is_none_of_its_type_is_refused(sort: str, text: str, value: str, said: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        nft_packed.pack(sort, text, value, said)


def test_more_than_a_key_and_a_value_is_told_apart() -> None:
    element = nft_packed.pack("inet_service", "80", "verdict", "goto a")
    noted = nft_packed.head(4, len(element) - 16 + 8) + element[12:] + struct.pack("=HHI", 8, 6, 1)
    with pytest.raises(ValueError, match="more than"):
        nft_packed.value_texts("inet_service", "verdict", [noted])
    with pytest.raises(ValueError, match="another length"):
        nft_packed.key_texts("ipv6_addr", [nft_packed.pack("inet_service", "1")])
