# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our programs at the hooks of interfaces: by tcx and links that are pinned, before Linux 6.6 by clsact and filters.

A link's pin is called ``links/<index of the interface>-<hook>``. A filter of ours has our name, priority and handle.
``clsact/<index>`` says that clsact on that interface is ours, and goes when no filter is at it any more.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    CLSACT,
    FOLDER,
    LINKS,
    NAME,
    entries,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import traffic_control
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

# What the host gets from an interface the pod sends.
HOOKS = {
    "sends": (programs.TCX_INGRESS, traffic_control.INGRESS),
    "receives": (programs.TCX_EGRESS, traffic_control.EGRESS),
}
PRIORITY = 1  # before all others, which might end the row
HANDLE = 84  # as our routes' protocol
TRANSLATING = NAME + "requests"
PASSING = NAME + "forwards"
"""The programs of services at what a pod sends (service_hooks.py)."""


class Attachment(NamedTuple):
    """A program at a hook of an interface. Without a ``device`` it is the pin of a link that holds on to nothing."""

    device: str
    hook: str
    datapath: str
    pin: str


def wish(device: str, hook: str, datapath: str, host: Host) -> Attachment:
    """An attachment as it will be read back."""
    return Attachment(device, hook, datapath, f"{host.index[device]}-{hook}" if programs.has_tcx() else "")


def observe(known: Mapping[int, str], host: Host) -> Iterator[Attachment]:
    """All attachments of ours.

    :param known: which datapath a program belongs to, by its id
    """
    yield from links(FOLDER, known, host, lambda told, hook: "the wrong hook" if told.hook != HOOKS[hook][0] else "")
    if not programs.has_tcx():
        for index in sorted(traffic_control.clsact_devices(host.netlink) & host.names.keys()):
            for hook in HOOKS:
                for each in traffic_control.dump_filters(host.netlink, index, HOOKS[hook][1]):
                    if _ours(each, hook):
                        yield Attachment(host.names[index], hook, known.get(each.program, "none of ours"), "")


def links(
    folder: Path, known: Mapping[int, str], host: Host, misfit: Callable[[programs.LinkInfo, str], str]
) -> Iterator[Attachment]:
    """The attachments whose links are pinned below a folder.

    Pods come and go all the time: the link of an interface that has gone is no attachment, and its pin goes with the
    next change (``forget_loose``), or with the last program.

    :param misfit: what is wrong about a link with the name of a hook, if anything is
    """
    for pin in entries(folder / LINKS):
        told = holding(pin)
        if known and told and not told.ifindex:
            continue
        device = host.names.get(told.ifindex, "") if told else ""
        hook = pin.name.rpartition("-")[2]
        held = known.get(told.program, "none of ours") if told else ""
        yield Attachment(device, hook, (told and misfit(told, hook)) or held, pin.name)


def attach(wanted: Attachment, host: Host) -> None:
    """Put a program before an interface, in the place of the one that is there."""
    index = host.index[wanted.device]
    with syscall.pinned(str(FOLDER / wanted.datapath / wanted.hook)) as program:
        if wanted.pin:
            hook = HOOKS[wanted.hook][0]
            link(FOLDER / LINKS / wanted.pin, program, index, hook, lambda: _place(index, hook))
            return
        if index not in traffic_control.clsact_devices(host.netlink):
            (FOLDER / CLSACT / str(index)).mkdir(parents=True, exist_ok=True, mode=0o700)
            _tell(host, traffic_control.add_clsact(index))
        _tell(host, traffic_control.put_filter(_filter(index, wanted.hook), program.descriptor))


def detach(gone: Attachment, host: Host) -> None:
    """Take a program away."""
    if gone.pin:
        unpin(FOLDER, gone)
        return
    index = host.index.get(gone.device)
    if index is not None:
        _tell(host, traffic_control.delete_filter(_filter(index, gone.hook)))
        marker = FOLDER / CLSACT / str(index)
        hooks = (traffic_control.INGRESS, traffic_control.EGRESS)
        if marker.is_dir() and not any(traffic_control.dump_filters(host.netlink, index, each) for each in hooks):
            _tell(host, traffic_control.delete_clsact(index))
            marker.rmdir()


def forget_gone(host: Host, everything: bool) -> None:
    """Take away what says that clsact is ours, where the interface has gone, or where we leave it to others."""
    for marker in entries(FOLDER / CLSACT):
        if everything or int(marker.name) not in host.names:
            marker.rmdir()


def forget_loose(folder: Path) -> None:
    """Take away the pins below a folder whose links hold on to no interface any more."""
    for pin in entries(folder / LINKS):
        told = holding(pin)
        if told and not told.ifindex:
            pin.unlink()


def holding(pin: Path) -> programs.LinkInfo | None:
    """What a pinned link holds on to; None when it is no link of tcx."""
    with syscall.pinned(str(pin)) as handle:
        return programs.link_info(handle)


def unpin(folder: Path, gone: Attachment) -> None:
    """Take a link away that is pinned below a folder."""
    pin = folder / LINKS / gone.pin
    told = holding(pin) if pin.exists() else None
    # One that held on to nothing has made room for another by now.
    if told and (gone.device or not told.ifindex):
        pin.unlink()


def link(
    pin: Path,
    program: syscall.Handle,
    index: int,
    hook: int,
    place: Callable[[], int],
    stays: Callable[[programs.LinkInfo], bool] = lambda _told: True,
) -> None:
    """Put a program before an interface by a link that is pinned, in the place of the one that is there.

    :param place: asked for where there is none yet
    :param stays: whether one that is there is in its place
    """
    pin.parent.mkdir(exist_ok=True, mode=0o700)
    if pin.exists():
        told = holding(pin)
        if told and (told.ifindex, told.hook) == (index, hook) and stays(told):
            with syscall.pinned(str(pin)) as held:
                programs.exchange(held, program)
            return
        pin.unlink()
    with programs.attach(program, index, hook, place()) as made:
        syscall.pin(made, str(pin))


def _place(index: int, hook: int) -> int:
    """Behind what sends requests to services on, whose backends policies are about; else the first of all."""
    if hook == programs.TCX_INGRESS:
        for number in programs.attached(index, hook):
            if programs.name_of(number) == TRANSLATING:
                return number
    return programs.FIRST


def _filter(index: int, hook: str) -> traffic_control.Filter:
    return traffic_control.Filter(index, HOOKS[hook][1], PRIORITY, HANDLE, "bpf", NAME + hook, 0)


def _ours(found: traffic_control.Filter, hook: str) -> bool:
    return found._replace(program=0) == _filter(found.index, hook)


def _tell(host: Host, message: bytes) -> None:
    for _position, error in host.netlink.batch([message]):
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise NetlinkError(error.errno or errno.EIO, error.extack)
