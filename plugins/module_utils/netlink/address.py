# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of devices (RTM_NEWADDR; linux/if_addr.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    ADDRESS_SIZE,
    attribute,
    index_of_device,
    message,
    number,
    verbs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import device_names, records, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80
IFA_F_NOPREFIXROUTE = 0x200
# The flags that a request may set; the others tell what has become of the address.
IFA_F_SETTABLE = IFA_F_NODAD | 0x04 | 0x10 | 0x100 | IFA_F_NOPREFIXROUTE | 0x400

_RTM_GETADDR = 22
_VERBS = verbs(new=20, delete=21)
# struct ifaddrmsg: family, prefix length, flags, scope, device index.
_BODY = struct.Struct("=BBBBI")
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8


class Address(NamedTuple):
    """An address on a device. `flags` as read are the kernel's; compare them under IFA_F_SETTABLE."""

    dev: str
    family: int
    address: bytes
    prefixlen: int
    scope: int = 0
    flags: int = 0


def dump_addresses(nl: Netlink, names: Mapping[int, str], dev_index: int = 0) -> list[Address]:
    """The addresses of one device, or of all."""
    addresses: list[Address] = []
    for table in tables(nl.dump(_RTM_GETADDR, _BODY.pack(0, 0, 0, 0, dev_index)), _BODY.size):
        # On a point-to-point link IFA_ADDRESS is the other end's.
        own = table.payloads(_IFA_LOCAL if _IFA_LOCAL in table else _IFA_ADDRESS)
        addresses += records(
            Address,
            device_names(names, table.words(4)),
            table.octets(0),
            own,
            table.octets(1),
            table.octets(3),
            table.numbers(_IFA_FLAGS) if _IFA_FLAGS in table else table.octets(2),
        )
    if dev_index and not nl.strict:
        return [address for address in addresses if address.dev == names.get(dev_index)]
    return addresses


def encode_address(verb: str, address: Address, index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to an address.

    "replace" changes the flags of an IPv6 address; of an IPv4 address the kernel leaves them as they are.
    """
    kind, flags = _VERBS[verb]
    dev, family, local, prefixlen, scope, address_flags = address
    if len(local) != ADDRESS_SIZE[family]:
        raise ValueError(f"{address}: {len(local)} bytes are no address of family {family}")
    body = _BODY.pack(family, prefixlen, 0, scope, index_of_device(index_of, dev))
    body += attribute(_IFA_LOCAL, local) + attribute(_IFA_ADDRESS, local)
    if verb != "delete":
        body += number(_IFA_FLAGS, address_flags & IFA_F_SETTABLE)
    return message(kind, flags, body)
