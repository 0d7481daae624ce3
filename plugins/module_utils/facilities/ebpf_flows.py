# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that the programs before pods remember and that may not be: they are marked as denied.

The programs judge such a flow by themselves at its next packet, and what they say counts. So a mark changes nothing but
what is told: before a change which flows it would end, and after it that there are none left.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_pins import FLOWS, GENERATION, datapaths
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import (
    PROTOCOLS,
    FlowFacility,
    TrackedFlow,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import HOOKS
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import INGRESS
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation

# struct flow_key of ebpf/packet.h, ports in the order of the network.
_KEY = struct.Struct("=16s16sHHBBBx")
# struct flow of ebpf/flows.h: until when it is one (ns, CLOCK_MONOTONIC), the guard, what was seen, and the generation.
_FLOW = struct.Struct("=QQII")
_NODE, _DENIED = 2, 0x20  # of table.h and lifetime.h


class Remembered(NamedTuple):
    """Where a flow is remembered: the datapath, the key there and what was told of it."""

    datapath: str
    key: bytes
    value: bytes


def observe(
    addresses: Collection[bytes], unwanted: Callable[[TrackedFlow, bool], bool], standing: Collection[str]
) -> dict[Hashable, TrackedFlow]:
    """The flows of which a judge says that they may not be.

    :param addresses: ends, packed, of which at least one has to be an end of a flow for the judge to be asked
    :param unwanted: is also told whether the pod in question is the receiver
    :param standing: datapaths whose table stands: what has been judged by that is not judged here
    """
    found: dict[Hashable, TrackedFlow] = {}
    now = time.monotonic_ns()
    for folder in datapaths():
        era = _era(folder) if folder.name in standing else None
        for key, value in _flows(folder):
            expires, guard, state, generation = _FLOW.unpack(value)
            # What a node sends to its own pods no policy is about.
            if expires <= now or guard == _NODE or state & _DENIED or generation == era:
                continue
            flow, hook = flow_of(key, Remembered(folder.name, key, value))
            if (flow.source in addresses or flow.destination in addresses) and unwanted(flow, hook == HOOKS[INGRESS]):
                found[folder.name, key] = flow
    return found


def _era(folder: Path) -> int | None:
    """The generation of the table; None where there is none, or while it is being changed."""
    if not (folder / GENERATION).exists():
        return None
    with syscall.pinned(str(folder / GENERATION)) as handle:
        era = int.from_bytes(maps.get(handle, bytes(4), 4) or b"", sys.byteorder)
    return None if era & 1 else era


def _flows(folder: Path) -> Iterable[tuple[bytes, bytes]]:
    with syscall.pinned(str(folder / FLOWS)) as handle:
        shape = maps.shape_of(handle)
        # Those of another version are not asked.
        if (shape.key_size, shape.value_size) != (_KEY.size, _FLOW.size):
            return ()
        return maps.columns(handle).pairs()


def flow_of(key: bytes, where: Remembered | None = None) -> tuple[TrackedFlow, int]:
    """The flow that the programs call so, and the hook; of an ICMP question the ports are its id."""
    source, destination, sport, dport, number, ipv6, hook = _KEY.unpack(key)
    size = 16 if ipv6 else 4
    ports = [socket.ntohs(each) for each in (sport, dport)]
    protocol = PROTOCOLS.get(number, str(number))
    return TrackedFlow(source[:size], ports[0], destination[:size], ports[1], protocol, where), hook


class RememberedFlowFacility(FlowFacility):
    """Marks flows as denied."""

    name = "ebpf_flows"

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failed = []
        # Where a datapath has gone, so have its flows.
        for folder in datapaths():
            mine = [operation for operation in operations if operation.before.entry.datapath == folder.name]
            failed += self._mark(folder, mine) if mine else []
        if failed:
            raise ApplyError(failed)

    def _mark(self, folder: Path, operations: Sequence[Operation]) -> list[str]:
        """Mark flows of a datapath; what went wrong."""
        failed = []
        with syscall.pinned(str(folder / FLOWS)) as handle:
            for operation in operations:
                where: Remembered = operation.before.entry
                expires, guard, state, generation = _FLOW.unpack(where.value)
                try:
                    maps.replace(handle, where.key, _FLOW.pack(expires, guard, state | _DENIED, generation))
                except BpfError as error:
                    if error.errno != errno.ENOENT:  # it has ended
                        failed.append(f"{self.name}: delete {line(self, operation.before)}: {error}")
        return failed


REMEMBERED_FLOWS = RememberedFlowFacility()
