# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our programs at the hooks of interfaces: by tcx and links that are pinned, else by clsact (ebpf_filters.py).

A link's pin is called ``links/<index of the interface>-<hook>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_filters
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_filters import Place
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import (
    FOLDER,
    LINKS,
    NAME,
    entries,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.clsact_numbers import EGRESS, INGRESS, JUDGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

# What the host gets from an interface the pod sends.
HOOKS = {
    "sends": Place(programs.TCX_INGRESS, INGRESS, JUDGES),
    "receives": Place(programs.TCX_EGRESS, EGRESS, JUDGES),
}
TRANSLATING = NAME + "requests"
PASSING = NAME + "forwards"
"""The programs of services at what a pod sends (service_hooks.py)."""


class Attachment(NamedTuple):
    """A program at a hook of an interface: without a ``pin`` by a filter. Without a ``device`` it is the pin of a link
    that holds on to nothing.
    """

    device: str
    hook: str
    datapath: str
    pin: str

    def key(self) -> tuple[str, ...]:
        """Under which name it is compared."""
        return ("attachment", self.device or f"none ({self.pin})", self.hook, *(() if self.pin else ("clsact",)))


def wishes(at: Iterable[tuple[str, str]], datapath: str, host: Host) -> list[Attachment]:
    """Attachments as they will be read back.

    :param at: interfaces and hooks
    """
    filtered, index = ebpf_filters.chosen(host), host.index
    return [
        Attachment(device, hook, datapath, "" if device in filtered else f"{index[device]}-{hook}")
        for device, hook in at
    ]


def observe(known: Mapping[int, str], host: Host) -> Iterator[Attachment]:
    """All attachments of ours.

    :param known: which datapath a program belongs to, by its id
    """
    yield from links(FOLDER, known, host, lambda told, hook: "the wrong hook" if told.hook != HOOKS[hook].tcx else "")
    yield from filters(HOOKS, known, host)


def filters(places: Mapping[str, Place], known: Mapping[int, str], host: Host) -> Iterator[Attachment]:
    """The attachments that are filters."""
    for device, hook, program in ebpf_filters.observe(places, host):
        yield Attachment(device, hook, known.get(program, "none of ours"), "")


def links(
    folder: Path, known: Mapping[int, str], host: Host, misfit: Callable[[programs.LinkInfo, str], str]
) -> Iterator[Attachment]:
    """The attachments whose links are pinned below a folder.

    Pods come and go all the time: the link of an interface that has gone is no attachment, and its pin goes with the
    next change (``forget_loose``), or with the last program.

    :param misfit: what is wrong about a link with the name of a hook, if anything is
    """
    names = host.names
    for pin in entries(folder / LINKS):
        told = holding(pin)
        if known and told and not told.ifindex:
            continue
        device = names.get(told.ifindex, "") if told else ""
        hook = pin.name.rpartition("-")[2]
        held = known.get(told.program, "none of ours") if told else ""
        yield Attachment(device, hook, (told and misfit(told, hook)) or held, pin.name)


def attach(wanted: Attachment, host: Host) -> None:
    """Put a program before an interface, in the place of the one that is there."""
    index, place = host.index[wanted.device], HOOKS[wanted.hook]
    with syscall.pinned(str(FOLDER / wanted.datapath / wanted.hook)) as program:
        if wanted.pin:
            link(FOLDER / LINKS / wanted.pin, program, index, place.tcx, lambda: _place(index, place.tcx))
        else:
            ebpf_filters.attach(wanted.device, wanted.hook, place, program, host)


def detach(gone: Attachment, host: Host) -> None:
    """Take a program away."""
    if gone.pin:
        unpin(FOLDER, gone)
    else:
        ebpf_filters.detach(gone.device, gone.hook, HOOKS[gone.hook], host)


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
