# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the services of a node come to, looked up one by one without reading their declaration, of three million bytes.

/run/podnet/
    service.rows      what each service comes to by its declaration
    service.known     how often each thing is there that several services may have, or only one may

It is there only while the packet filter is as the declaration, and what was told since, says: who changes that takes it
away first, so that after a kill in between nobody goes by it.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, write_bytes_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import passes_by
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import PROTOCOLS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import is_looked_for, translates
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    EVERYBODY,
    FORWARD,
    Answer,
    Backend,
    Frontend,
    Handling,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges

PATH = RUN / "service.known"
ROWS = RUN / "service.rows"
VERSION = 1

CLUSTER, CLAIM, HOST, LIST, MEMBERS, END = range(6)
"""What is counted: a cluster address, a frontend; a backend's address; of eBPF a list of backends, one that is looked
for, and a backend under the client's own address."""
AT, DIFFERS, INSIDE, OUTSIDE, STICKY, REMEMBERED, TRANSLATED = range(7)
"""What makes other objects than elements necessary."""

_WIDE, _OFFSET = "q", "I"
_BUCKETS = 1024

Features = Counter[int]


class Known(NamedTuple):
    """The numbers of what all services have, sorted, each as often as they have it, and of their features.

    ``about`` is what the declaration says of this node.
    """

    about: dict[str, Any]
    numbers: array[int]
    features: Features

    def count(self, number: int) -> int:
        """How often something is there."""
        return bisect_right(self.numbers, number) - bisect_left(self.numbers, number)

    def exchanged(self, before: Table, after: Table) -> Known:
        """The same with one service's table in the place of another."""
        numbers, bypass = self.numbers[:], passes_by(self.about)
        for number in numbers_of(before, bypass):
            del numbers[bisect_left(numbers, number)]
        for number in numbers_of(after, bypass):
            insort(numbers, number)
        features = self.features - features_of(before) + features_of(after)
        return Known(self.about, numbers, features)


def of(about: Mapping[str, Any], table: Table) -> Known:
    """Of what all services come to."""
    return Known(dict(about), array(_WIDE, sorted(numbers_of(table, passes_by(about)))), features_of(table))


def numbers_of(table: Table, bypass: bool) -> list[int]:
    """The numbers of what a table has."""
    found = [hash((CLUSTER, *address)) for address in table.cluster]
    for frontend, handling in table.frontends.items():
        family, inside, outside = frontend.family, handling.inside.backends, handling.outside.backends
        found.append(number_of_frontend(frontend))
        hosts = {backend.address for backend in (inside if inside is outside else inside + outside)}
        found += [hash((HOST, family, host)) for host in hosts]
        if translates(frontend, handling):
            found.append(hash((LIST, family, inside)))
            if is_looked_for(frontend, handling):
                found.append(hash((MEMBERS, family, inside)))
        if bypass and handling.masquerade != EVERYBODY:
            found += [hash((END, family, PROTOCOLS[frontend.protocol], backend)) for backend in set(inside)]
    return found


def number_of_frontend(frontend: Frontend) -> int:
    """Which no two services have."""
    family, address, protocol, port = frontend
    return hash((CLAIM, family, -1 if address is None else address, PROTOCOLS[protocol], port))


def features_of(table: Table) -> Features:
    """Of which objects there is a need, by numbers."""
    shapes = Counter(map(_shape, table.frontends.items()))
    found: Features = Counter()
    for shape, count in shapes.items():
        for number in map(hash, _features(*shape)):
            found[number] += count
    return found


def _shape(of: tuple[Frontend, Handling]) -> tuple[int, int, int, int, int, int, int]:
    frontend, handling = of
    inside, outside = (len(each.backends) if each.verdict == FORWARD else 0 for each in handling[1:3])
    differs = handling.inside is not handling.outside and handling.inside != handling.outside
    where = int(frontend.address is None)
    return frontend.family, where, differs, inside, outside, handling.affinity, translates(*of)


def _features(
    family: int, where: int, differs: int, inside: int, outside: int, affinity: int, translated: int
) -> Iterator[tuple[int, ...]]:
    yield AT, family, where
    if differs:
        yield DIFFERS, family, where
        if inside:
            yield INSIDE, family, where, inside, bool(affinity)
    if outside:
        yield OUTSIDE, family, where, outside, bool(affinity)
    if affinity:
        yield STICKY, family
        if inside or outside:
            yield REMEMBERED, family, where, affinity
    if translated:
        yield (TRANSLATED,)


def write(about: Mapping[str, Any], table: Table, declarations: Declarations) -> None:
    """Note down what all services come to."""
    rows: dict[str, list[Any]] = defaultdict(list)
    for frontend, handling in table.frontends.items():
        rows[handling.service.partition(":")[0]].append(_row(frontend, handling, table))
    buckets: list[dict[str, list[Any]]] = [{} for _bucket in range(_BUCKETS)]
    for name, row in rows.items():
        buckets[_bucket_of(name)][name] = row
    encode = json.JSONEncoder(separators=(",", ":")).encode
    texts = [encode(bucket).encode() if bucket else b"{}" for bucket in buckets]
    offsets = array(_OFFSET, [0])
    for text in texts:
        offsets.append(offsets[-1] + len(text))
    write_bytes_atomically(ROWS, (offsets.tobytes(), *texts), 0o600, lasting=False)
    save(of(about, table), declarations)


def save(known: Known, declarations: Declarations) -> None:
    """Note down what is there by now, beside the same rows."""
    header = [_stamp(declarations), known.about, len(known.numbers), list(known.features.items())]
    content = (json.dumps(header).encode(), b"\n", known.numbers.tobytes())
    write_bytes_atomically(PATH, content, 0o600, lasting=False)


def read(declarations: Declarations) -> Known | None:
    """None where nothing is there, or of another declaration."""
    try:
        with PATH.open("rb") as file:
            stamp, about, count, features = json.loads(file.readline())
            if stamp != _stamp(declarations):
                return None
            numbers = array(_WIDE)
            numbers.frombytes(file.read(count * numbers.itemsize))
            return Known(about, numbers, Counter(dict(features))) if len(numbers) == count else None
    except (OSError, *MALFORMED):
        return None


def put_aside() -> None:
    """Have nobody go by it any more."""
    with suppress(FileNotFoundError):
        PATH.unlink()


def forget() -> None:
    """Nobody is to be told of single services here."""
    put_aside()
    with suppress(FileNotFoundError):
        ROWS.unlink()


def declared(name: str) -> Table:
    """What a service comes to by its declaration, where ``read`` has found something; nothing where there is none.

    :raises OSError, ValueError: somebody has edited what tells it
    """
    bucket = _bucket_of(name)
    with ROWS.open("rb") as file:
        offsets = array(_OFFSET)
        offsets.frombytes(file.read((_BUCKETS + 1) * offsets.itemsize))
        file.seek(offsets[bucket], 1)
        rows = json.loads(file.read(offsets[bucket + 1] - offsets[bucket])).get(name, ())
    frontends: dict[Frontend, Handling] = {}
    cluster = set()
    for family, address, protocol, port, full, inside, outside, masquerade, affinity, of_cluster, limited in rows:
        answers = [
            Answer(verdict, tuple(Backend(*each) for each in backends)) for verdict, backends in (inside, outside)
        ]
        # Whom they let in is not told.
        sources: Ranges | None = () if limited else None
        frontends[Frontend(family, address, protocol, port)] = Handling(
            full, answers[0], answers[answers[0] != answers[1]], masquerade, affinity, sources
        )
        if of_cluster:
            cluster.add((family, address))
    return Table(frontends, frozenset(cluster))


def _row(frontend: Frontend, handling: Handling, table: Table) -> list[Any]:
    """As JSON has it."""
    of_cluster = (frontend.family, frontend.address) in table.cluster
    return [*frontend, *handling[:-1], of_cluster, handling.sources is not None]


def _bucket_of(name: str) -> int:
    return crc32(name.encode()) % _BUCKETS


def _stamp(declarations: Declarations) -> list[Any]:
    """What tells from others: the declaration, the rows, and how this Python makes numbers."""
    return [VERSION, sys.hexversion, *map(record.stamp_of, (declarations.path("service"), ROWS))]
