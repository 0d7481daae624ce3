# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that the kernel tracks and that may not be: they are forgotten, so that the rules judge what comes of them.

There is nothing to declare: a flow is in a target only as one that has to go.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import (
    Entry,
    dump_entries,
    encode_deletion,
    open_netfilter,
)
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Reference, line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

IPPROTO_UDP = 17
PROTOCOLS = {6: "tcp", IPPROTO_UDP: "udp", 132: "sctp"}
"""IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP (linux/in.h), which have ports."""


class TrackedFlow(NamedTuple):
    """A flow from its source to where it really goes, after NAT; addresses packed. ``entry`` is where it is known."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    protocol: str
    entry: Any


def observe(addresses: Collection[bytes], unwanted: Callable[[TrackedFlow], bool]) -> dict[Hashable, TrackedFlow]:
    """The flows of which a judge says that they may not be.

    :param addresses: ends, packed, of which at least one has to be an end of a flow for the judge to be asked
    """
    with open_netfilter() as nl:
        found = (
            _flow(entry)
            for entry in dump_entries(nl)
            if entry.original.source in addresses or entry.reply.source in addresses
        )
        return {(flow.entry.key, flow.entry.id): flow for flow in found if unwanted(flow)}


def observe_datagrams(unwanted: Callable[[Entry], bool]) -> dict[Hashable, TrackedFlow]:
    """The UDP flows of which a judge says that they may not be."""
    with open_netfilter() as nl:
        found = [entry for entry in dump_entries(nl) if entry.original.protocol == IPPROTO_UDP and unwanted(entry)]
    return {(entry.key, entry.id): _flow(entry) for entry in found}


def _flow(entry: Entry) -> TrackedFlow:
    original, reply = entry.original, entry.reply
    protocol = PROTOCOLS.get(original.protocol, str(original.protocol))
    return TrackedFlow(original.source, original.source_port, reply.source, reply.source_port, protocol, entry)


class FlowFacility:
    """Makes the kernel forget flows."""

    name = "flows"
    deletes_first = False

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def describe(self, obj: TrackedFlow) -> dict[str, Any]:
        ports = obj.protocol in PROTOCOLS.values()
        return {
            "flow": f"{obj.protocol} {ip_text(obj.source)}",
            "sport": obj.source_port if ports else None,
            "to": ip_text(obj.destination),
            "dport": obj.destination_port if ports else None,
        }

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        with open_netfilter() as nl:
            failures = nl.batch([encode_deletion(operation.before.entry) for operation in operations])
        failed = [
            f"{self.name}: delete {line(self, operations[position].before)}: {error}"
            for position, error in failures
            if error.errno != errno.ENOENT
        ]
        if failed:
            raise ApplyError(failed)


FLOWS = FlowFacility()
