# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new pod adds to IP sets: packetfilter/iptables.py makes the same of it, by tools that ADD has no time for.

Numbers are those of linux/netfilter/ipset/ip_set.h.
"""

from __future__ import annotations

from _struct import pack

from ansible_collections.podnet.fabric.plugins.module_utils.attach import elements, wire
from ansible_collections.podnet.fabric.plugins.module_utils.attach.transaction import NETLINK_NETFILTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import Element

SUBSYSTEM, ADD = 6, 9  # NFNL_SUBSYS_IPSET, IPSET_CMD_ADD
INET, INET6 = 2, 10  # NFPROTO_IPV4, NFPROTO_IPV6
PROTOCOL, SETNAME, DATA = 1, 2, 7  # IPSET_ATTR_*, of a message
IP = 1  # of an element
OLDEST = 6  # IPSET_PROTOCOL_MIN
BIG_ENDIAN = 0x4000  # NLA_F_NET_BYTEORDER


def add(told: Sequence[Element]) -> None:
    """Add what the policies make of a pod.

    :raises OSError: the kernel has refused an element, and those before it are there
    """
    flags = wire.REQUEST | wire.ACK | wire.EXCLUSIVE
    messages = [
        wire.message(SUBSYSTEM << 8 | ADD, flags, number, _body(name, elements.packed(address)))
        for number, (name, address, _chain) in enumerate(told, 1)
    ]
    for _told in wire.exchange(NETLINK_NETFILTER, messages, set(range(1, len(messages) + 1))):
        continue


def _body(name: str, address: bytes) -> bytes:
    six = len(address) == 16
    return (
        pack(">BBH", INET6 if six else INET, 0, 0)
        + wire.attribute(PROTOCOL, bytes((OLDEST,)))
        + wire.attribute(SETNAME, name.encode() + b"\0")
        + wire.nested(DATA, wire.nested(IP, wire.attribute((2 if six else 1) | BIG_ENDIAN, address)))
    )
