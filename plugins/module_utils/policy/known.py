# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods the policies of a node know by its declaration, looked up without reading that: names, nodes, addresses.

It is written with the table that attach/table.py goes by. A declaration of 10,000 pods takes 20 ms to read.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, write_bytes_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PATH = RUN / "policy.known"
_NUMBERS = "I"
_HEADER = 128
"""Bytes in which the numbers are announced."""


class Known:
    """The names and addresses of a declaration's pods.

    :param numbers: sorted, those of all names and addresses
    """

    def __init__(self, numbers: array[int]) -> None:
        self._numbers = numbers

    def has(self, namespace: str, name: str, addresses: Iterable[str]) -> bool:
        """Whether a pod may have this name, or one of these addresses. Now and then one has another of that number."""
        return any(map(self._holds, _of_pod(namespace, name, addresses)))

    def _holds(self, number: int) -> bool:
        position = bisect_left(self._numbers, number)
        return position < len(self._numbers) and self._numbers[position] == number


def read() -> Known | None:
    """None where nothing is there, or of another declaration."""
    try:
        with PATH.open("rb", buffering=0) as file:
            stamp, _space, count = file.read(_HEADER).decode().strip().rpartition(" ")
            if stamp != _stamp():
                return None
            numbers = array(_NUMBERS)
            numbers.frombytes(file.read(int(count) * numbers.itemsize))
    except (OSError, ValueError):
        return None
    return Known(numbers)


def of_nodes(nodes: Collection[str]) -> set[tuple[str, str]]:
    """The pods of some nodes by namespace and name, where ``read`` has found something."""
    with PATH.open("rb") as file:
        count = int(file.read(_HEADER).split()[-1])
        file.seek(count * array(_NUMBERS).itemsize, 1)
        lines = (line.split() for line in file.read().decode().splitlines())
        return {(namespace, name) for namespace, name, *node in lines if " ".join(node) in nodes}


def write(endpoints: Iterable[Mapping[str, Any]]) -> None:
    """Tell of a declaration's pods."""
    lines, numbers = [], array(_NUMBERS)
    for each in endpoints:
        lines.append(f"{each['namespace']} {each['name']} {each['node']}\n")
        numbers.extend(_of_pod(each["namespace"], each["name"], each["addresses"]))
    header = f"{_stamp()} {len(numbers)}".encode().ljust(_HEADER)
    content = (header, array(_NUMBERS, sorted(numbers)).tobytes(), "".join(lines).encode())
    write_bytes_atomically(PATH, content, 0o600, lasting=False)


def _of_pod(namespace: str, name: str, addresses: Iterable[str]) -> list[int]:
    packed = (each for each in map(packed_ip, addresses) if each is not None)
    return [crc32(f"{namespace}/{name}".encode()), *map(crc32, packed)]


def _stamp() -> str:
    return " ".join(map(str, record.declaration_stamp()))
