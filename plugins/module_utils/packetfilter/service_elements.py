# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements of the sets and maps of services, as the kernel has them (facilities/nft_packed.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import (
    Elements,
    head,
    number,
    protocol,
    value,
    verdict,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Backend, Frontend

SIZES = {4: 4, 6: 16}
"""Bytes of an address."""
_PROTOCOLS = {name: protocol(name) for name in ("tcp", "udp", "sctp")}


def key_of(frontend: Frontend) -> bytes:
    """A frontend as a key: its address, when it has one, its protocol and its port."""
    key = _PROTOCOLS[frontend.protocol] + frontend.port.to_bytes(2, "big") + b"\0\0"
    if frontend.address is None:
        return key
    return frontend.address.to_bytes(SIZES[frontend.family], "big") + key


def addresses(family: int, of: Iterable[int]) -> Elements:
    """Addresses as elements of a set of these alone, which are texts."""
    packed = [each.to_bytes(SIZES[family], "big") for each in of]
    return Elements(map(IP_TEXTS.__getitem__, packed), packed)


def members(keys: Iterable[bytes]) -> Elements:
    """Keys as elements of a set."""
    found = [head(len(key)) + key for key in keys]
    return Elements(found, found)


def leads(said: Mapping[str, Sequence[bytes]]) -> Elements:
    """Keys as elements of a verdict map, by what it says of them."""
    found: list[bytes] = []
    for what, keys in sorted(said.items()):
        behind = verdict(what)
        for size in sorted({len(key) for key in keys}):
            before = head(size, len(behind))
            found += [before + key + behind for key in keys if len(key) == size]
    return Elements(found, found)


class Places:
    """Gathers the backends of a family by frontend and number."""

    def __init__(self, family: int) -> None:
        self._size = SIZES[family]
        self._behind: dict[Backend, bytes] = {}
        self._numbers: list[bytes] = []
        self._found: list[bytes] = []

    def add(self, key: bytes, backends: Sequence[Backend]) -> None:
        """The backends of a frontend."""
        self._numbers += map(number, range(len(self._numbers), len(backends)))
        known = self._behind
        for place, backend in zip(self._numbers, backends):
            behind = known.get(backend)
            if behind is None:
                packed = backend.address.to_bytes(self._size, "big") + backend.port.to_bytes(2, "big") + b"\0\0"
                behind = known[backend] = value(packed)
            self._found.append(head(len(key) + 4, len(behind)) + key + place + behind)

    def elements(self) -> Elements:
        """All of them."""
        return Elements(self._found, self._found)
