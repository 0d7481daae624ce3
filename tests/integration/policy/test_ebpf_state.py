# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the eBPF backend leaves on a node: changed without a gap, mended, taken back, beside what others have there."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, numbers, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.bpf import attached
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_sealed, ebpf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf import EBPF
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    BPFFS,
    FOLDER,
    LINKS,
    MAKING,
    OURS,
    TABLE,
    is_bpffs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf
from tests.integration.evidence.programs import attached_by_tcx, pin_map
from tests.integration.policy.conftest import apply, isolate
from tests.integration.policy.killed import status_of
from tests.integration.policy.node_thread import NodeThread
from tests.integration.policy.streams import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.policy.conftest import Ground

DGRAM = socket.SOCK_DGRAM
REPLACEMENTS = 1000


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_a_thousand_replacements_lose_nothing_allowed_and_let_nothing_denied_through(
    ground: Ground, family: int
) -> None:
    first = ground.built.nodes[0]
    # Pod 2 may all the time and pod 4 never; who else may changes, and the guard with that.
    parameters = [ground.parameters(first, isolate(0, [2, other])) for other in (6, 8)]
    ground.on(first, lambda: apply(parameters[1], ground.folder / first))

    def replace() -> None:
        # What a run does between its two looks at the node.
        made = []
        for each in parameters:
            (operation,) = apply(each, ground.folder / first).operations
            made.append(operation)
        with Host() as host:
            for nth in range(REPLACEMENTS):
                EBPF.apply([made[nth % 2]], host)

    with streams(ground, family) as (sent, heard):
        ground.on(first, replace)
    assert sent[1] > REPLACEMENTS
    assert heard == [sent[0], 0]


def test_other_programs_and_maps_lose_nothing_allowed_and_let_nothing_denied_through(ground: Ground) -> None:
    ground.declare(isolate(0, [2]))
    with streams(ground) as (sent, heard):
        for nth in range(6):
            done = ground.declare(isolate(0, [2]), flows=2048 << nth % 2)[0]
            assert {each.verb for each in done.operations} == {"create", "replace", "delete"}
    assert sent[1] > 100
    assert heard == [sent[0], 0]


@pytest.fixture
def small() -> Iterator[NodeThread]:
    """A node with a bridge of one port."""
    name = f"c{os.getpid()}-small"
    words = ("link add podnet0 type bridge", "link add pod0 type veth peer name other", "link set pod0 master podnet0")
    _ip("netns", "add", name)
    for each in words:
        _ip("-n", name, *each.split())
    thread = NodeThread(name)
    yield thread
    thread.close()
    _ip("netns", "delete", name)


# Every ninth of the calls, from another one on.
@pytest.mark.parametrize(("former", "calls"), [(None, 1), ({"flows": 2048}, 4)])
def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(
    small: NodeThread, ground: Ground, former: dict[str, Any] | None, calls: int
) -> None:
    first, folder = ground.built.nodes[0], ground.folder / "small"
    parameters = ground.parameters(first, isolate(0, [2]))

    def attempt() -> int:
        apply(None if former is None else ground.parameters(first, isolate(0, [4]), **former), folder)
        status = status_of(calls, lambda: apply(parameters, folder))
        apply(parameters, folder)
        assert not apply(parameters, folder).changed
        assert not (FOLDER / MAKING).exists()
        assert len(list(FOLDER.iterdir())) == 2, "a datapath and the links"
        return status

    done = 0
    while small.run(attempt) == signal.SIGKILL:
        calls += 9
        done += 1
    assert small.run(attempt) == 0
    assert done > 4


def _detach(folder: Path) -> None:
    pin = min((FOLDER / LINKS).iterdir())
    with syscall.pinned(str(pin)) as link:
        syscall.call(numbers.LINK_DETACH, link.descriptor.to_bytes(4, "little"), "detach")


def _unpin(folder: Path) -> None:
    min((FOLDER / LINKS).iterdir()).unlink()


def _lose_an_element(folder: Path) -> None:
    with syscall.pinned(str(folder / TABLE)) as outer:
        number = int.from_bytes(maps.get(outer, bytes(4), 4) or b"", "little")
    with maps.by_id(number) as inner:
        key = min(maps.elements(inner))
        # No process can, but by the program that changes them.
        with pytest.raises(BpfError) as refused:
            maps.delete(inner, key)
        assert refused.value.errno == errno.EPERM
    ebpf_sealed.write(folder, ebpf_sealed.removals([key]))


def _exchange_the_table(folder: Path) -> None:
    with syscall.pinned(str(folder / TABLE)) as outer, ebpf_tables.trie(ebpf.NOTHING) as inner:
        maps.put(outer, bytes(4), inner.descriptor.to_bytes(4, "little"))


def _lose_the_writer(folder: Path) -> None:
    (folder / ebpf_sealed.WRITES).unlink()


def _lose_the_count(folder: Path) -> None:
    (folder / ebpf_sealed.CHANGES).unlink()


def _write_something_into_the_note(_folder: Path) -> None:
    note = RUN / "ebpf-policy-seen"
    assert note.exists()
    note.write_bytes(b"[]\n")
    _lose_an_element(_folder)


def _lose_a_program(folder: Path) -> None:
    (folder / "sends").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _detach,
        _unpin,
        _lose_an_element,
        _lose_a_program,
        _exchange_the_table,
        _lose_the_writer,
        _lose_the_count,
        _write_something_into_the_note,
    ],
)
def test_what_somebody_has_damaged_is_told_and_mended(ground: Ground, damage: Callable[[Path], None]) -> None:
    policy = isolate(0, [2])
    ground.declare(policy)
    first = ground.built.nodes[0]

    def harm() -> None:
        (folder,) = (each for each in FOLDER.iterdir() if each.name != LINKS)
        damage(folder)

    ground.on(first, harm)
    told = ground.declare(policy, check=True)
    assert [result.changed for result in told] == [True, False]
    assert ground.declare(policy)[0].changed
    assert not ground.declare(policy)[0].changed
    assert not _arrives(ground, 4, 0)
    assert _arrives(ground, 2, 0)


def test_nothing_is_left_and_what_others_have_there_stays(ground: Ground) -> None:
    first = ground.built.nodes[0]
    foreign = BPFFS / "foreign"

    def filters() -> str:
        shown = subprocess.run(
            ["tc", "-j", "filter", "show", "dev", "pod0", "ingress"], capture_output=True, text=True, check=True
        )
        return shown.stdout

    def check() -> None:
        pin_map(foreign)
        had = sorted(BPFFS.iterdir())
        subprocess.run(["tc", "qdisc", "add", "dev", "pod0", "clsact"], check=True)
        words = "filter add dev pod0 ingress protocol all prio 7 u32 match u32 0 0 classid 1:1"
        subprocess.run(["tc", *words.split()], check=True)
        before = filters()
        with attached_by_tcx("pod0", "somebodys"):
            programs = _programs("pod0")
            assert [name for _index, name in programs] == ["somebodys"]
            apply(ground.parameters(first, isolate(0, [2])), ground.folder / first)
            assert [name for _index, name in _programs("pod0")] == ["podnet_sends", "somebodys", "podnet_receives"]
            assert filters() == before
            apply(None, ground.folder / first)
            assert _programs("pod0") == programs
            assert filters() == before
        assert not OURS.exists()
        assert sorted(BPFFS.iterdir()) == had
        foreign.unlink()
        subprocess.run(["tc", "qdisc", "del", "dev", "pod0", "clsact"], check=True)

    ground.on(first, check)
    assert _arrives(ground, 4, 0)


def test_interfaces_that_come_get_programs_and_pins_of_those_that_go_are_collected(ground: Ground) -> None:
    first = ground.built.nodes[0]
    parameters = ground.parameters(first, isolate(0, [2]))

    def check() -> None:
        apply(parameters, ground.folder / first)
        pins = sorted((FOLDER / LINKS).iterdir())
        for _turn in range(2):
            _ip("link", "add", "late", "type", "veth", "peer", "name", "late-peer")
            _ip("link", "set", "late", "master", "podnet0")
            done = apply(parameters, ground.folder / first)
            assert [(each.verb, each.after.device) for each in done.operations] == [("create", "late")] * 2
            # Those of the one before have gone with this change.
            assert len(list((FOLDER / LINKS).iterdir())) == len(pins) + 2
            _ip("link", "delete", "late")
            # Pods come and go: that is no difference.
            assert not apply(parameters, ground.folder / first).operations
        assert apply(ground.parameters(first, isolate(1, [2])), ground.folder / first).operations
        assert sorted((FOLDER / LINKS).iterdir()) == pins

    ground.on(first, check)


def test_a_node_without_a_bpffs_is_told_what_to_do(small: NodeThread, ground: Ground) -> None:
    parameters = ground.parameters(ground.built.nodes[0], isolate(0, [2]))

    def attempt() -> None:
        while is_bpffs():
            subprocess.run(["umount", str(BPFFS)], check=True)
        apply(parameters, ground.folder / "small")

    with pytest.raises(Conflict, match="mount it: mount -t bpf bpf /sys/fs/bpf"):
        small.run(attempt)


def test_without_the_bridge_the_operator_is_told_that_nothing_is_enforced(ground: Ground) -> None:
    result = ground.declare(isolate(0, [2]), bridge="podnet7")[0]
    assert [note for note in result.notes if "there is no bridge podnet7" in note]


def test_backends_take_turns(ground: Ground) -> None:
    policy = isolate(0, [2])
    for backend in ("nftables", "ebpf", "nftables"):
        after = ground.declare(policy, backend=backend)[0].after
        # What says where pods' packets may come from has a table of its own.
        tables = {"nftables", "nftables_bridge"} if backend == "nftables" else {backend}
        assert {name for name, objects in after.items() if objects} == tables
        assert _arrives(ground, 2, 0)
        assert not _arrives(ground, 4, 0)


def _arrives(ground: Ground, place: int, to: int) -> bool:
    with ground.socket(place, DGRAM) as sending, ground.socket(to, DGRAM) as hearing:
        sending.sendto(b"word", hearing.getsockname())
        try:
            return hearing.recv(10) == b"word"
        except TimeoutError:
            return False


def _programs(device: str) -> list[tuple[int, str]]:
    with Netlink() as nl:
        return attached([socket.if_nametoindex(device)], nl)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
