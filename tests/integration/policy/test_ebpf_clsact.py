# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies by eBPF at clsact: where the kernel has no tcx, and where podnet-attach has put them."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.bpf import attached
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import FOLDER, OURS
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from tests.conformance import cases, nodes, prober
from tests.integration.policy.conftest import apply, isolate

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Ground


@pytest.fixture(autouse=True)
def _without_tcx(monkeypatch: pytest.MonkeyPatch, ground: Ground) -> None:
    monkeypatch.setattr(programs, "has_tcx", lambda: False)


def test_this_kernel_is_asked_for_tcx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    release = tuple(map(int, subprocess.check_output(["uname", "-r"], text=True).partition("-")[0].split(".")[:2]))
    assert programs.has_tcx() == (release >= (6, 6))


@pytest.mark.parametrize("family", [4, 6])
def test_policies_hold(ground: Ground, family: int) -> None:
    ground.declare(isolate(0, [2, 3], [2]), isolate(1, [0, 2]))
    row = [(netns, str(cases.FIRST[family] + place)) for place, netns in enumerate(ground.built.pods)]
    asking = prober.Prober(family, row)
    allowed = {0: {2, 3}, 1: {2}}
    sends = {0: {2}}
    try:
        cells = {
            (protocol, 80, source, to): source == to
            or (source in allowed.get(to, range(nodes.PODS)) and to in sends.get(source, range(nodes.PODS)))
            for protocol in ("tcp", "udp", "sctp")
            for source in range(4)
            for to in range(4)
        }
        assert asking.reached(cells) == {cell for cell, reaches in cells.items() if reaches}
        ground.declare()
        everything = dict.fromkeys(cells, True)
        assert asking.reached(everything) == everything.keys()
    finally:
        asking.close()


def test_what_is_lost_is_told_and_mended(ground: Ground) -> None:
    first = ground.built.nodes[0]
    parameters = ground.parameters(first, isolate(0, [2]))

    def check() -> None:
        apply(parameters, ground.folder / first)
        assert not apply(parameters, ground.folder / first).changed
        with Netlink() as nl:
            names = [name for _index, name in attached([socket.if_nametoindex("pod0")], nl)]
        assert names == ["podnet_sends", "podnet_receives"]
        assert programs.attached(socket.if_nametoindex("pod0"), programs.TCX_INGRESS) == ()
        _tc("filter", "delete", "dev", "pod0", "egress")
        lost = apply(parameters, ground.folder / first)
        assert [(each.verb, each.after.device, each.after.hook) for each in lost.operations] == [
            ("create", "pod0", "receives")
        ]
        _tc("qdisc", "delete", "dev", "pod0", "clsact")
        assert len(apply(parameters, ground.folder / first).operations) == 2
        # Other programs take the place of those at the hooks.
        other = apply({**parameters, "flows": 2048}, ground.folder / first)
        assert {each.verb for each in other.operations} == {"create", "replace", "delete"}
        assert len(_filters("pod0", "egress")) == 1
        apply(None, ground.folder / first)
        assert not OURS.exists()
        assert _qdiscs("pod0") == []

    ground.on(first, check)


def test_what_others_have_at_the_interface_stays(ground: Ground) -> None:
    first = ground.built.nodes[0]
    parameters = ground.parameters(first, isolate(0, [2]))

    def check() -> None:
        # On one interface clsact is theirs, on another it is ours and they have come to it.
        _tc("qdisc", "add", "dev", "pod0", "clsact")
        apply(parameters, ground.folder / first)
        theirs = "ingress protocol all prio 7 u32 match u32 0 0 classid 1:1"
        _tc("filter", "add", "dev", "pod2", *theirs.split())
        apply({**parameters, "policies": []}, ground.folder / first)
        apply(None, ground.folder / first)
        assert not FOLDER.exists()
        assert _qdiscs("pod0") == ["clsact"]
        assert _filters("pod0", "ingress") == []
        assert _qdiscs("pod2") == ["clsact"]
        assert {each["kind"] for each in _filters("pod2", "ingress")} == {"u32"}
        assert _qdiscs("pod4") == []
        for device in ("pod0", "pod2"):
            _tc("qdisc", "delete", "dev", device, "clsact")

    ground.on(first, check)


def test_what_an_attaching_left_that_was_killed_goes_with_the_last(ground: Ground) -> None:
    first = ground.built.nodes[0]
    parameters = ground.parameters(first, isolate(0, [2]))

    def check() -> None:
        index = socket.if_nametoindex("pod0")
        for devices in (("pod0",), ()):
            apply(parameters, ground.folder / first)
            # Neither of pod0's programs is a filter by now; of one interface the clsact has gone again.
            for device in devices:
                for hook in ("ingress", "egress"):
                    _tc("filter", "delete", "dev", device, hook)
            if not devices:
                _tc("qdisc", "delete", "dev", "pod0", "clsact")
            assert (OURS / "clsact" / str(index)).is_dir()
            apply(None, ground.folder / first)
            assert not OURS.exists()
            assert _qdiscs("pod0") == []

    ground.on(first, check)


def _tc(*words: str) -> str:
    return subprocess.run(["tc", *words], check=True, capture_output=True, text=True).stdout


def _filters(device: str, hook: str) -> list[dict[str, Any]]:
    return [each for each in json.loads(_tc("-j", "filter", "show", "dev", device, hook)) if "options" in each]


def _qdiscs(device: str) -> list[str]:
    return [each["kind"] for each in json.loads(_tc("-j", "qdisc", "show", "dev", device)) if each["kind"] == "clsact"]
