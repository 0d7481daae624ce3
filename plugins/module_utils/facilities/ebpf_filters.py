# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our programs at interfaces by clsact and filters, which have our name, priority and handle.

At tcx the kernel waits for readers after each program, some 15 ms; at clsact for nothing that a pod's start would
notice. So podnet-attach puts a new pod's programs there, and such an interface keeps them there: all that are ours are
at one or at the other, as tcx comes first. Before Linux 6.6 there is only clsact.

``clsact/<index>`` says that clsact on that interface is ours; it goes when no filter is at it any more.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import CLSACT, NAME, OURS, entries
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import traffic_control
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.clsact_numbers import HANDLE
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import Handle
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

MARKERS = OURS / CLSACT


class Place(NamedTuple):
    """Where a program belongs: at a hook of tcx, or at one of clsact with a priority."""

    tcx: int
    hook: int
    priority: int


def chosen(host: Host) -> set[str]:
    """The interfaces whose programs are, or have to be, at clsact."""
    if not programs.has_tcx():
        return set(host.index)
    marked = {int(each.name) for each in entries(MARKERS)}
    found, names = marked & traffic_control.clsact_devices(host.netlink) if marked else set(), host.names
    return {names[index] for index in found & names.keys()}


def observe(places: Mapping[str, Place], host: Host) -> Iterator[tuple[str, str, int]]:
    """Interface, program by the name in ``places``, and the number that the kernel has given it, of each filter."""
    names = host.names
    for index in sorted(traffic_control.clsact_devices(host.netlink) & names.keys()):
        for hook in sorted({place.hook for place in places.values()}):
            for each in traffic_control.dump_filters(host.netlink, index, hook):
                name = each.name.removeprefix(NAME)
                if name in places and each._replace(program=0) == _filter(index, name, places[name]):
                    yield names[index], name, each.program


def attach(device: str, name: str, place: Place, program: Handle, host: Host) -> None:
    """Put a program at an interface, in the place of the one that is there."""
    index = host.index[device]
    if index not in traffic_control.clsact_devices(host.netlink):
        (MARKERS / str(index)).mkdir(parents=True, exist_ok=True, mode=0o700)
        _tell(host, traffic_control.add_clsact(index))
    _tell(host, traffic_control.put_filter(_filter(index, name, place), program.descriptor))


def detach(device: str, name: str, place: Place, host: Host) -> None:
    """Take a program away, and clsact with the last one where it is ours."""
    index = host.index.get(device)
    if index is None:
        return
    _tell(host, traffic_control.delete_filter(_filter(index, name, place)))
    marker = MARKERS / str(index)
    if marker.is_dir() and _is_idle(index, host):
        _tell(host, traffic_control.delete_clsact(index))
        marker.rmdir()


def forget_gone(host: Host, everything: bool = False) -> None:
    """Take away what says that clsact is ours, where the interface has gone.

    :param everything: also where it has not, with a clsact that an ADD was killed behind; one with filters of others is
        left to them
    """
    names = host.names
    standing = traffic_control.clsact_devices(host.netlink) if everything else set()
    for marker in entries(MARKERS):
        index = int(marker.name)
        if index in names:
            if not everything:
                continue
            if index in standing and _is_idle(index, host):
                _tell(host, traffic_control.delete_clsact(index))
        marker.rmdir()
    remove_empty(MARKERS)


def _is_idle(index: int, host: Host) -> bool:
    """Whether no filter is at an interface, of whomever."""
    return not any(traffic_control.dump_filters(host.netlink, index, each) for each in traffic_control.HOOKS)


def _filter(index: int, name: str, place: Place) -> traffic_control.Filter:
    return traffic_control.Filter(index, place.hook, place.priority, HANDLE, "bpf", NAME + name, 0)


def _tell(host: Host, message: bytes) -> None:
    for _position, error in host.netlink.batch([message]):
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise NetlinkError(error.errno or errno.EIO, error.extack)
