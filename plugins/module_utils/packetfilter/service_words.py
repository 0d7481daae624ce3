# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How services are spoken of in nft: by addresses or as node ports, of either family."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import JOINED
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Frontend


class Words(NamedTuple):
    """How nft speaks of a family."""

    ip: str
    sort: str
    loopback: str


FAMILIES = {4: Words("ip", "ipv4_addr", "127.0.0.0/8"), 6: Words("ip6", "ipv6_addr", "::1")}

ADDRESSES, NODE_PORTS = "frontends", "nodeports"
KEYS = {ADDRESSES: "{ip} daddr . meta l4proto . th dport", NODE_PORTS: "meta l4proto . th dport"}
ORIGINALS = {
    ADDRESSES: "ct original {ip} daddr . meta l4proto . ct original proto-dst",
    NODE_PORTS: "meta l4proto . ct original proto-dst",
}
SORTS = {ADDRESSES: "{sort} . inet_proto . inet_service", NODE_PORTS: "inet_proto . inet_service"}


def key_of(frontend: Frontend) -> str:
    """A frontend as an element of a set or a map."""
    key = f"{frontend.protocol}{JOINED}{frontend.port}"
    return key if frontend.address is None else f"{text_of(frontend.family, frontend.address)}{JOINED}{key}"


def text_of(family: int, address: int) -> str:
    """An address as nft has it."""
    return IP_TEXTS[address.to_bytes(4 if family == 4 else 16, "big")]
