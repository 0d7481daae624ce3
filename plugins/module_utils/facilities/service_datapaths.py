# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What services have in eBPF as typed values, and how it is read back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    ebpf_hooks,
    service_hooks,
    service_sockets,
    service_tables,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import Attachment
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_sealed import CHANGES, WRITES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import (
    FOLDER,
    PASSING,
    PROGRAMS,
    TRANSLATIONS,
    datapaths,
    folders,
    passes,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_sockets import SOCKETS, SocketHook
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import connect_ebpf_object, service_bypass
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf import FRONTENDS, Elements
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_ebpf_object import OBJECT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

_LEAST = 1024
_SPARSE = 64


class Datapath(NamedTuple):
    """Programs and maps with room for this many flows, and elements of services; and whether packets can go past the
    host. ``name`` is a digest of it all.
    """

    name: str
    flows: int
    room: int
    bypass: bool = False


class ServiceTable(NamedTuple):
    """What the programs of a datapath go by (packetfilter/service_ebpf.py)."""

    datapath: str
    elements: Elements


class Passage(NamedTuple):
    """What a datapath sends packets on past the host by (packetfilter/service_bypass.py)."""

    datapath: str
    elements: service_bypass.Elements
    lines: tuple[str, ...]


class Bypass(NamedTuple):
    """What is wanted of it: the elements, and the devices at which packets for pods arrive."""

    elements: service_bypass.Elements
    ways: Sequence[str]


Object = Union[Datapath, ServiceTable, Attachment, SocketHook, Passage]
Objects = dict[tuple[str, ...], Any]


def wanted(
    elements: Elements, ports: list[str], flows: int, host: Host, bypass: Bypass | None, connect: bool = False
) -> Objects:
    """The objects that put services before interfaces.

    :param connect: before the node's own sockets, too
    """
    made = _datapath(flows, _room(max(len(each) for each in elements.values())), bypass is not None)
    found: list[Object] = [made, ServiceTable(made.name, elements)]
    at = [(device, hook) for device in ports for hook in service_hooks.AT_PODS]
    if bypass is not None:
        found.append(passage(made.name, bypass.elements, host))
        at += [*((way, "arrives") for way in bypass.ways), *((device, "forwards") for device in ports)]
    found += ebpf_hooks.wishes(at, made.name, host)
    if connect:
        found += [SocketHook(hook, made.name) for hook in service_sockets.HOOKS]
    return {key_of(obj): obj for obj in found}


def passage(datapath: str, elements: service_bypass.Elements, host: Host) -> Passage:
    """With what it says in words."""
    return Passage(datapath, elements, tuple(service_bypass.describe(elements, host.names)))


def key_of(obj: Object) -> tuple[str, ...]:
    """Under which name an object is compared."""
    if isinstance(obj, Datapath):
        return ("datapath", obj.name)
    if isinstance(obj, ServiceTable):
        return ("table", obj.datapath)
    if isinstance(obj, SocketHook):
        return ("sockets", obj.hook)
    if isinstance(obj, Passage):
        return ("passage", obj.datapath)
    return obj.key()


def observe(host: Host) -> Objects:
    """All that is pinned, by key. A datapath that somebody has damaged is none that is wanted."""
    if not (FOLDER.is_dir() or SOCKETS.is_dir()):
        return {}
    found: list[Object] = []
    known: dict[int, str] = {}
    complete = datapaths()
    for folder in folders():
        if folder not in complete:
            found.append(Datapath(folder.name, 0, 0))
            continue
        bypass = passes(folder)
        # One of an earlier version is none that is wanted.
        counts = all((folder / pin).exists() for pin in (WRITES, CHANGES))
        sizes = (_entries(folder / TRANSLATIONS), _entries(folder / FRONTENDS)) if counts else (0, 0)
        found.append(Datapath(folder.name, *sizes, bypass))
        found.append(ServiceTable(folder.name, service_tables.read(folder.name)))
        if bypass:
            elements = {name: _elements(folder / name) for name in service_bypass.MAPS}
            if any(elements.values()):
                found.append(passage(folder.name, elements, host))
        pins = [folder / hook for hook in (*PROGRAMS, *(PASSING if bypass else ()))]
        for pin in (*pins, *service_sockets.programs_of(folder.name)):
            with syscall.pinned(str(pin)) as handle:
                known[programs.program_info(handle).id] = folder.name
    found += service_hooks.observe(known, host)
    found += service_sockets.observe(known)
    return {key_of(obj): obj for obj in found}


def _datapath(flows: int, room: int, bypass: bool) -> Datapath:
    shape = f"{flows} {room}{' bypass' * bypass}".encode()
    digest = hashlib.sha256(OBJECT + connect_ebpf_object.OBJECT + shape).hexdigest()[:12]
    return Datapath(digest, flows, room, bypass)


def fits(folder: Path, elements: int) -> bool:
    """Whether a datapath's maps are of the size that is wanted for so many elements."""
    return _entries(folder / FRONTENDS) == _room(elements)


def _room(elements: int) -> int:
    """What the maps have while that does, so that programs stay when services come; else at least twice as much."""
    for folder in datapaths():
        room = _entries(folder / FRONTENDS)
        # Before and after are there together while a service changes.
        if 2 * elements <= room <= max(_LEAST, _SPARSE * elements):
            return room
    return max(_LEAST, 1 << (2 * elements - 1).bit_length()) if elements else _LEAST


def _entries(pin: Path) -> int:
    with syscall.pinned(str(pin)) as handle:
        return maps.shape_of(handle).max_entries


def _elements(pin: Path) -> dict[bytes, bytes]:
    with syscall.pinned(str(pin)) as handle:
        return maps.elements(handle)
