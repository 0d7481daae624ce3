# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else listens where our BIRD has to: a second BGP daemon would get the neighbours' calls."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LISTEN = "0A"  # TCP_LISTEN of linux/tcp_states.h
_PROC = Path("/proc")


def strangers(port: int, addresses: Collection[bytes], ours: Collection[int]) -> list[str]:
    """The processes, in words, that hold the port on one of the addresses or on all.

    :param addresses: packed
    :param ours: processes that may
    """
    wanted = {*addresses, *(bytes(len(address)) for address in addresses)}
    sockets = {inode for held, address, inode in _listening() if held == port and address in wanted}
    sockets -= {inode for pid in ours for inode in _sockets(pid)}
    if not sockets:
        return []
    found = {pid for pid in _pids() if not sockets.isdisjoint(_sockets(pid))}
    return [f"{_name(pid)} (process {pid})" for pid in sorted(found)] or ["a process of another namespace"]


def _listening() -> Iterator[tuple[int, bytes, str]]:
    """Port, packed address and inode of each listening TCP socket of this network namespace."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/thread-self/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN:
                address, _colon, port = fields[1].partition(":")
                # Words of four bytes in the machine's order (tcp4_seq_show in net/ipv4/tcp_ipv4.c).
                words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
                yield int(port, 16), struct.pack(f"={len(words)}I", *words), fields[9]


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets."""
    try:
        entries = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def _name(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process that has ended"
