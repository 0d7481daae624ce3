# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs of many elements is found wherever it is, and where nothing does nothing is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns, difference

KEYS = st.integers(0, 2999).map(lambda number: number.to_bytes(4, "big"))
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(min_size=2, max_size=2), max_size=5)
Changes = dict[bytes, bytes | None]
STANDING = {number.to_bytes(4, "big"): b"ab" for number in range(0, 3000, 2)}


def columns(elements: dict[bytes, bytes]) -> Columns:
    return Columns.of(elements, 4, 2)


@given(CHANGES, CHANGES, st.booleans())
def test_one_becomes_the_other_by_the_difference(one: Changes, other: Changes, turned: bool) -> None:
    tables = []
    for changes in (one, other):
        changed = {**STANDING, **changes}
        tables.append({key: value for key, value in sorted(changed.items()) if value is not None})
    if turned:
        tables[1] = dict(reversed(tables[1].items()))
    before, after = map(columns, tables)
    puts, removals = difference(before, after)
    assert {key: value for key, value in {**tables[0], **puts}.items() if key not in removals} == tables[1]
    assert all(tables[0].get(key) != value for key, value in puts.items())
    assert set(removals) == tables[0].keys() - tables[1].keys()
    assert (before == after) == (tables[0] == tables[1])
    assert dict(after) == tables[1]


@given(KEYS, CHANGES)
def test_one_key_is_found_as_among_all(key: bytes, changes: Changes) -> None:
    table = {each: value for each, value in {**STANDING, **changes}.items() if value is not None}
    found = columns(table)
    assert found.get(key) == table.get(key)
    # The bytes of a key are also where no key begins.
    assert found.get(key[2:] + key[:2]) == table.get(key[2:] + key[:2])
    assert len(found) == len(table)
    assert found.bytes_at(3) == bytes(each[3] for each in table)
    assert columns(table) + columns({b"\xff" * 4: b"cd"}) == {**table, b"\xff" * 4: b"cd"}
