# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs: loaded, attached to tcx by links, exchanged in place (linux/bpf.h, Linux 6.6)."""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import numbers, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError, Handle, buffer, pointer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.elf import Program

TCX_INGRESS, TCX_EGRESS = numbers.TCX_INGRESS, numbers.TCX_EGRESS

SCHED_CLS, CGROUP_SOCK_ADDR = 3, 18  # enum bpf_prog_type
_PSEUDO_MAP_FD = 1
_BY_ID = 32  # BPF_F_ID: the relative is a program's id
_LINK_TCX = 11  # enum bpf_link_type
_LOOPBACK = 1
_PROGRAMS = 64  # more than that at one hook is nobody's
_LOG = 1 << 20
_PROGRAM_INFO = 80
_LINK_INFO = struct.Struct("=IIIIII")


class ProgramInfo(NamedTuple):
    """What the kernel tells of a program."""

    id: int
    name: str


class LinkInfo(NamedTuple):
    """What the kernel tells of a tcx link; ``ifindex`` is 0 when it is detached, or its device has gone."""

    program: int
    ifindex: int
    hook: int


def load(
    name: str, program: Program, maps: Mapping[str, Handle], licence: bytes, sort: int = SCHED_CLS, hook: int = 0
) -> Handle:
    """Load a program with its maps, for tc unless another sort is given.

    :param name: at most 15 letters, digits and underscores
    :param hook: where it will be attached, for a sort that is verified for that
    :raises BpfError: refused; the end of the verifier's log is in it
    """
    instructions = bytearray(program.instructions)
    for offset, wanted in program.maps:
        instructions[offset + 1] = instructions[offset + 1] & 0x0F | _PSEUDO_MAP_FD << 4
        struct.pack_into("=i", instructions, offset + 4, maps[wanted].descriptor)
    code, permission = buffer(bytes(instructions)), ctypes.create_string_buffer(licence)
    log = ctypes.create_string_buffer(_LOG)

    def attempt(level: int) -> Handle:
        attributes = struct.pack(
            "=IIQQIIQII16sII", sort, len(instructions) // 8, pointer(code), pointer(permission),
            level, _LOG if level else 0, pointer(log) if level else 0, 0, 0, name.encode(), 0, hook,
        )  # fmt: skip
        return Handle(syscall.call(numbers.PROG_LOAD, attributes, f"load program {name}"))

    try:
        return attempt(0)
    except BpfError:
        try:
            return attempt(1)
        except BpfError as error:
            told = log.value.decode(errors="replace").strip().splitlines()[-12:]
            raise BpfError(error.errno, "\n".join([*told, f"load program {name}"])) from error


def run(program: Handle, packet: bytes) -> int:
    """What a program makes of a packet that nobody has sent."""
    content = buffer(packet)
    # Program, what it gives, sizes and addresses of packets to it and from it; the kernel answers in the rest, too.
    attributes = buffer(struct.pack("=IIIIQQ48x", program.descriptor, 0, len(packet), 0, pointer(content), 0))
    syscall.call_with(numbers.PROG_TEST_RUN, attributes, "run a program")
    return int(struct.unpack_from("=I", attributes.raw, 4)[0])


def program_info(handle: Handle) -> ProgramInfo:
    """A program's id and name."""
    told = syscall.info(handle, _PROGRAM_INFO)
    return ProgramInfo(struct.unpack_from("=I", told, 4)[0], told[64:80].partition(b"\0")[0].decode(errors="replace"))


FIRST, LAST = 0, -1
"""Places at a hook, besides the one behind a program of this id."""


def attach(program: Handle, ifindex: int, hook: int, place: int = FIRST) -> Handle:
    """Put a program at a hook of a device.

    :param place: FIRST, LAST, or the id of the program behind which it comes
    """
    flags = numbers.BEFORE if place == FIRST else numbers.AFTER | (0 if place == LAST else _BY_ID)
    attributes = struct.pack("=IIIIIIQ", program.descriptor, ifindex, hook, flags, max(place, 0), 0, 0)
    return Handle(syscall.call(numbers.LINK_CREATE, attributes, f"attach to interface {ifindex} by tcx"))


def exchange(link: Handle, program: Handle) -> None:
    """Put another program in the place of a link's, between two packets."""
    attributes = struct.pack("=IIII", link.descriptor, program.descriptor, 0, 0)
    syscall.call(numbers.LINK_UPDATE, attributes, "exchange a program")


def detach(link: Handle) -> None:
    """Take a link's program away at once; one that nobody holds any more goes a little later."""
    syscall.call(numbers.LINK_DETACH, struct.pack("=I", link.descriptor), "take a program away")


def link_info(handle: Handle) -> LinkInfo | None:
    """What a link holds; None when it is not one of tcx."""
    sort, _id, program, _unused, ifindex, hook = _LINK_INFO.unpack(syscall.info(handle, _LINK_INFO.size))
    return LinkInfo(program, ifindex, hook) if sort == _LINK_TCX else None


def attached(ifindex: int, hook: int) -> tuple[int, ...]:
    """The ids of the programs at a hook of an interface, whoever has put them there, in their order.

    :raises BpfError: there is no such interface, or no tcx
    """
    ids = ctypes.create_string_buffer(4 * _PROGRAMS)
    # Interface, hook, two flags, the ids' address and count, padding; pointers to flags and links, revision.
    query = buffer(struct.pack("=IIIIQIIQQQQ", ifindex, hook, 0, 0, pointer(ids), _PROGRAMS, 0, 0, 0, 0, 0))
    syscall.call_with(numbers.PROG_QUERY, query, f"ask for the programs of interface {ifindex}")
    (count,) = struct.unpack_from("=I", query.raw, 24)
    return struct.unpack_from(f"={min(count, _PROGRAMS)}I", ids.raw)


def by_id(number: int) -> Handle:
    """The program with an id."""
    return Handle(syscall.call(numbers.PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0), f"open program {number}"))


def name_of(number: int) -> str:
    """The name of the program with an id; empty when it has gone."""
    try:
        with by_id(number) as program:
            return program_info(program).name
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise
        return ""


def has_tcx() -> bool:
    """Whether the kernel has tcx (Linux 6.6), asked of the loopback, which is the first interface of any namespace."""
    try:
        attached(_LOOPBACK, TCX_INGRESS)
    except BpfError as error:
        if error.errno == errno.EPERM:
            raise
        return error.errno not in (errno.EINVAL, errno.ENOSYS)
    return True
