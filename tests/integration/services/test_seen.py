# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run has seen the next one need not read, unless anybody has done anything meanwhile."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_objects, nft_reading, nft_seen
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_changing import MANY
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import REPLACE
from tests.conformance import service_cases as scene
from tests.integration.services.ground import netns
from tests.integration.services.offered import PODS, endpoints, service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.services.conftest import Declarer

pytestmark = pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
MAPS = {f"service-{name}{family}" for name in ("frontends", "backends-frontends") for family in (4, 6)}


@pytest.fixture(autouse=True)
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of this test's own: other tests run on this machine."""
    monkeypatch.setattr(nft_seen, "NOTE", tmp_path / "run" / "nft-seen.json")
    return nft_seen.NOTE


def wanted(declarer: Declarer, services: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """The objects that services come to, as a run would have them."""
    return dict(declarer.declare(services, endpoints=endpoints(*PODS), check=True).after["nftables"])


def known(expected: dict[tuple[str, str], Any]) -> set[str]:
    """The names of what a new run would not read."""
    with namespace.inside(netns("a")), open_netfilter() as nl:
        found = nft_seen.known(nl.namespace(), nf_tables.generation(nl), expected)
    return {name for _sort, name in found}


def edit(line: str) -> None:
    with namespace.inside(netns("a")):
        subprocess.run(["nft", line], check=True, timeout=60)


def test_a_new_run_reads_what_differs_and_all_after_anybodys_change(declarer: Declarer, note: Path) -> None:
    many = [service(number) for number in (1, 2, 3)]
    declarer.declare(many, endpoints=endpoints(*PODS))
    desired = wanted(declarer, many)
    assert known(desired) >= MAPS
    assert note.stat().st_mode & 0o777 == 0o600
    # Another service: what is said of it is read, and changed, and noted down again.
    nft_reading.forget()
    other = [*many[:2], service(3, sessionAffinity="ClientIP"), service(4)]
    changed = declarer.declare(other, endpoints=endpoints(*PODS))
    assert not known(desired) & MAPS
    desired = wanted(declarer, other)
    assert known(desired) >= MAPS
    with namespace.inside(netns("a")):
        assert changed.after["nftables"].items() <= nft_objects.observe()[0].items()
    # Whatever else happens in the namespace, nothing is taken for granted.
    edit("add table ip somebody")
    assert not known(desired)
    nft_reading.forget()
    assert not declarer.declare(other, endpoints=endpoints(*PODS)).changed
    edit("delete table ip somebody")
    declarer.declare([])
    assert not note.exists()


def test_thousands_come_change_and_go(declarer: Declarer) -> None:
    # From where on all is looked up anew, and hash tables grow while that is done.
    many = [
        {
            "metadata": {"name": f"many{number}"},
            "spec": {
                "clusterIP": f"10.96.{32 + number // 250}.{1 + number % 250}",
                "selector": {"app": "web"},
                "ports": [{"port": scene.PORT, "targetPort": scene.TARGET}],
            },
        }
        for number in range(MANY + 1000)
    ]
    pods = endpoints(*PODS)
    for before in ([], many[:1]):  # made with all their elements, and filled when they stand
        declarer.declare(before)
        assert declarer.declare(many, endpoints=pods).changed
        with namespace.inside(netns("a")):
            objects = nft_objects.observe()[0]
        assert len(objects["map", "service-frontends4"].elements) == len(many)
        assert len(objects["map", "service-backends-frontends4"].elements) == len(PODS) * len(many)
        nft_reading.forget()
        assert not declarer.declare(many, endpoints=pods).changed
    nft_reading.forget()
    fewer = declarer.declare(many[:-1], endpoints=pods)
    lost = [operation.before.elements - operation.after.elements for operation in fewer.operations]
    assert sorted(map(len, lost)) == [1, 1, len(PODS)]
    assert declarer.declare(many[:1], endpoints=pods).changed
    with namespace.inside(netns("a")):
        assert len(nft_objects.observe()[0]["map", "service-frontends4"].elements) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"at": null}', '{"at": [], "seen": 3}', "\0"])
def test_a_note_that_nobody_can_read_is_none(declarer: Declarer, note: Path, damage: str) -> None:
    declarer.declare([service()], endpoints=endpoints(*PODS))
    desired = wanted(declarer, [service()])
    assert known(desired) >= MAPS
    note.write_text(damage, encoding="utf-8")
    assert not known(desired)
    nft_reading.forget()
    assert not declarer.declare([service()], endpoints=endpoints(*PODS)).changed


def test_a_note_of_another_start_or_namespace_is_none(declarer: Declarer, note: Path) -> None:
    declarer.declare([service()], endpoints=endpoints(*PODS))
    desired = wanted(declarer, [service()])
    written: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    for place, other in enumerate(("00000000-0000-4000-8000-000000000000", 1, 1)):
        at = [other if position == place else value for position, value in enumerate(written["at"])]
        note.write_text(json.dumps({**written, "at": at}), encoding="utf-8")
        assert not known(desired)
    # Of the same one, but of other contents: what is wanted otherwise is read.
    note.write_text(json.dumps({**written, "seen": dict.fromkeys(written["seen"], "0")}), encoding="utf-8")
    assert not known(desired)


def test_a_run_that_was_killed_after_its_change_leaves_nothing_that_misleads(declarer: Declarer, note: Path) -> None:
    declarer.declare([service()], endpoints=endpoints(*PODS))
    before = note.read_text(encoding="utf-8")
    declarer.declare([service(), service(2)], endpoints=endpoints(*PODS))
    # It had changed the kernel, and had not come to its note.
    note.write_text(before, encoding="utf-8")
    edit(f"delete element inet podnet service-frontends4 {{ 10.96.7.2 . tcp . {scene.PORT} }}")
    nft_reading.forget()
    repaired = declarer.declare([service(), service(2)], endpoints=endpoints(*PODS))
    assert [operation.verb for operation in repaired.operations] == [REPLACE]
