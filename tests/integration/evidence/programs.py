# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real BPF objects by bpf(2): a program that does nothing, attached by tcx, and a pinned map (linux/bpf.h)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BPF = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD, _OBJ_PIN, _LINK_CREATE = 0, 5, 6, 28
_SCHED_CLS, _TCX_INGRESS, _ARRAY = 3, 46, 2
# r0 = -1 (TCX_NEXT); exit
_NOTHING = struct.pack("=BBhiBBhi", 0xB7, 0, 0, -1, 0x95, 0, 0, 0)


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    found = int(libc.syscall(_BPF[os.uname().machine], command, buffer, len(attributes)))
    if found < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return found


@contextmanager
def attached_by_tcx(device: str, name: str) -> Iterator[None]:
    """A program of this name on a device, as long as the body runs."""
    code, licence = ctypes.create_string_buffer(_NOTHING), ctypes.create_string_buffer(b"GPL")
    load = struct.pack("=IIQQIIQII16s", _SCHED_CLS, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0,
                       name.encode())  # fmt: skip
    program = _bpf(_PROG_LOAD, load)
    try:
        link = _bpf(
            _LINK_CREATE, struct.pack("=IIIIIIQ", program, socket.if_nametoindex(device), _TCX_INGRESS, 0, 0, 0, 0)
        )
        try:
            yield
        finally:
            os.close(link)
    finally:
        os.close(program)


def pin_map(path: Path) -> None:
    """An array of one number, pinned."""
    found = _bpf(_MAP_CREATE, struct.pack("=IIIII", _ARRAY, 4, 4, 1, 0))
    try:
        where = ctypes.create_string_buffer(os.fsencode(path))
        _bpf(_OBJ_PIN, struct.pack("=QII", ctypes.addressof(where), found, 0))
    finally:
        os.close(found)
