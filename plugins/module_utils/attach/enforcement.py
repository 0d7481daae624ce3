# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a node's policies in force as the module policy does: from its declaration, and for the pods that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.attach import installed, record, table, tabulation
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import flows, service_hooks
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import FLOWS
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.bridged import ports
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import EBPF_NAME
from ansible_collections.podnet.fabric.plugins.module_utils.policy import known, told
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND, PolicyKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items


def enforce() -> bool:
    """Reconcile the node's policies; whether anything on the node has changed. The caller holds the node's lock.

    :raises PodnetError:
    """
    declarations = Declarations()
    items = declarations.read(KIND.name)
    with Host() as host:
        result = reconcile(KIND, items, host, declarations)
        for item in items.values():
            if item["backend"] == EBPF_NAME:
                # Its policies are about backends, so that a new pod is to be sent on where they judge.
                service_hooks.complete(ports(item["bridge"], host), host)
        _tabulate(items, KIND, host)
    declared = {(each["namespace"], each["name"]) for item in items.values() for each in item["endpoints"]}
    for whom, addresses in record.gone().items():
        if not addresses or whom not in declared:
            record.dig_up(*whom)
    record.tidy()
    return bool(result.operations)


def end_flows(addresses: Iterable[str]) -> None:
    """Have the kernel forget the flows of a pod that goes: who has its address next may not be spoken to by them.

    :raises PodnetError:
    """
    ends = {packed for packed in map(packed_ip, addresses) if packed is not None}
    operations = [
        Operation(FLOWS.name, DELETE, flow, None) for flow in flows.observe(ends, lambda _flow: True).values()
    ]
    if operations:
        with Host() as host:
            FLOWS.apply(operations, host)


def declared_anew(declarations: Declarations, kind: PolicyKind) -> None:
    """What follows when the policies are in force with all that is known of pods.

    The declaration has that now, whatever was told before. The chained plugin, where there is one, gets its table.

    :param kind: what has put them in force
    """
    told.RECORDS.forget_all()
    networks = declarations.read("cni_network")
    if any(map(installed.is_chained, networks.values())):
        with Host() as host:
            _tabulate(declarations.read(kind.name), kind, host)


def _tabulate(items: Items, kind: PolicyKind, host: Host) -> None:
    if len(items) != 1:
        # Several are there only when a run was killed.
        table.put_aside()
        return
    (item,) = items.values()
    made = tabulation.tabulated(item, kind.in_force(item, host))
    known.write(item["endpoints"])
    table.write(made)


def problem() -> str:
    """What keeps policies from being put in force, as far as can be told without trying; empty for nothing."""
    try:
        Declarations().read(KIND.name)
    except PodnetError as error:
        return str(error)
    return ""
