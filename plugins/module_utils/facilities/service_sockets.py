# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of services at the root of control groups, which send the node's own processes on as they connect.

/sys/fs/bpf/podnet/
    sockets/               links: connect4, connect6; peer4, peer6, by which a process is told what it has asked for
    service/<datapath>/    their programs, which ask the maps of the datapath; asked, the map of what sockets have
                           asked for, which is taken over

All nodes of a test have one tree of control groups. Each has links of its own there, and its programs leave alone what
is not of its network namespace.
"""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import cgroups, elf, maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_datapaths
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import NAME, OURS, entries
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import FOLDER, datapaths, folders
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.connect_ebpf_object import OBJECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import Handle

SOCKETS = OURS / "sockets"
HOOKS = {
    "connect4": cgroups.INET4_CONNECT,
    "connect6": cgroups.INET6_CONNECT,
    "peer4": cgroups.INET4_GETPEERNAME,
    "peer6": cgroups.INET6_GETPEERNAME,
}
_ASKED, _NODE = "asked", "node"
"""Maps: what sockets have asked for, and the network namespace."""
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h, Linux 5.14


class SocketHook(NamedTuple):
    """A program at a hook of the root of control groups."""

    hook: str
    datapath: str


def root() -> Path | None:
    """The root of control groups of version 2, as far as the calling thread sees it; None where it cannot be used."""
    text = Path("/proc/thread-self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    for line in text.splitlines():
        before, _separator, after = line.partition(" - ")
        inside, target = before.split()[3:5]
        if (inside, after.split()[0]) == ("/", "cgroup2"):
            folder = Path(target)
            return folder if folder.is_dir() and all(cgroups.takes(folder, hook) for hook in HOOKS.values()) else None
    return None


def observe(known: Mapping[int, str]) -> Iterator[SocketHook]:
    """All that is pinned.

    :param known: which datapath a program belongs to, by its id
    """
    folder = root()
    group = folder.stat().st_ino if folder else 0
    pins = entries(SOCKETS)
    for pin in pins:
        yield SocketHook(pin.name, _held(pin, known, group))
    # Of a run that came to no end.
    for name in sorted({pin.name for each in folders() for pin in programs_of(each.name)} - {pin.name for pin in pins}):
        yield SocketHook(name, "no link")


def programs_of(datapath: str) -> Iterator[Path]:
    """The pins of the programs that ask the maps of a datapath."""
    return (pin for pin in (FOLDER / datapath / hook for hook in HOOKS) if pin.exists())


def attach(wanted: SocketHook) -> None:
    """Put a program there, in the place of the one that is there.

    :raises OSError: there is no such place any more
    """
    folder, hook, pin = root(), HOOKS[wanted.hook], SOCKETS / wanted.hook
    if folder is None:
        raise OSError("no control groups of version 2 that take programs")
    SOCKETS.mkdir(mode=0o700, exist_ok=True)
    with _load(wanted) as program:
        if pin.exists():
            with syscall.pinned(str(pin)) as held:
                told = cgroups.link_info(held)
                if told and (told.group, told.hook) == (folder.stat().st_ino, hook):
                    programs.exchange(held, program)
                    return
            pin.unlink()
        with cgroups.attach(program, folder, hook) as made:
            syscall.pin(made, str(pin))


def detach(gone: SocketHook) -> None:
    """Take a program away."""
    pin = SOCKETS / gone.hook
    if pin.exists():
        with syscall.pinned(str(pin)) as held:
            if cgroups.link_info(held):
                programs.detach(held)
        pin.unlink()
    for folder in folders():
        _unpin(folder / gone.hook)
        if not any(programs_of(folder.name)):
            _unpin(folder / _ASKED)


def _held(pin: Path, known: Mapping[int, str], group: int) -> str:
    with syscall.pinned(str(pin)) as handle:
        told = cgroups.link_info(handle)
    if not told:
        return "none of ours"
    at_place = (told.group, told.hook) == (group, HOOKS.get(pin.name))
    return known.get(told.program, "none of ours") if at_place else "the wrong place"


def _load(wanted: SocketHook) -> Handle:
    read, folder = elf.read(OBJECT), FOLDER / wanted.datapath
    program = read.programs[wanted.hook]
    with ExitStack() as opened:
        held = {
            name: opened.enter_context(_map(name, read.maps[name], folder))
            for name in {name for _offset, name in program.maps}
        }
        hook = HOOKS[wanted.hook]
        made = programs.load(NAME + wanted.hook, program, held, read.licence, programs.CGROUP_SOCK_ADDR, hook)
    _unpin(folder / wanted.hook)
    syscall.pin(made, str(folder / wanted.hook))
    return made


def _map(name: str, shape: maps.Shape, folder: Path) -> Handle:
    if name == _NODE:
        return _node(shape)
    pin = folder / name
    if name == _ASKED and not pin.exists():
        made = ebpf_datapaths.kept(name, shape, datapaths())
        syscall.pin(made, str(pin))
        return made
    return syscall.pinned(str(pin))


def _unpin(pin: Path) -> None:
    if pin.exists():
        pin.unlink()


def _node(shape: maps.Shape) -> Handle:
    made = maps.create(NAME + _NODE, shape)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        cookie = ours.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    maps.put(made, struct.pack("=I", 0), cookie)
    maps.freeze(made)
    return made
