# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs at control groups, which what runs there meets: attached by links beside those of others (linux/bpf.h)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError, Handle, buffer

if TYPE_CHECKING:
    from pathlib import Path

INET4_CONNECT, INET6_CONNECT = numbers.CGROUP_INET4_CONNECT, numbers.CGROUP_INET6_CONNECT
INET4_GETPEERNAME, INET6_GETPEERNAME = numbers.CGROUP_INET4_GETPEERNAME, numbers.CGROUP_INET6_GETPEERNAME

_ALLOW_MULTI = 2  # BPF_F_ALLOW_MULTI, as every link has it
_LINK_CGROUP = 3  # enum bpf_link_type
_LINK_INFO = struct.Struct("=IIIIQI")


class LinkInfo(NamedTuple):
    """What the kernel tells of a link; ``group``, the inode of the folder, is 0 when it is detached."""

    program: int
    group: int
    hook: int


def attach(program: Handle, folder: Path, hook: int) -> Handle:
    """Put a program at a hook of a control group; others stay."""
    with _opened(folder) as group:
        attributes = struct.pack("=IIIIIIQ", program.descriptor, group.descriptor, hook, 0, 0, 0, 0)
        return Handle(syscall.call(numbers.LINK_CREATE, attributes, f"attach to control group {folder}"))


def link_info(handle: Handle) -> LinkInfo | None:
    """What a link holds; None when it is not one of a control group."""
    sort, _id, program, _unused, group, hook = _LINK_INFO.unpack(syscall.info(handle, _LINK_INFO.size))
    return LinkInfo(program, group, hook) if sort == _LINK_CGROUP else None


def takes(folder: Path, hook: int) -> bool:
    """Whether the kernel has this hook of a control group, and nobody has it for himself."""
    # Group, hook, two flags, no room for ids; pointers to flags and links, revision.
    query = struct.pack("=IIIIQIIQQQQ", 0, hook, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    with _opened(folder) as group:
        held = buffer(struct.pack("=I", group.descriptor) + query[4:])
        try:
            syscall.call_with(numbers.PROG_QUERY, held, f"ask for the programs of control group {folder}")
        except BpfError:
            return False
    (flags,), (count,) = (struct.unpack_from("=I", held.raw, offset) for offset in (12, 24))
    return not count or bool(flags & _ALLOW_MULTI)


def _opened(folder: Path) -> Handle:
    return Handle(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
