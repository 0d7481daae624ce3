# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked up of single services is what all of them come to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents, known, told
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Table, World, compile_services
from tests.conformance import naive_services as naive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.naive_services import Cluster

ABOUT = {"node": "a", "backend": "ebpf", "programs": False, "bypass": True, "blocks": [], "pods": [], "ranges": []}
NONE = Table({}, frozenset())


def tables(cluster: Cluster) -> tuple[Table, dict[str, Table]]:
    """What a cluster's services come to, together and each alone."""
    pods: list[Any] = [{"namespace": "default", **each} for each in cluster.endpoints]
    world = World([(each["node"], endpoints.read(each)) for each in pods], documents.slices(cluster.slices))
    alone = {}
    for document in cluster.services:
        own = told.world_of(told.alone(document, cluster.slices, pods))
        name = "/".join(documents.key_of(document))
        alone[name] = compile_services(documents.services([document]), own, "a")
    return compile_services(documents.services(cluster.services), world, "a"), alone


@settings(max_examples=60, deadline=None)
@given(naive.clusters())
def test_all_is_the_sum_of_each(cluster: Cluster) -> None:
    everything, alone = tables(cluster)
    for bypass in (False, True):
        numbers = Counter(number for table in alone.values() for number in known.numbers_of(table, bypass))
        assert numbers == Counter(known.numbers_of(everything, bypass))
    assert sum(map(known.features_of, alone.values()), Counter()) == known.features_of(everything)


@settings(max_examples=30, deadline=None)
@given(naive.clusters(), naive.clusters())
def test_one_after_another_leads_to_all(before: Cluster, after: Cluster) -> None:
    (had, each_before), (has, each_after) = tables(before), tables(after)
    found = known.of(ABOUT, had)
    for name in {**each_before, **each_after}:
        found = found.exchanged(each_before.get(name, NONE), each_after.get(name, NONE))
    assert found == known.of(ABOUT, has)


@settings(max_examples=30, deadline=None)
@given(naive.clusters())
def test_each_is_found_as_it_was_noted_down(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> None:
    everything, alone = tables(cluster)
    folder = tmp_path_factory.mktemp("known")
    declarations = Declarations(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "PATH", folder / "known")
        patch.setattr(known, "ROWS", folder / "rows")
        known.write(ABOUT, everything, declarations)
        assert known.read(declarations) == known.of(ABOUT, everything)
        for name, table in alone.items():
            found = known.declared(name)
            assert found.cluster == table.cluster
            assert found.frontends.keys() == table.frontends.keys()
            for frontend, handling in table.frontends.items():
                # Whom they let in is not kept, only that not everybody is.
                limited = None if handling.sources is None else ()
                assert found.frontends[frontend] == handling._replace(sources=limited)
        assert known.declared("default/nobody") == NONE
        (folder / "service.json").write_text("another")
        assert known.read(declarations) is None


def test_what_is_no_index_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "PATH", tmp_path / "known")
    declarations = Declarations(tmp_path)
    for content in (b"", b"\n", b"5\n", b"[1, 2, 3]\n", b"[[], {}, 5, []]\n", b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "known").write_bytes(content)
        assert known.read(declarations) is None
