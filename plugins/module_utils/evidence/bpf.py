# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the BPF programs that are attached to network devices by tcx (Linux 6.6): three calls of bpf(2)."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The system call's number: arch/x86/entry/syscalls/syscall_64.tbl, and asm-generic for the newer architectures.
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}
# enum bpf_cmd and enum bpf_attach_type of linux/bpf.h
_PROG_GET_FD_BY_ID = 13
_OBJ_GET_INFO_BY_FD = 15
_PROG_QUERY = 16
_TCX = (46, 47)  # ingress, egress
_PROGRAMS = 64  # more than that on one device is nobody's
_INFO = 232  # struct bpf_prog_info as far as Linux 6.6 has it; the kernel fills what both know
_NAME = slice(64, 80)  # its member `name`


def attached(indexes: Iterable[int]) -> list[tuple[int, str]]:
    """Interface index and name of each program on these interfaces; empty where the kernel or the user cannot tell."""
    number = _SYSCALL.get(platform.machine())
    if number is None:
        return []
    found = []
    for index in indexes:
        for attach_type in _TCX:
            found += [(index, _name(number, program)) for program in _query(number, index, attach_type)]
    return [(index, name) for index, name in found if name]


def _call(number: int, command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(number, command, attributes, len(attributes)))


def _query(number: int, index: int, attach_type: int) -> tuple[int, ...]:
    """The ids of the programs at one hook (struct bpf_attr, member `query`)."""
    ids = ctypes.create_string_buffer(4 * _PROGRAMS)
    # Target, attach type, two flags, the ids' address and count, padding; pointers to flags and links, revision.
    query = struct.pack("=IIIIQIIQQQQ", index, attach_type, 0, 0, ctypes.addressof(ids), _PROGRAMS, 0, 0, 0, 0, 0)
    attributes = ctypes.create_string_buffer(query, len(query))
    if _call(number, _PROG_QUERY, attributes) < 0:
        return ()
    (count,) = struct.unpack_from("=I", attributes.raw, 24)
    return struct.unpack_from(f"={min(count, _PROGRAMS)}I", ids.raw)


def _name(number: int, program: int) -> str:
    # start id, next id, open flags.
    request = ctypes.create_string_buffer(struct.pack("=III", program, 0, 0), 12)
    descriptor = _call(number, _PROG_GET_FD_BY_ID, request)
    if descriptor < 0:
        return ""
    try:
        info = ctypes.create_string_buffer(_INFO)
        asked = struct.pack("=IIQ", descriptor, _INFO, ctypes.addressof(info))
        if _call(number, _OBJ_GET_INFO_BY_FD, ctypes.create_string_buffer(asked, len(asked))) < 0:
            return ""
        return info.raw[_NAME].partition(b"\0")[0].decode(errors="replace")
    finally:
        os.close(descriptor)
