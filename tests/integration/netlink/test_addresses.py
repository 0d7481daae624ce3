# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses: ours and pyroute2's view of the kernel are the same, in both directions."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import (
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
    IFA_F_SETTABLE,
    Address,
    dump_addresses,
    encode_address,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import RT_SCOPE_LINK, dump_routes
from ansible_collections.podnet.fabric.tests.integration.netlink import oracle
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

V4 = int(socket.AF_INET)
V6 = int(socket.AF_INET6)
ADDRESSES = [
    Address("br0", V4, packed("10.244.0.1"), 24),
    Address("br0", V4, packed("10.244.0.2"), 24, RT_SCOPE_LINK, IFA_F_NOPREFIXROUTE),
    Address("br0", V6, packed("fd00::1"), 64, 0, IFA_F_NODAD),
    Address("br0", V6, packed("fd00::2"), 64, 0, IFA_F_NODAD | IFA_F_NOPREFIXROUTE),
    Address("br0", V4, packed("10.244.0.0"), 32),
]


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_an_address_of_ours_is_what_pyroute2_reads(node: Node, address: Address) -> None:
    node.apply(encode_address("create", address, node.index_of))
    read = dump_addresses(node.nl, node.names)
    assert sorted(read) == oracle.addresses(node)
    assert address in [found._replace(flags=found.flags & IFA_F_SETTABLE) for found in read]
    node.apply(encode_address("delete", address, node.index_of))
    assert address.address not in [found.address for found in oracle.addresses(node)]


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ("10.244.0.1/24 dev br0", Address("br0", V4, packed("10.244.0.1"), 24, 0, IFA_F_PERMANENT)),
        ("10.244.0.1/24 brd + dev br0", Address("br0", V4, packed("10.244.0.1"), 24, 0, IFA_F_PERMANENT)),
        ("10.1.1.1 peer 10.1.1.2 dev br0", Address("br0", V4, packed("10.1.1.1"), 32, 0, IFA_F_PERMANENT)),
        ("fd00::1/64 dev br0 nodad", Address("br0", V6, packed("fd00::1"), 64, 0, IFA_F_PERMANENT | IFA_F_NODAD)),
        ("fd00::1 peer fd00::2 dev br0 nodad", Address("br0", V6, packed("fd00::1"), 128, 0, 0x82)),
    ],
)
def test_an_address_of_iproute2_is_what_we_read(node: Node, command: str, address: Address) -> None:
    node.netns.ip("address", "add", *command.split())
    assert address in dump_addresses(node.nl, node.names, node.index_of["br0"])


def test_the_kernel_filters_by_device(node: Node) -> None:
    node.apply(encode_address("create", ADDRESSES[0], node.index_of))
    assert {found.dev for found in dump_addresses(node.nl, node.names, node.index_of["br0"])} == {"br0"}
    # The link-local addresses of the others come when their carriers do.
    assert {found.dev for found in dump_addresses(node.nl, node.names)} >= {"lo", "br0"}


def test_an_address_without_its_prefix_route_brings_none(node: Node) -> None:
    node.apply(encode_address("create", ADDRESSES[1], node.index_of))
    assert [route for route in dump_routes(node.nl, node.names, V4) if route.dev == "br0"] == []


def _flags_after_replace(node: Node, address: Address, flags: int) -> int:
    node.apply(
        encode_address("create", address, node.index_of),
        encode_address("replace", address._replace(flags=flags), node.index_of),
    )
    (found,) = (each for each in dump_addresses(node.nl, node.names) if each.address == address.address)
    return found.flags & IFA_F_SETTABLE


def test_replace_changes_the_flags_of_an_ipv6_address_only(node: Node) -> None:
    assert _flags_after_replace(node, ADDRESSES[2], IFA_F_NOPREFIXROUTE | IFA_F_NODAD) & IFA_F_NOPREFIXROUTE
    assert _flags_after_replace(node, ADDRESSES[0], IFA_F_NOPREFIXROUTE) == 0
