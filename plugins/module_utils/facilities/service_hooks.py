# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of services at the interfaces of pods, as those of policies (ebpf_hooks.py), but in Linux 6.6 and newer.

A link's pin is called ``links/<index of the interface>-<program>``. Policies see backends: what comes out of a pod is
sent on first of all and judged after that, what goes into it is judged before it gets the service's address. So
programs of policies come behind ``requests`` (ebpf_hooks.py), and ``replies`` is the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_filters
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_filters import Place
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import (
    Attachment,
    filters,
    link,
    links,
    unpin,
    wishes,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import LINKS, NAME
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import (
    FOLDER,
    datapaths,
    passes,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.clsact_numbers import (
    CONCLUDES,
    EGRESS,
    INGRESS,
    TRANSLATES,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

# What the host gets from an interface the pod sends. What nobody would turn back is not sent on: replies are the first
# to come, and the last to go.
AT_PODS = {
    "replies": Place(programs.TCX_EGRESS, EGRESS, CONCLUDES),
    "requests": Place(programs.TCX_INGRESS, INGRESS, TRANSLATES),
}
# Past the host goes what all others have let through: out of pods, and from the ways to other nodes.
HOOKS = {
    **AT_PODS,
    "arrives": Place(programs.TCX_INGRESS, INGRESS, CONCLUDES),
    "forwards": Place(programs.TCX_INGRESS, INGRESS, CONCLUDES),
}
ENDS = {TRANSLATES: programs.FIRST, CONCLUDES: programs.LAST}
"""At which end of the row a program with a priority is."""


def observe(known: Mapping[int, str], host: Host) -> Iterator[Attachment]:
    """All attachments of ours.

    :param known: which datapath a program belongs to, by its id
    """

    def misfit(told: programs.LinkInfo, hook: str) -> str:
        wrong = told.ifindex in host.names and (told.hook != HOOKS[hook].tcx or _is_misplaced(told, hook))
        return "the wrong place" if wrong else ""

    yield from links(FOLDER, known, host, misfit)
    yield from filters(HOOKS, known, host)


def attach(wanted: Attachment, host: Host) -> None:
    """Put a program before an interface, in the place of the one that is there."""
    index, place = host.index[wanted.device], HOOKS[wanted.hook]
    with syscall.pinned(str(FOLDER / wanted.datapath / wanted.hook)) as program:
        if not wanted.pin:
            ebpf_filters.attach(wanted.device, wanted.hook, place, program, host)
            return
        pin, end = FOLDER / LINKS / wanted.pin, ENDS[place.priority]
        link(pin, program, index, place.tcx, lambda: end, lambda told: not _is_misplaced(told, wanted.hook))


def complete(devices: Iterable[str], host: Host) -> None:
    """Put the programs that stand on the node before those of these interfaces that have none yet."""
    for folder in datapaths()[:1]:
        hooks = (*AT_PODS, *(["forwards"] * passes(folder)))
        there = {(each.device, each.hook) for each in observe({}, host)}
        at = [(device, hook) for device in devices for hook in hooks if (device, hook) not in there]
        for wanted in wishes(at, folder.name, host):
            attach(wanted, host)


def detach(gone: Attachment, host: Host) -> None:
    """Take a program away."""
    if not gone.pin:
        ebpf_filters.detach(gone.device, gone.hook, HOOKS[gone.hook], host)
        return
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
    beyond = there[:place] if ENDS[HOOKS[hook].priority] == programs.FIRST else there[place + 1 :]
    return any(programs.name_of(each) in (f"{NAME}sends", f"{NAME}receives") for each in beyond)
