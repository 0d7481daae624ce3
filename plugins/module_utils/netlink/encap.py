# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outer header that a route or a nexthop object gives its packets (lightweight tunnels; linux/lwtunnel.h).

A device that takes its outer headers from there ("external", collect_md) serves any number of peers. Options of the
outer header (LWTUNNEL_IP_OPTS) are neither made nor read: routes that carry some read as if they had none.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    NLA_F_NESTED,
    attributes,
    number_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Table

# Flags of an outer header, as numbers of the network byte order (linux/if_tunnel.h).
TUNNEL_CSUM = 0x0001
TUNNEL_KEY = 0x0004
TUNNEL_SEQ = 0x0008

# enum lwtunnel_encap_types, in iproute2's names.
_IP = 2
_IP6 = 4
_NAMES: Mapping[int, str] = {
    1: "mpls", _IP: "ip", 3: "ila", _IP6: "ip6", 5: "seg6", 6: "bpf", 7: "seg6local", 8: "rpl", 9: "ioam6", 10: "xfrm"
}  # fmt: skip
# enum lwtunnel_ip_t; enum lwtunnel_ip6_t has the same numbers (TTL is HOPLIMIT there, TOS is TC).
_ID = 1
_DST = 2
_SRC = 3
_TTL = 4
_TOS = 5
_FLAGS = 6
# Both attributes: the type; the nest of ID, DST, SRC, TTL, TOS, FLAGS. Each 16-bit pair is an attribute's header.
_WHOLE = {
    "ip": (_IP, 4, struct.Struct("=HHH2x HH HH8s HH4s HH4s HHB3x HHB3x HH2s2x")),
    "ip6": (_IP6, 16, struct.Struct("=HHH2x HH HH8s HH16s HH16s HHB3x HHB3x HH2s2x")),
}
_ADDRESS_SIZE = {_IP: 4, _IP6: 16}


class Encap(NamedTuple):
    """An outer header. Of a type that is neither "ip" nor "ip6" only the type is known."""

    type: str  # "ip", "ip6"; iproute2's name or the number of another type
    id: int = 0  # the VNI, where the tunnel has one
    dst: bytes = b""
    src: bytes = b""  # empty: the kernel's choice
    ttl: int = 0  # 0: the kernel's choice; IPv6's hop limit
    tos: int = 0  # IPv6's traffic class
    flags: int = 0  # TUNNEL_CSUM, ...


def encode_encap(encap: Encap, type_attribute: int, nest_attribute: int) -> bytes:
    """The two attributes that say what the outer header is. NHA_ENCAP is refused without the mark of a nest."""
    type_, id_, dst, src, ttl, tos, flags = encap
    if type_ not in _WHOLE:
        raise ValueError(f"{encap}: outer headers of type {type_} are not ours to make")
    number, size, whole = _WHOLE[type_]
    if len(dst) not in (0, size) or len(src) not in (0, size):
        raise ValueError(f"{encap}: an outer header of type {type_} has addresses of {size} bytes")
    return whole.pack(
        6, type_attribute, number,
        whole.size - 8, nest_attribute | NLA_F_NESTED,
        12, _ID, id_.to_bytes(8, "big"),
        4 + size, _DST, dst,
        4 + size, _SRC, src,
        5, _TTL, ttl,
        5, _TOS, tos,
        6, _FLAGS, flags.to_bytes(2, "big"),
    )  # fmt: skip


def encaps(table: Table, type_attribute: int, nest_attribute: int) -> Iterable[Encap | None]:
    """The column of the outer headers."""
    if type_attribute not in table or nest_attribute not in table:
        return table.repeat(None)
    types = list(table.payloads(type_attribute))
    nests = list(table.payloads(nest_attribute))
    inner = table.nested(nest_attribute) if types.count(types[0]) == len(types) else None
    if inner is None:
        return [_encap(number_of(type_), attributes(nest)) for type_, nest in zip(types, nests)]
    return _column(number_of(types[0]), inner)


def _column(number: int, inner: Table) -> Iterable[Encap]:
    """The outer headers of rows that look alike."""
    size = _ADDRESS_SIZE.get(number)
    if size is None:
        return inner.repeat(Encap(_NAMES.get(number, str(number))))
    sizes = {_ID: 8, _DST: size, _SRC: size, _TTL: 1, _TOS: 1, _FLAGS: 2}
    for attribute, wanted in sizes.items():
        _check(attribute, inner.places.get(attribute, (0, wanted))[1], wanted)
    return records(
        Encap,
        inner.repeat(_NAMES[number]),
        map(_big_endian, inner.payloads(_ID)),
        _addresses(inner.payloads(_DST), size),
        _addresses(inner.payloads(_SRC), size),
        map(_big_endian, inner.payloads(_TTL)),
        map(_big_endian, inner.payloads(_TOS)),
        map(_big_endian, inner.payloads(_FLAGS)),
    )


def _encap(number: int, had: Mapping[int, bytes]) -> Encap:
    size = _ADDRESS_SIZE.get(number)
    if size is None:
        return Encap(_NAMES.get(number, str(number)))
    for attribute, wanted in ((_ID, 8), (_DST, size), (_SRC, size), (_TTL, 1), (_TOS, 1), (_FLAGS, 2)):
        _check(attribute, len(had.get(attribute, bytes(wanted))), wanted)
    dst, src = _addresses((had.get(_DST, b""), had.get(_SRC, b"")), size)
    id_, ttl, tos, flags = (_big_endian(had.get(attribute, b"")) for attribute in (_ID, _TTL, _TOS, _FLAGS))
    return Encap(_NAMES[number], id_, dst, src, ttl, tos, flags)


def _check(attribute: int, size: int, wanted: int) -> None:
    if size != wanted:
        raise ProtocolError(f"attribute {attribute} of an outer header holds {size} bytes instead of {wanted}")


def _addresses(column: Iterable[bytes], size: int) -> list[bytes]:
    # The kernel shows an address that was not given as one of zeros.
    none = bytes(size)
    return [b"" if address == none else address for address in column]


def _big_endian(payload: bytes) -> int:
    return int.from_bytes(payload, "big")
