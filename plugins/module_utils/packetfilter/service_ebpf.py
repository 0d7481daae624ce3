# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled services as elements of the maps that ebpf/service.c asks, for what pods of a node connect to.

A frontend leads to a list of backends, which is called by a digest of it: frontends with the same backends share it,
and it never changes. So a service has its old backends or its new ones at any time, and a change is one of the elements
that differ. What the programs leave to nftables is not in the maps.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import starmap
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import NAMES, PROTOCOLS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import aligned
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import EVERYBODY, FORWARD

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
        Backend,
        Frontend,
        Handling,
        Table,
    )

Elements = Mapping[str, Columns]
"""By map, in the order in which what a frontend leads to is there before it."""

SLOTS, MEMBERS, INSIDE, FRONTENDS = MAPS = ("slots", "members", "inside", "frontends")

# The structs of ebpf/frontends.h.
FRONTEND_KEY = struct.Struct(">16sHBB")
FRONTEND = struct.Struct("=8sII")
SLOT_KEY = struct.Struct("=8sII")
BACKEND = struct.Struct(">16sH2x")
SHARED = struct.Struct("=H")
MEMBER_KEY = struct.Struct("=8s20s4x")
INSIDE_KEY = struct.Struct("=II16s")
PRESENT = struct.pack("=I", 1)
NOTHING: Elements = {
    name: Columns(b"", b"", key.size, size)
    for name, key, size in zip(
        MAPS, (SLOT_KEY, MEMBER_KEY, INSIDE_KEY, FRONTEND_KEY), (BACKEND.size, 4, 4, FRONTEND.size)
    )
}

_BITS = {4: 32, 6: 128}


def render(table: Table, blocks: Mapping[int, Ranges], bypass: bool = False) -> Elements:
    """The elements, by map; empty maps when there is no service.

    :param blocks: the addresses of this node's pods
    :param bypass: whether flows are to go past the host, if nothing but their frontend leads to their backend
    """
    several = _shared(table) if bypass else frozenset()
    found: dict[str, dict[bytes, bytes]] = {name: {} for name in MAPS}
    lists: dict[tuple[int, tuple[Backend, ...], tuple[bool, ...]], bytes] = {}
    looked_for: set[bytes] = set()
    for frontend, handling in table.frontends.items():
        if not translates(frontend, handling):
            continue
        backends = handling.inside.backends
        shared = tuple((frontend.family, frontend.protocol, each) in several for each in backends) if several else ()
        name = lists.get((frontend.family, backends, shared))
        if name is None:
            name = _add_list(found, frontend.family, backends, shared)
            lists[frontend.family, backends, shared] = name
        # A datagram, and a client that comes back, stay where they were as long as that is one of the backends.
        if is_looked_for(frontend, handling) and name not in looked_for:
            looked_for.add(name)
            found[MEMBERS].update(
                (MEMBER_KEY.pack(name, _backend(frontend.family, backend)), PRESENT) for backend in backends
            )
        found[FRONTENDS][_frontend_key(frontend)] = FRONTEND.pack(name, len(backends), handling.affinity)
    if found[FRONTENDS]:
        for family, bits in _BITS.items():
            for first, length in aligned(bits, blocks.get(family, ())):
                found[INSIDE][INSIDE_KEY.pack(32 + length, family == 6, packed(family, first))] = PRESENT
    return {name: Columns.of(found[name], empty.key_size, empty.value_size) for name, empty in NOTHING.items()}


def translates(frontend: Frontend, handling: Handling) -> bool:
    """Whether the programs send pods of the node on."""
    return (
        frontend.address is not None
        and handling.inside.verdict == FORWARD
        and handling.masquerade != EVERYBODY
        and handling.sources is None
    )


def is_looked_for(frontend: Frontend, handling: Handling) -> bool:
    """Whether the programs look for a backend in the list that a frontend leads to."""
    return bool(handling.affinity) or frontend.protocol == "udp"


def list_of(elements: Elements, frontend: Frontend) -> bytes:
    """The name of the list that a frontend leads to."""
    name, _count, _affinity = FRONTEND.unpack(elements[FRONTENDS][_frontend_key(frontend)])
    return bytes(name)


def describe(elements: Mapping[str, Mapping[bytes, bytes]]) -> list[str]:
    """What the elements say, a line each, sorted."""
    return sorted(
        [
            *map(_inside_text, elements[INSIDE]),
            *starmap(_frontend_text, elements[FRONTENDS].items()),
            *starmap(_slot_text, elements[SLOTS].items()),
            *map(_member_text, elements[MEMBERS]),
        ]
    )


# What is asked for before a change and after it is mostly the same.
_MANY = 1 << 18


def _inside_text(key: bytes) -> str:
    length, ipv6, address = INSIDE_KEY.unpack(key)
    return f"pods in {_text(ipv6, address)}/{length - 32}"


@lru_cache(maxsize=_MANY)
def _frontend_text(key: bytes, value: bytes) -> str:
    address, port, protocol, ipv6 = FRONTEND_KEY.unpack(key)
    name, count, affinity = FRONTEND.unpack(value)
    sticky = f", for {affinity} seconds" if affinity else ""
    what = NAMES.get(protocol, protocol)
    return f"{_text(ipv6, address)} {what} {port} to list {name.hex()} of {count}{sticky}"


@lru_cache(maxsize=_MANY)
def _slot_text(key: bytes, value: bytes) -> str:
    name, place, _unused = SLOT_KEY.unpack(key)
    (shared,) = SHARED.unpack_from(value, BACKEND.size - SHARED.size)
    return f"list {name.hex()} {place} is {_end(value)}{', as of others' * bool(shared)}"


@lru_cache(maxsize=_MANY)
def _member_text(key: bytes) -> str:
    name, backend = MEMBER_KEY.unpack(key)
    return f"list {name.hex()} has {_end(backend)}"


def _shared(table: Table) -> frozenset[tuple[int, str, Backend]]:
    """Backends to which several frontends lead under the client's own address. The kernel alone could tell two flows
    there from one port apart, and can for those only that it sees.
    """
    known = Counter(
        (frontend.family, frontend.protocol, backend)
        for frontend, handling in table.frontends.items()
        if handling.masquerade != EVERYBODY
        for backend in frozenset(handling.inside.backends)
    )
    return frozenset(each for each, count in known.items() if count > 1)


def _add_list(
    found: dict[str, dict[bytes, bytes]], family: int, backends: tuple[Backend, ...], shared: tuple[bool, ...]
) -> bytes:
    ends = [_backend(family, backend) for backend in backends]
    if any(shared):
        ends = [end[: BACKEND.size - SHARED.size] + SHARED.pack(flag) for end, flag in zip(ends, shared)]
    name = hashlib.sha256(bytes([family]) + b"".join(ends)).digest()[:8]
    found[SLOTS].update((SLOT_KEY.pack(name, place, 0), backend) for place, backend in enumerate(ends))
    return name


def _frontend_key(frontend: Frontend) -> bytes:
    address = packed(frontend.family, frontend.address or 0)
    return FRONTEND_KEY.pack(address, frontend.port, PROTOCOLS[frontend.protocol], frontend.family == 6)


def _backend(family: int, backend: Backend) -> bytes:
    return BACKEND.pack(packed(family, backend.address), backend.port)


def packed(family: int, address: int) -> bytes:
    """As the programs have it: an IPv4 address is in the first four of sixteen bytes."""
    return address.to_bytes(4, "big") + bytes(12) if family == 4 else address.to_bytes(16, "big")


def _end(backend: bytes) -> str:
    address, port = BACKEND.unpack(backend)
    ipv6 = any(address[4:])
    return f"[{_text(ipv6, address)}]:{port}" if ipv6 else f"{_text(ipv6, address)}:{port}"


def _text(ipv6: int, address: bytes) -> str:
    return IP_TEXTS[address if ipv6 else address[:4]]
