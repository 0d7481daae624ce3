# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of services at the interfaces of pods, by tcx and links that are pinned (Linux 6.6).

A link's pin is called ``links/<index of the interface>-<program>``. Policies see backends: what comes out of a pod is
sent on first of all and judged after that, what goes into it is judged before it gets the service's address. So
programs of policies come behind ``requests`` (ebpf_hooks.py), and ``replies`` is the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import (
    Attachment,
    holding,
    link,
    links,
    unpin,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import LINKS, NAME
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import (
    FOLDER,
    datapaths,
    passes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

# What the host gets from an interface the pod sends; and at which end of the row the program is. What nobody would turn
# back is not sent on: replies come first, and go last.
AT_PODS = {"replies": (programs.TCX_EGRESS, programs.LAST), "requests": (programs.TCX_INGRESS, programs.FIRST)}
# Past the host goes what all others have let through: out of pods, and from the ways to other nodes.
HOOKS = {
    **AT_PODS,
    "arrives": (programs.TCX_INGRESS, programs.LAST),
    "forwards": (programs.TCX_INGRESS, programs.LAST),
}


def wish(device: str, hook: str, datapath: str, host: Host) -> Attachment:
    """An attachment as it will be read back."""
    return Attachment(device, hook, datapath, f"{host.index[device]}-{hook}")


def observe(known: Mapping[int, str], host: Host) -> Iterator[Attachment]:
    """All attachments of ours.

    :param known: which datapath a program belongs to, by its id
    """

    def misfit(told: programs.LinkInfo, hook: str) -> str:
        wrong = told.ifindex in host.names and (told.hook != HOOKS[hook][0] or _is_misplaced(told, hook))
        return "the wrong place" if wrong else ""

    return links(FOLDER, known, host, misfit)


def attach(wanted: Attachment, host: Host) -> None:
    """Put a program before an interface, in the place of the one that is there."""
    index, (hook, place) = host.index[wanted.device], HOOKS[wanted.hook]
    with syscall.pinned(str(FOLDER / wanted.datapath / wanted.hook)) as program:
        pin = FOLDER / LINKS / wanted.pin
        link(pin, program, index, hook, lambda: place, lambda told: not _is_misplaced(told, wanted.hook))


def complete(devices: Iterable[str], host: Host) -> None:
    """Put the programs that stand on the node before those of these interfaces that have none yet."""
    for folder in datapaths()[:1]:
        for device in devices:
            for hook in (*AT_PODS, *(["forwards"] * passes(folder))):
                wanted = wish(device, hook, folder.name, host)
                pin = FOLDER / LINKS / wanted.pin
                told = holding(pin) if pin.exists() else None
                if not (told and told.ifindex):
                    attach(wanted, host)


def detach(gone: Attachment) -> None:
    """Take a program away."""
    if gone.device:
        with syscall.pinned(str(FOLDER / LINKS / gone.pin)) as link_of_it:
            programs.detach(link_of_it)
    unpin(FOLDER, gone)


def _is_misplaced(told: programs.LinkInfo, hook: str) -> bool:
    """Whether a program of policies is on the wrong side of this one."""
    there = programs.attached(told.ifindex, told.hook)
    if told.program not in there:
        return False
    place = there.index(told.program)
    beyond = there[:place] if HOOKS[hook][1] == programs.FIRST else there[place + 1 :]
    return any(programs.name_of(each) in (f"{NAME}sends", f"{NAME}receives") for each in beyond)
