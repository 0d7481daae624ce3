# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nexthop objects: a gateway that routes refer to by number (RTM_NEWNEXTHOP; linux/nexthop.h; Linux >= 5.3)."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    NLM_F_REQUEST,
    attribute,
    index_of_device,
    message,
    number,
    verbs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.encap import Encap, encaps, encode_encap
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import device_names, records, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

RTNH_F_ONLINK = 4

_RTM_GETNEXTHOP = 106
_VERBS = verbs(new=104, delete=105)
# struct nhmsg: family, scope, protocol, (reserved), flags.
_BODY = struct.Struct("=BBBxI")
_NHA_ID = 1
_NHA_BLACKHOLE = 4
_NHA_OIF = 5
_NHA_GATEWAY = 6
_NHA_ENCAP_TYPE = 7
_NHA_ENCAP = 8
# A whole message: nlmsghdr, nhmsg, NHA_ID, NHA_OIF, NHA_GATEWAY.
_WHOLE = {
    (int(socket.AF_INET), 4): struct.Struct("=IHHII BBBxI HHI HHI HH4s"),
    (int(socket.AF_INET6), 16): struct.Struct("=IHHII BBBxI HHI HHI HH16s"),
}
_NO_SUCH_ID = 0xFFFFFFFF


class Nexthop(NamedTuple):
    """A nexthop object: a gateway on a device, a device alone, or a blackhole.

    A group of nexthops, which we never make, reads as one without any of them.
    """

    id: int
    family: int
    dev: str
    gateway: bytes
    flags: int = 0  # RTNH_F_ONLINK or 0
    protocol: int = 0
    blackhole: bool = False
    encap: Encap | None = None


def supports_nexthops(nl: Netlink) -> bool:
    """Whether this kernel has nexthop objects."""
    question = message(_RTM_GETNEXTHOP, NLM_F_REQUEST, _BODY.pack(0, 0, 0, 0) + number(_NHA_ID, _NO_SUCH_ID))
    return all(error.errno != errno.EOPNOTSUPP for _nth, error in nl.batch([question]))


def dump_nexthops(nl: Netlink, names: Mapping[int, str], dev_index: int = 0) -> list[Nexthop]:
    """The nexthop objects of one device, or all."""
    body = _BODY.pack(0, 0, 0, 0) + (number(_NHA_OIF, dev_index) if dev_index else b"")
    nexthops: list[Nexthop] = []
    for table in tables(nl.dump(_RTM_GETNEXTHOP, body), _BODY.size):
        nexthops += records(
            Nexthop,
            table.numbers(_NHA_ID),
            table.octets(0),
            device_names(names, table.numbers(_NHA_OIF)) if _NHA_OIF in table else table.repeat(""),
            table.payloads(_NHA_GATEWAY),
            map(RTNH_F_ONLINK.__and__, table.words(4)),
            table.octets(2),
            table.repeat(_NHA_BLACKHOLE in table),
            encaps(table, _NHA_ENCAP_TYPE, _NHA_ENCAP),
        )
    return nexthops


def encode_nexthop(verb: str, nexthop: Nexthop, index_of: Mapping[str, int]) -> bytes:
    """The message that does `verb` to a nexthop object. "delete" takes the routes that refer to it away with it."""
    kind, message_flags = _VERBS[verb]
    id_, family, dev, gateway, flags, protocol, blackhole, encap = nexthop
    if verb == "delete":
        return message(kind, message_flags, _BODY.pack(0, 0, 0, 0) + number(_NHA_ID, id_))
    if blackhole:
        body = _BODY.pack(family, 0, protocol, 0) + number(_NHA_ID, id_) + attribute(_NHA_BLACKHOLE)
        return message(kind, message_flags, body)
    index = index_of_device(index_of, dev)
    outer = encode_encap(encap, _NHA_ENCAP_TYPE, _NHA_ENCAP) if encap else b""
    if not gateway:
        body = _BODY.pack(family, 0, protocol, flags) + number(_NHA_ID, id_) + number(_NHA_OIF, index) + outer
        return message(kind, message_flags, body)
    size = len(gateway)
    if (family, size) not in _WHOLE:
        raise ValueError(f"{nexthop}: {size} bytes are no address of family {family}")
    whole = _WHOLE[family, size]
    return whole.pack(
        whole.size + len(outer), kind, message_flags, 0, 0,
        family, 0, protocol, flags,
        8, _NHA_ID, id_,
        8, _NHA_OIF, index,
        4 + size, _NHA_GATEWAY, gateway,
    ) + outer  # fmt: skip
