# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that began before a policy which now denies them: those that the kernel tracks, and those of eBPF's programs.

What the node itself sends to its pods is not judged, nor what an address sends to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ebpf_flows, flows
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Flow

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import TrackedFlow
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.evaluation import Judge


def tracked(judges: Sequence[Judge], host: Host) -> Mapping[Hashable, TrackedFlow]:
    """Those that the kernel tracks."""
    own = {address.address for address in dump_addresses(host.netlink, host.names)}

    def unwanted(seen: TrackedFlow) -> bool:
        flow = _judged(seen)
        if flow.source == flow.destination:
            return False
        return not all(judge.may_leave(flow) and (seen.source in own or judge.may_arrive(flow)) for judge in judges)

    return flows.observe(_ends(judges), unwanted)


def remembered(judge: Judge, standing: Collection[str]) -> Mapping[Hashable, TrackedFlow]:
    """Those that programs remember, of each pod by itself.

    :param standing: datapaths whose table is as it should be
    """

    def unwanted(seen: TrackedFlow, arriving: bool) -> bool:
        flow = _judged(seen)
        return not (flow.source == flow.destination or (judge.may_arrive if arriving else judge.may_leave)(flow))

    return ebpf_flows.observe(_ends([judge]), unwanted, standing)


def _judged(seen: TrackedFlow) -> Flow:
    source, destination = (int.from_bytes(end, "big") for end in (seen.source, seen.destination))
    return Flow(4 if len(seen.source) == 4 else 6, source, destination, seen.protocol, seen.destination_port)


def _ends(judges: Iterable[Judge]) -> set[bytes]:
    return {
        address.to_bytes(4 if family == 4 else 16, "big") for judge in judges for family, address in judge.addresses
    }
