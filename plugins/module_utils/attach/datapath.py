# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new pod is to eBPF: elements of the table that stands, and programs before its interface, in this order.

Elements, pins and places at the hooks are what packetfilter/ebpf.py, facilities/ebpf_tables.py, ebpf_sealed.py,
ebpf_hooks.py and service_hooks.py make of the same pod, without their imports. The programs are filters: at tcx the
kernel would wait for its readers after each of them.
"""

from __future__ import annotations

import os
from _socket import if_nametoindex
from _struct import pack, unpack

from ansible_collections.podnet.fabric.plugins.module_utils.attach import bpf, elements, filters
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import clsact_numbers as numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached
    from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import Element

    Entry = tuple[bytes, int]

POLICY, SERVICE = "/sys/fs/bpf/podnet/policy", "/sys/fs/bpf/podnet/service"
OTHERS = ("links", "making")
"""What is beside the folders of datapaths."""
PROGRAMS = {
    POLICY: (("sends", numbers.INGRESS, numbers.JUDGES), ("receives", numbers.EGRESS, numbers.JUDGES)),
    SERVICE: (
        ("replies", numbers.EGRESS, numbers.CONCLUDES),
        ("requests", numbers.INGRESS, numbers.TRANSLATES),
        ("forwards", numbers.INGRESS, numbers.CONCLUDES),
    ),
}
WITHOUT = ("forwards",)
"""Programs that a datapath may do without (ebpf/bypass.h)."""
HOOKS = ("Egress", "Ingress")
SLOT = bytes(4)
SPACE_BITS = 64
OPEN = EVERY = 1
ORIGIN, KNOWN = 4, 6
PUT, ADD = 1, 2
HEADER, MOST = bytes(16), 54
LINK_LOCAL_BITS = 10


def add(pod: Attached, told: Sequence[Element], programs: Mapping[str, Any], bridge: str | None) -> None:
    """Add a pod.

    :param told: what the policies make of it: a direction, an address and the number of a guard, or what leads a peer's
        address to ports
    :param programs: the bridge at whose ports they are, and the elements of each set of ports
    :param bridge: where it sends from its own addresses only; None where nothing sees to that
    :raises OSError: the kernel has refused, or what stands is not as it was left
    :raises ValueError: that takes more than elements and programs
    """
    indexes = [if_nametoindex(name) for name in elements.ports(pod, programs["bridge"])]
    if not indexes or not pod.addresses:
        raise ValueError("what is to be judged at no interface is of another sort")
    put_elements(told, programs, pod, indexes if bridge is not None else ())
    put_programs(indexes)


def put_elements(
    told: Sequence[Element],
    programs: Mapping[str, Any],
    pod: Attached | None = None,
    senders: Sequence[int] = (),
) -> None:
    """Tell the programs of a pod.

    :param programs: the keys of each set of ports, which has no elements as long as no peer leads there, and what two
        such sets come to together
    :param pod: where it is one of this node
    :param senders: its interfaces, where it sends from its own addresses only
    :raises OSError: the kernel has refused, or what stands is not as it was left
    :raises ValueError: that takes more than elements
    """
    folder = _datapath(POLICY)
    if folder is None:
        raise ValueError("there are no programs")
    table, counter, writer = (bpf.pinned(f"{folder}/{pin}") for pin in ("table", "generation", "writes"))
    inner = bpf.map_by_id(_number("=I", bpf.get(table, SLOT, 4)))
    generation = _number("=I", bpf.get(counter, SLOT, 4))
    if generation & 1:
        raise ValueError("whoever changed the table last did not come to an end")
    needed, new = entries(inner, told, programs, pod)
    changes = [_change(PUT, each) for each in needed]
    changes += [_change(ADD, each) for each in (*new, *(_origins(pod, senders) if pod else ()))]
    bpf.put(counter, SLOT, pack("=I", generation + 1))
    for first in range(0, len(changes), MOST):
        failed = bpf.run(writer, HEADER + b"".join(changes[first : first + MOST]))
        if failed:
            raise OSError(failed, os.strerror(failed))
    bpf.put(counter, SLOT, pack("=I", (generation + 2) % (1 << 32)))


def _change(what: int, entry: Entry) -> bytes:
    """struct change of ebpf/writing.h."""
    key, value = entry
    return pack("=II32s24s", 0, what, key, pack("=Q", value))


def entries(
    inner: int, told: Sequence[Element], programs: Mapping[str, Any], pod: Attached | None = None
) -> tuple[list[Entry], list[Entry]]:
    """What is to be in a table before a pod, if it is not yet, and what of the pod itself."""
    peers = _allowed(inner, told, programs["joined"])
    numbered = {f"{value:x}" for _key, value in peers}
    needed = [(bytes.fromhex(key), EVERY) for number in numbered for key in programs["ports"].get(number, ())]
    return needed, [*peers, *(_ways(pod, told) if pod else ())]


def _allowed(inner: int, told: Sequence[Element], joined: Mapping[str, str]) -> list[Entry]:
    """What leads the pod's addresses to ports, in the guards that know it as a peer."""
    found: dict[bytes, int] = {}
    for name, address, _guard in told:
        if name in HOOKS:
            continue
        space, _blank, ports = name.partition(" ")
        key, value = _key(int(space, 16), elements.packed(address)), int(ports, 16)
        # What a block that it is in allows counts as well.
        standing = bpf.get(inner, key, 8)
        several = {value, found.get(key, value), value if standing is None else _number("=Q", standing)}
        found[key] = EVERY if EVERY in several else _together(several, joined)
    return list(found.items())


def _together(several: set[int], joined: Mapping[str, str]) -> int:
    """The number of what several sets of ports have."""
    first, *rest = sorted(several)
    for number in rest:
        pair = " ".join(f"{each:x}" for each in sorted((first, number)))
        if pair not in joined:
            raise ValueError("ports of several rules come together")
        first = int(joined[pair], 16)
    return first


def _ways(pod: Attached, told: Sequence[Element]) -> list[Entry]:
    """What leads from the pod's addresses to its guards: to the open where it has none."""
    guards = {(name, address): int(guard, 16) for name, address, guard in told if name in HOOKS}
    return [
        (_key(2 * hook + (":" in address), elements.packed(address)), guards.get((name, address), OPEN))
        for hook, name in enumerate(HOOKS)
        for address in pod.addresses
    ]


def _origins(pod: Attached, indexes: Sequence[int]) -> list[Entry]:
    four, six, unsure = elements.sources(pod)
    found: list[Entry] = []
    for index in indexes:
        found.append((pack("=III16s", SPACE_BITS, KNOWN, index, b""), OPEN))
        found += [(_key(_space(ORIGIN, index), each), OPEN) for each in sorted(four)]
        found += [(_key(_space(ORIGIN + 1, index), each), OPEN) for each in sorted(six)]
        if unsure:
            any_of_them = b"\xfe\x80".ljust(16, b"\0")
            found.append((_key(_space(ORIGIN + 1, index), any_of_them, LINK_LOCAL_BITS), OPEN))
    return found


def put_programs(indexes: Sequence[int]) -> None:
    """Put the programs of the datapaths that there are before interfaces."""
    made = [each for where in (POLICY, SERVICE) for each in _programs_of(where)]
    for index in indexes:
        filters.put(index, made)


def _programs_of(where: str) -> list[tuple[str, int, int, int]]:
    """The programs of a datapath, where there is one: names, hooks, priorities and descriptors."""
    folder = _datapath(where)
    return [
        (name, hook, priority, bpf.pinned(f"{folder}/{name}"))
        for name, hook, priority in (PROGRAMS[where] if folder else ())
        if name not in WITHOUT or os.path.exists(f"{folder}/{name}")
    ]


def _datapath(where: str) -> str | None:
    """The folder of the datapath.

    :raises ValueError: there are several
    """
    names = [name for name in os.listdir(where) if name not in OTHERS] if os.path.isdir(where) else []
    if len(names) > 1:
        raise ValueError("one datapath has not made room for another yet")
    return f"{where}/{names[0]}" if names else None


def _key(space: int, address: bytes, bits: int | None = None) -> bytes:
    """struct entry of ebpf/policy.c."""
    return pack("=IQ16s", SPACE_BITS + (8 * len(address) if bits is None else bits), space, address)


def _space(sort: int, index: int) -> int:
    """Two words in the place of one number."""
    return _number("=Q", pack("=II", sort, index))


def _number(form: str, value: bytes | None) -> int:
    """:raises ValueError: there is none"""
    if value is None:
        raise ValueError("there is no table")
    (found,) = unpack(form, value)
    return int(found)
