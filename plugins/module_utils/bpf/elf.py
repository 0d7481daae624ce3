# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and maps out of an object that clang has made for BPF: as much of ELF as those have."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf.maps import Shape
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

# elf.h
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQ")
_SHT_SYMTAB = 2
_SHT_REL = 9
_EM_BPF = 247
_R_BPF_64_64 = 1
_INSTRUCTION = 16  # one that takes a map's descriptor is of twice the size
_KINDS = ("tc", "cgroup")  # of programs; their names come behind a slash
_MAP = struct.Struct("<IIIII")  # struct map in ebpf/kernel.h


class Program(NamedTuple):
    """Instructions, and where in them (in bytes) the descriptor of which map belongs."""

    instructions: bytes
    maps: tuple[tuple[int, str], ...]


class Object(NamedTuple):
    """What is in an object: programs by the name of their section after the slash, maps by their own, the licence."""

    programs: dict[str, Program]
    maps: dict[str, Shape]
    licence: bytes


class _Section(NamedTuple):
    name: str
    type: int
    target: int
    content: bytes


def read(image: bytes) -> Object:
    """Take an object apart.

    :raises PodnetError: it is none, or has what only a full loader knows (calls between programs, global variables)
    """
    try:
        return _read(image)
    except (struct.error, IndexError, OverflowError, ValueError) as error:
        raise PodnetError(f"the BPF object is damaged ({error}); install the collection again") from error


def _read(image: bytes) -> Object:
    header = _HEADER.unpack_from(image)
    if header[0][:6] != b"\x7fELF\x02\x01" or header[2] != _EM_BPF:
        raise ValueError("not ELF for little-endian BPF")
    place, size, count, names_in = header[6], header[11], header[12], header[13]
    rows = [_SECTION.unpack_from(image, place + nth * size) for nth in range(count)]
    names = _content(image, rows[names_in])
    sections = [_Section(_text(names, row[0]), row[1], row[7], _content(image, row)) for row in rows]
    symbols: list[tuple[str, int, int]] = []
    for row, section in zip(rows, sections):
        if section.type == _SHT_SYMTAB:
            texts = _content(image, rows[row[6]])
            for name, _info, _other, index, value, _size in _SYMBOL.iter_unpack(section.content):
                symbols.append((_text(texts, name), index, value))
    maps = {
        name: Shape(*_MAP.unpack_from(sections[index].content, value))
        for name, index, value in symbols
        if name and 0 < index < count and sections[index].name == "maps"
    }
    programs: dict[str, Program] = {}
    for nth, section in enumerate(sections):
        kind, slash, name = section.name.partition("/")
        if slash and kind in _KINDS:
            wanted = [each for each in sections if each.type == _SHT_REL and each.target == nth]
            programs[name] = Program(section.content, tuple(_references(wanted, symbols, maps)))
            if any(offset + _INSTRUCTION > len(section.content) for offset, _map in programs[name].maps):
                raise ValueError("a reference behind the end of its program")
    licences = [section.content for section in sections if section.name == "license"]
    return Object(programs, maps, licences[0].rstrip(b"\0"))


def _references(
    sections: list[_Section], symbols: list[tuple[str, int, int]], maps: dict[str, Shape]
) -> list[tuple[int, str]]:
    found = []
    for section in sections:
        for offset, what in _RELOCATION.iter_unpack(section.content):
            name = symbols[what >> 32][0]
            if what & 0xFFFFFFFF != _R_BPF_64_64 or name not in maps:
                raise ValueError(f"a reference to {name or 'something'} that is no map")
            found.append((offset, name))
    return found


def _content(image: bytes, row: tuple[int, ...]) -> bytes:
    return image[row[4] : row[4] + row[5]]


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()
