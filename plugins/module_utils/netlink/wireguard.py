# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard's devices and their peers (generic netlink family "wireguard"; linux/wireguard.h).

A private key is only ever written. The kernel tells root the one of a device that it is asked about, and a peer's
preshared key: they are passed over where they stand and never become part of a record.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import generic
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    MESSAGE,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
    number,
    number_of,
    text,
    text_of,
    walk,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import nested

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

FAMILY = "wireguard"
KEY_LENGTH = 32

_GET_DEVICE, _SET_DEVICE = 0, 1
_VERSION = 1
_WGDEVICE_A_IFINDEX = 1
_WGDEVICE_A_IFNAME = 2
_WGDEVICE_A_PRIVATE_KEY = 3
_WGDEVICE_A_PUBLIC_KEY = 4
_WGDEVICE_A_LISTEN_PORT = 6
_WGDEVICE_A_FWMARK = 7
_WGDEVICE_A_PEERS = 8
_WGPEER_A_PUBLIC_KEY = 1
_WGPEER_A_PRESHARED_KEY = 2
_WGPEER_A_FLAGS = 3
_WGPEER_A_ENDPOINT = 4
_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL = 5
_WGPEER_A_LAST_HANDSHAKE_TIME = 6
_WGPEER_A_RX_BYTES = 7
_WGPEER_A_TX_BYTES = 8
_WGPEER_A_ALLOWEDIPS = 9
_WGPEER_A_PROTOCOL_VERSION = 10
_WGPEER_F_REMOVE_ME = 1
_WGPEER_F_UPDATE_ONLY = 4
_WGALLOWEDIP_A_FAMILY = 1
_WGALLOWEDIP_A_IPADDR = 2
_WGALLOWEDIP_A_CIDR_MASK = 3

# struct sockaddr_in: family, port in network order, address, (padding).
_SOCKADDR_IN = struct.Struct("=H2s4s8x")
# struct sockaddr_in6: family, port in network order, flow, address, scope.
_SOCKADDR_IN6 = struct.Struct("=H2sI16sI")
# struct __kernel_timespec: seconds, nanoseconds.
_TIMESPEC = struct.Struct("=qq")
_SHORT = struct.Struct("=H")
_COUNTER = struct.Struct("=Q")
# An attribute's length has 16 bits, and a prefix takes up to 40 bytes: a peer with more of them takes several messages.
_PREFIXES_PER_MESSAGE = 1024

# Family, packed address, prefix length.
Prefix = tuple[int, bytes, int]


class Peer(NamedTuple):
    """A peer of a device as the kernel describes it."""

    public_key: bytes
    endpoint: bytes  # the address that packets go to; empty as long as there is none
    port: int
    keepalive: int  # seconds between packets sent for their own sake; 0 for none
    preshared: bool  # whether there is a preshared key
    allowed_ips: tuple[Prefix, ...]  # sorted
    last_handshake: float  # seconds since 1970; 0 for never
    rx_bytes: int
    tx_bytes: int
    protocol: int = 1


class Device(NamedTuple):
    """A WireGuard device; its private key shows in the public one only."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a device
    name: str
    public_key: bytes  # empty as long as the device has no private key
    listen_port: int
    fwmark: int
    peers: tuple[Peer, ...]


class PeerChange(NamedTuple):
    """What to tell the kernel about a peer; what is None stays as it is.

    The kernel takes `allowed_ips` from the peers that have them now, and adds them to those that this one has.
    """

    public_key: bytes
    remove: bool = False
    update_only: bool = False  # do nothing when there is no such peer (any more)
    endpoint: tuple[bytes, int] | None = None
    keepalive: int | None = None
    drop_preshared: bool = False
    allowed_ips: Sequence[Prefix] = ()


def get_device(nl: Netlink, family: int, name: str) -> Device:
    """A device with all its peers.

    Raises NetlinkError: ENODEV when there is no such device, EOPNOTSUPP when it is none of WireGuard's.
    """
    body = generic.BODY.pack(_GET_DEVICE, _VERSION, 0) + text(_WGDEVICE_A_IFNAME, name)
    own: dict[int, bytes] = {}
    peers: dict[bytes, _Parts] = {}
    for block in nl.dump(family, body):
        for offset in range(0, len(block.data), block.stride):
            start = offset + MESSAGE.size + generic.BODY.size
            for kind, at, size in walk(block.data, start, offset + block.length):
                if kind == _WGDEVICE_A_PEERS:
                    _gather(peers, block.data, at, size)
                elif kind != _WGDEVICE_A_PRIVATE_KEY:
                    own[kind] = block.data[at : at + size]
    if _WGDEVICE_A_IFINDEX not in own:
        raise ProtocolError(f"the kernel's answer about {name} does not say which device it is")
    return Device(
        index=number_of(own[_WGDEVICE_A_IFINDEX]),
        name=text_of(own.get(_WGDEVICE_A_IFNAME)),
        public_key=own.get(_WGDEVICE_A_PUBLIC_KEY, b""),
        listen_port=number_of(own.get(_WGDEVICE_A_LISTEN_PORT)),
        fwmark=number_of(own.get(_WGDEVICE_A_FWMARK)),
        peers=tuple(_peer(key, parts) for key, parts in sorted(peers.items())),
    )


def encode_device(family: int, name: str, private_key: bytes, listen_port: int, fwmark: int = 0) -> bytes:
    """The message that gives a device its key, its port and its mark; its peers stay."""
    body = generic.BODY.pack(_SET_DEVICE, _VERSION, 0) + text(_WGDEVICE_A_IFNAME, name)
    body += attribute(_WGDEVICE_A_PRIVATE_KEY, _key(private_key))
    body += attribute(_WGDEVICE_A_LISTEN_PORT, _SHORT.pack(listen_port)) + number(_WGDEVICE_A_FWMARK, fwmark)
    return message(family, NLM_F_REQUEST, body)


def encode_peer(family: int, name: str, change: PeerChange) -> list[bytes]:
    """The messages that make, change or remove a peer; more than one only where its prefixes do not fit in one."""
    flags = _WGPEER_F_REMOVE_ME * change.remove | _WGPEER_F_UPDATE_ONLY * change.update_only
    first = number(_WGPEER_A_FLAGS, flags)
    if change.endpoint is not None:
        first += attribute(_WGPEER_A_ENDPOINT, _sockaddr(*change.endpoint))
    if change.keepalive is not None:
        first += attribute(_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, _SHORT.pack(change.keepalive))
    if change.drop_preshared:
        first += attribute(_WGPEER_A_PRESHARED_KEY, bytes(KEY_LENGTH))
    messages = []
    for position in range(0, max(len(change.allowed_ips), 1), _PREFIXES_PER_MESSAGE):
        prefixes = change.allowed_ips[position : position + _PREFIXES_PER_MESSAGE]
        parts = [attribute(_WGPEER_A_PUBLIC_KEY, _key(change.public_key))]
        parts.append(number(_WGPEER_A_FLAGS, _WGPEER_F_UPDATE_ONLY) if position else first)
        if prefixes:
            parts.append(nested(_WGPEER_A_ALLOWEDIPS, *map(_prefix, prefixes)))
        peers = nested(_WGDEVICE_A_PEERS, nested(0, *parts))
        body = generic.BODY.pack(_SET_DEVICE, _VERSION, 0) + text(_WGDEVICE_A_IFNAME, name) + peers
        messages.append(message(family, NLM_F_REQUEST, body))
    return messages


class _Parts(NamedTuple):
    """What the messages of a dump say about a peer: its attributes, and its prefixes, which may come in several."""

    fields: dict[int, bytes]
    prefixes: list[Prefix]


def _gather(peers: dict[bytes, _Parts], data: bytes, start: int, size: int) -> None:
    for _nth, at, length in walk(data, start, start + size):
        places = {kind: (begin, extent) for kind, begin, extent in walk(data, at, at + length)}
        if places.get(_WGPEER_A_PUBLIC_KEY, (0, 0))[1] != KEY_LENGTH:
            raise ProtocolError("a peer without a public key")
        begin = places[_WGPEER_A_PUBLIC_KEY][0]
        fields, prefixes = peers.setdefault(data[begin : begin + KEY_LENGTH], _Parts({}, []))
        for kind, (begin, extent) in places.items():
            if kind == _WGPEER_A_ALLOWEDIPS:
                prefixes += _prefixes(data, begin, extent)
            elif kind == _WGPEER_A_PRESHARED_KEY:
                fields[kind] = b"\1" if data.count(b"\0", begin, begin + extent) != extent else b""
            else:
                fields[kind] = data[begin : begin + extent]


def _prefixes(data: bytes, start: int, size: int) -> Iterator[Prefix]:
    for _nth, at, length in walk(data, start, start + size):
        had = attributes(data, at, at + length)
        address = had.get(_WGALLOWEDIP_A_IPADDR, b"")
        if len(address) not in (4, 16):
            raise ProtocolError(f"an allowed address of {len(address)} bytes")
        yield number_of(had.get(_WGALLOWEDIP_A_FAMILY)), address, number_of(had.get(_WGALLOWEDIP_A_CIDR_MASK))


def _peer(key: bytes, parts: _Parts) -> Peer:
    had = parts.fields
    endpoint, port = _endpoint(had.get(_WGPEER_A_ENDPOINT, b""))
    seconds, nanoseconds = _unpacked(_TIMESPEC, had.get(_WGPEER_A_LAST_HANDSHAKE_TIME)) or (0, 0)
    return Peer(
        public_key=key,
        endpoint=endpoint,
        port=port,
        keepalive=number_of(had.get(_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL)),
        preshared=bool(had.get(_WGPEER_A_PRESHARED_KEY)),
        allowed_ips=tuple(sorted(parts.prefixes)),
        last_handshake=seconds + nanoseconds / 1e9,
        rx_bytes=sum(_unpacked(_COUNTER, had.get(_WGPEER_A_RX_BYTES))),
        tx_bytes=sum(_unpacked(_COUNTER, had.get(_WGPEER_A_TX_BYTES))),
        protocol=number_of(had.get(_WGPEER_A_PROTOCOL_VERSION)),
    )


def _unpacked(form: struct.Struct, payload: bytes | None) -> tuple[int, ...]:
    if payload is None:
        return ()
    if len(payload) != form.size:
        raise ProtocolError(f"{len(payload)} bytes instead of {form.size}")
    return form.unpack(payload)


def _endpoint(payload: bytes) -> tuple[bytes, int]:
    if not payload:
        return b"", 0
    if len(payload) == _SOCKADDR_IN.size:
        _family, port, address = _SOCKADDR_IN.unpack(payload)
    elif len(payload) == _SOCKADDR_IN6.size:
        _family, port, _flow, address, _scope = _SOCKADDR_IN6.unpack(payload)
    else:
        raise ProtocolError(f"an endpoint of {len(payload)} bytes")
    return address, int.from_bytes(port, "big")


def _sockaddr(address: bytes, port: int) -> bytes:
    wire = port.to_bytes(2, "big")
    if len(address) == 4:
        return _SOCKADDR_IN.pack(socket.AF_INET, wire, address)
    return _SOCKADDR_IN6.pack(socket.AF_INET6, wire, 0, address, 0)


def _prefix(prefix: Prefix) -> bytes:
    family, address, length = prefix
    return nested(
        0,
        attribute(_WGALLOWEDIP_A_FAMILY, _SHORT.pack(family)),
        attribute(_WGALLOWEDIP_A_IPADDR, address),
        attribute(_WGALLOWEDIP_A_CIDR_MASK, bytes((length,))),
    )


def _key(key: bytes) -> bytes:
    # The kernel takes no other length; this error must not quote what it was given.
    if len(key) != KEY_LENGTH:
        raise NetlinkError(errno.EINVAL, f"a key of {len(key)} bytes instead of {KEY_LENGTH}")
    return key
