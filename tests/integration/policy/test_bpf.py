# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps and programs by bpf(2), also where the kernel knows less than this one."""

from __future__ import annotations

import contextlib
import struct

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import elf, maps, numbers, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.columns import Columns
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf_object import OBJECT

UNKNOWN = 9999  # no command of any kernel
SHAPES = {
    "hash": maps.Shape(maps.HASH, 8, 8, 10_000),
    "lru": maps.Shape(maps.LRU_HASH, 8, 8, 20_000),
    "trie": maps.Shape(maps.LPM_TRIE, 8, 8, 10_000, maps.NO_PREALLOC),
}


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("sort", SHAPES)
def test_what_is_put_into_a_map_is_read_back(sort: str, batches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not batches:
        monkeypatch.setattr(numbers, "MAP_LOOKUP_BATCH", UNKNOWN)
        monkeypatch.setattr(numbers, "MAP_UPDATE_BATCH", UNKNOWN)
    wanted = {struct.pack("=II", 32, number): struct.pack("=Q", number) for number in range(9_999)}
    with maps.create("trial", SHAPES[sort]) as made:
        assert maps.elements(made) == {}
        maps.fill(made, Columns.of(wanted, 8, 8))
        assert maps.shape_of(made) == SHAPES[sort]
        assert maps.elements(made) == wanted
        gone = struct.pack("=II", 32, 7)
        maps.delete(made, gone)
        assert maps.get(made, gone, 8) is None
        assert len(maps.elements(made)) == len(wanted) - 1
        assert not maps.is_frozen(made)
        for _twice in range(2):
            maps.freeze(made)
        assert maps.is_frozen(made)
        with pytest.raises(syscall.BpfError, match="Operation not permitted"):
            maps.put(made, gone, bytes(8))


def test_a_program_that_the_verifier_refuses_is_explained() -> None:
    # r0 = *(u8 *)(r1 + 100000); exit: outside of what a program may read.
    code = struct.pack("=BBhiBBhi", 0xBF, 0x10, 0, 0, 0x71, 0x00, 32_000, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    with pytest.raises(syscall.BpfError, match=r"(?s)invalid.*load program trial: Permission denied"):
        programs.load("trial", elf.Program(code, ()), {}, b"GPL")


def test_the_verifier_takes_all_programs() -> None:
    found = elf.read(OBJECT)
    rules = maps.Shape(maps.LPM_TRIE, 28, 8, 1, maps.NO_PREALLOC)
    with contextlib.ExitStack() as open_maps:
        inner = open_maps.enter_context(maps.create("rules", rules))
        held = {"table": open_maps.enter_context(maps.create("table", found.maps["table"], inner))}
        for name in found.maps.keys() - {"rules", "table"}:
            held[name] = open_maps.enter_context(maps.create(name, found.maps[name]._replace(max_entries=100)))
        names = []
        for name, program in found.programs.items():
            with programs.load(f"trial_{name}", program, held, found.licence) as loaded:
                names.append(programs.program_info(loaded).name)
    assert names == ["trial_sends", "trial_receives", "trial_writes"]
