# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the BPF programs at network devices, by tcx (Linux 6.6) or clsact, and of ours at control groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import cgroups, programs, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import entries
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_sockets import SOCKETS
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import traffic_control

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink


def attached(indexes: Iterable[int], nl: Netlink) -> list[tuple[int, str]]:
    """Interface index and name of each program on these interfaces; empty where the kernel or the user cannot tell."""
    found = []
    with_clsact = traffic_control.clsact_devices(nl)
    for index in indexes:
        for hook in traffic_control.HOOKS if index in with_clsact else ():
            numbers = [each.program for each in traffic_control.dump_filters(nl, index, hook) if each.program]
            found += [(index, name) for name in map(_name, numbers) if name]
        for hook in (programs.TCX_INGRESS, programs.TCX_EGRESS):
            found += [(index, name) for name in _names(index, hook) if name]
    return found


def at_sockets() -> list[str]:
    """The names of our programs that the node's own sockets meet as they connect."""
    found = []
    try:
        for pin in entries(SOCKETS):
            with syscall.pinned(str(pin)) as link:
                told = cgroups.link_info(link)
            if told and told.group:
                found.append(_name(told.program))
    except (BpfError, OSError):  # they have gone, or are none of the user's business
        return []
    return [name for name in found if name]


def _names(index: int, hook: int) -> list[str]:
    try:
        numbers = programs.attached(index, hook)
    except BpfError:
        return []
    return [_name(number) for number in numbers]


def _name(number: int) -> str:
    try:
        with programs.by_id(number) as program:
            return programs.program_info(program).name
    except BpfError:  # it has gone
        return ""
