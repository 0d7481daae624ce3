# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled policies as the elements of one trie (longest prefix wins), which ebpf/policy.c asks three times at most.

The first packet of a flow leads from the pod's address to its guard; from the peer's address, in the guard, to the
set of ports that is allowed to it; and from there to whether its own port is in it. So the time that a packet takes
depends on neither the number of policies nor that of pods. A guard is called by a digest of the policies that it stands
for, so one peer more is an element more (ebpf_change.py); a set of ports by a digest of all of them. The same policies
and peers make the same elements.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import struct
import sys
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import EGRESS, INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import aligned
from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import LINK_LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import (
        Compiled,
        Endpoint,
        Guard,
        PortRange,
        Ports,
    )
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import Sender

Elements = dict[bytes, bytes]

# struct entry of ebpf/policy.c: bits of the key that count, the space, and in the space an address or a port.
KEY = struct.Struct("=IQ16s")
VALUE = struct.Struct("=Q")
SPACE_BITS = 64
NOTHING = Columns(b"", b"", KEY.size, VALUE.size)
OPEN = 1
EVERY = 1
HOOKS = {EGRESS: 0, INGRESS: 1}  # SENDS, RECEIVES
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}
NAMES = {number: name for name, number in PROTOCOLS.items()}
_SIZES = {4: 4, 6: 16}
_BITS = {4: 32, 6: 128}
_PORT_BITS = 16
_ORIGINS = {4: 4, 6: 5}  # ORIGINS, and + 1 for IPv6
_KNOWN = 6
DIGEST = 1 << 63  # so that none is one of the small numbers
GUARD = 1 << 62  # of a guard's, not of a set of ports'
IPV6 = 1  # a guard's digest is even: its peers by IPv6 are in the space behind it

Prefix = tuple[int, int]
"""First address and length."""


def render(compiled: Compiled, guarded: Iterable[Endpoint]) -> Columns:
    """The elements for the pods of a node: all of them are named, also those that no policy selects."""
    found: Elements = {}
    for guard in {**compiled.prepared, **compiled.guards}.values():
        _add_guard(found, guard)
    for endpoint in guarded:
        for direction, hook in HOOKS.items():
            identity = compiled.before[direction].get((endpoint.namespace, endpoint.name))
            space = OPEN if identity is None else number_of(identity)
            for family, addresses in endpoint.addresses.items():
                for address in addresses:
                    _put(found, hook * 2 + (family == 6), family, (address, _BITS[family]), space)
    return Columns.of(found, KEY.size, VALUE.size)


def render_senders(senders: Iterable[Sender], indexes: Mapping[str, int]) -> Columns:
    """What may come out of which interface: one entry that knows the interface, and one for each address."""
    found: Elements = {}
    for sender in senders:
        index = indexes[sender.interface]
        found[KEY.pack(SPACE_BITS, _space(_KNOWN, index), b"")] = VALUE.pack(OPEN)
        for family, addresses in sender.addresses.items():
            for address in addresses:
                _put(found, _space(_ORIGINS[family], index), family, (address, _BITS[family]), OPEN)
        if sender.any_link_local:
            _put(found, _space(_ORIGINS[6], index), 6, (int(LINK_LOCAL.network_address), LINK_LOCAL.prefixlen), OPEN)
    return Columns.of(found, KEY.size, VALUE.size)


def _space(sort: int, index: int) -> int:
    """As struct entry of ebpf/policy.c has it: two words, of which the second is the interface's index."""
    return int.from_bytes(struct.pack("=II", sort, index), sys.byteorder)


def guards_by_digest(compiled: Compiled) -> dict[int, Guard]:
    """What the programs know each guard by."""
    return {number_of(identity): guard for identity, guard in compiled.guards.items()}


def describe(elements: Mapping[bytes, bytes]) -> list[str]:
    """The elements in words, sorted."""
    odd = next((key for key, value in elements.items() if (len(key), len(value)) != (KEY.size, VALUE.size)), None)
    if odd is not None:
        raise PodnetError(f"a policy's BPF map holds a key of {len(odd)} bytes, so it is none of ours; remove its pin")
    told = [(*KEY.unpack(key), VALUE.unpack(value)[0]) for key, value in elements.items()]
    return sorted(_line(*each) for each in told)


def number_of(identity: str) -> int:
    """What the programs know a guard by."""
    return (_digest(identity) | GUARD) & ~IPV6


def peers_of(identity: str, family: int) -> int:
    """The space with the peers of a guard."""
    return number_of(identity) + (family == 6)


def ports_number(ports: Ports) -> int:
    """What the programs know a set of ports by."""
    return EVERY if ports is None else _digest(repr([tuple(port) for port in ports])) & ~GUARD


def ports_elements(ports: Ports) -> Elements:
    """The elements of a set of ports; none for all ports."""
    digest = ports_number(ports)
    return {
        KEY.pack(SPACE_BITS + 16 + length, digest, struct.pack(">BxH12x", PROTOCOLS[port.protocol], first)): VALUE.pack(
            EVERY
        )
        for port in ports or ()
        for first, length in _of_port(port)
    }


def _add_guard(found: Elements, guard: Guard) -> None:
    """Add what a guard allows."""
    sets: dict[Ports, int] = {}
    for family in _BITS:
        for prefix, ports in _classes(guard, family):
            if ports not in sets:
                sets[ports] = _add_ports(found, ports)
            _put(found, peers_of(guard.identity, family), family, prefix, sets[ports])


def _classes(guard: Guard, family: int) -> Iterator[tuple[Prefix, Ports]]:
    """Each prefix of any allowance, and the ports of all allowances that cover it.

    The longest prefix with an address in it is the last of those with it, each of which covers the next; so what is
    allowed to it is what is allowed to the address.
    """
    allowed: dict[Prefix, set[Ports]] = {}
    for allowance in guard.allowances:
        ranges = ((0, (1 << _BITS[family]) - 1),) if allowance.peers is None else allowance.peers.get(family, ())
        # One pod more beside another one is one element more.
        single = ((number, _BITS[family]) for first, last in ranges for number in range(first, last + 1))
        for prefix in single if allowance.pods else aligned(_BITS[family], ranges):
            allowed.setdefault(prefix, set()).add(allowance.ports)
    covering: list[tuple[int, set[Ports]]] = []
    unions: dict[frozenset[Ports], Ports] = {}
    for (first, length), ports in sorted(allowed.items()):
        while covering and covering[-1][0] < first:
            covering.pop()
        held = ports | covering[-1][1] if covering else ports
        covering.append((first + (1 << (_BITS[family] - length)) - 1, held))
        key = frozenset(held)
        if key not in unions:
            unions[key] = union(key)
        yield (first, length), unions[key]


def union(sets: Iterable[Ports]) -> Ports:
    """Sets of ports, one of which is whatever any of them has."""
    known = list(sets)
    if None in known:
        return None
    return tuple(sorted({port for ports in known for port in ports or ()}))


def _add_ports(found: Elements, ports: Ports) -> int:
    """Add a set of ports and give its digest."""
    found.update(ports_elements(ports))
    return ports_number(ports)


def _of_port(port: PortRange) -> Iterator[Prefix]:
    return aligned(_PORT_BITS, [(port.first, port.last)])


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") | DIGEST


def _put(found: Elements, space: int, family: int, prefix: Prefix, value: int) -> None:
    first, length = prefix
    found[KEY.pack(SPACE_BITS + length, space, first.to_bytes(_SIZES[family], "big"))] = VALUE.pack(value)


def _line(length: int, space: int, data: bytes, value: int) -> str:
    length -= SPACE_BITS
    if space < DIGEST:
        sort, index = struct.unpack("=II", space.to_bytes(8, sys.byteorder))
        if sort == _KNOWN:
            return f"interface {index} sends from its own addresses only"
        if sort in _ORIGINS.values():
            return f"interface {index} sends from {_text(6 if sort == _ORIGINS[6] else 4, data)}/{length}"
        guard = "nothing" if value == OPEN else f"guard {value:016x}"
        return f"pod {_text(6 if space & 1 else 4, data)} {'receives' if space & 2 else 'sends'} by {guard}"
    if space & GUARD:
        ports = "everything" if value == EVERY else f"ports {value:016x}"
        prefix = f"{_text(6 if space & IPV6 else 4, data)}/{length}"
        return f"guard {space & ~IPV6:016x} allows {prefix} {ports}"
    first = int.from_bytes(data[2:4], "big")
    last = first + (1 << max(2 * _PORT_BITS - length, 0)) - 1
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"ports {space:016x} have {NAMES.get(data[0], data[0])} {numbers}"


def _text(family: int, data: bytes) -> str:
    return str(ipaddress.ip_address(data[: _SIZES[family]]))
