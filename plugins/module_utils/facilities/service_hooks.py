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
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import Attachment, holding
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import LINKS, NAME, entries
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_pins import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

# What the host gets from an interface the pod sends; and at which end of the row the program is.
HOOKS = {"requests": (programs.TCX_INGRESS, programs.FIRST), "replies": (programs.TCX_EGRESS, programs.LAST)}


def wish(device: str, hook: str, datapath: str, host: Host) -> Attachment:
    """An attachment as it will be read back."""
    return Attachment(device, hook, datapath, f"{host.index[device]}-{hook}")


def observe(known: Mapping[int, str], host: Host) -> Iterator[Attachment]:
    """All attachments of ours.

    :param known: which datapath a program belongs to, by its id
    """
    for pin in entries(FOLDER / LINKS):
        told = holding(pin)
        device = host.names.get(told.ifindex, "") if told else ""
        hook = pin.name.rpartition("-")[2]
        held = known.get(told.program, "none of ours") if told else ""
        if told and device and (told.hook != HOOKS[hook][0] or _is_misplaced(told, hook)):
            held = "the wrong place"
        yield Attachment(device, hook, held, pin.name)


def attach(wanted: Attachment, host: Host) -> None:
    """Put a program before an interface, in the place of the one that is there."""
    index, (hook, place) = host.index[wanted.device], HOOKS[wanted.hook]
    pin = FOLDER / LINKS / wanted.pin
    with syscall.pinned(str(FOLDER / wanted.datapath / wanted.hook)) as program:
        pin.parent.mkdir(exist_ok=True, mode=0o700)
        if pin.exists():
            told = holding(pin)
            if told and (told.ifindex, told.hook) == (index, hook) and not _is_misplaced(told, wanted.hook):
                with syscall.pinned(str(pin)) as link:
                    programs.exchange(link, program)
                return
            pin.unlink()
        with programs.attach(program, index, hook, place) as link:
            syscall.pin(link, str(pin))


def detach(gone: Attachment) -> None:
    """Take a program away."""
    pin = FOLDER / LINKS / gone.pin
    told = holding(pin) if pin.exists() else None
    # One that held on to nothing has made room for another by now.
    if told and (gone.device or not told.ifindex):
        pin.unlink()


def _is_misplaced(link: programs.LinkInfo, hook: str) -> bool:
    """Whether a program of policies is on the wrong side of this one."""
    there = programs.attached(link.ifindex, link.hook)
    if link.program not in there:
        return False
    place = there.index(link.program)
    beyond = there[:place] if HOOKS[hook][1] == programs.FIRST else there[place + 1 :]
    return any(programs.name_of(each) in (f"{NAME}sends", f"{NAME}receives") for each in beyond)
