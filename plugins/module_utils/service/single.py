# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One service's change as elements of what is there, by what is known of all others (service/known.py)."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    nft_changing,
    service_datapaths,
    service_pins,
    service_tables,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import FLOWS
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_alone
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import (
    DEFAULT,
    EBPF_NAME,
    has_programs,
    passes_by,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import PROTOCOLS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_target import Declared
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import holds, of_networks
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import stray_datagrams
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents, known, told
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Handling, Table, compile_services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.service.known import Known
    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Name, Told

BACKENDS = (DEFAULT, EBPF_NAME)
"""Those that need no more than elements."""

_NONE = Table({}, frozenset())


class Step(NamedTuple):
    """Of one service: what it comes to before and after, and what is there of all services afterwards."""

    before: Declared
    after: Declared
    nftables: tuple[service_alone.Parts, service_alone.Parts]
    ebpf: Mapping[str, Any]
    known: Known


class Unforeseen(Exception):
    """It takes more than elements, or that is not known."""


def datapath_of(about: Mapping[str, Any]) -> str:
    """The name of eBPF's, empty for none.

    :raises Unforeseen:
    """
    if about["backend"] not in BACKENDS:
        raise Unforeseen
    found = service_pins.folders()
    if len(found) != has_programs(about) or found != service_pins.datapaths():
        raise Unforeseen
    return found[0].name if found else ""


def tables(
    whose: Name, service: Mapping[str, Any] | None, since: Told, about: Mapping[str, Any]
) -> tuple[Table, Table]:
    """What a service comes to before and after.

    :param since: what has been told of it before
    :raises Unforeseen:
    """
    try:
        before = table_of(since[whose], about["node"]) if whose in since else known.declared("/".join(whose))
    except (OSError, *MALFORMED) as error:
        raise Unforeseen from error
    after = table_of(service, about["node"])
    if _is_checked(service) or _is_checked(since.get(whose)):
        # What their checks have found is for who knows all.
        raise Unforeseen
    if any(each.sources is not None for table in (before, after) for each in table.frontends.values()):
        raise Unforeseen
    if not all(_keeps_clients(each, after.frontends.get(frontend)) for frontend, each in before.frontends.items()):
        raise Unforeseen
    return before, after


def _keeps_clients(before: Handling, after: Handling | None) -> bool:
    """Whether all clients that are remembered may come back to their backends."""
    if not before.affinity:
        return True
    if after is None or not after.affinity:
        return False
    ends = zip(before[1:3], after[1:3])
    return all(set(had.backends) <= set(has.backends) for had, has in ends)


def _is_checked(service: Mapping[str, Any] | None) -> bool:
    return service is not None and service["document"]["spec"].get("readinessProbe") is not None


def table_of(service: Mapping[str, Any] | None, node: str) -> Table:
    """What a service comes to by itself."""
    if service is None:
        return _NONE
    return compile_services(documents.services([service["document"]]), told.world_of(service), node)


def declared(table: Table, about: Mapping[str, Any]) -> Declared:
    """A table with the prefixes of the node's declaration."""
    return Declared(table, *(of_networks(about[each]) for each in ("blocks", "pods", "ranges")))


def step_between(before: Declared, after: Declared, index: Known, datapath: str) -> Step:
    """What it takes from one to the other, among all others.

    :raises Unforeseen:
    """
    bypass = passes_by(index.about)
    had = Counter(known.numbers_of(before.table, bypass))

    def others(number: int) -> int:
        return index.count(number) - had[number]

    def is_kept(sort: int, *of: Any) -> bool:
        return others(hash((sort, *of))) > 0

    # What only one may have is another's already; or what one said of it does not hold.
    only = {known.number_of_frontend(each) for each in after.table.frontends}
    only |= {hash((known.CLUSTER, *each)) for each in after.table.cluster}
    if any(others(number) > 0 for number in only) or any(others(number) < 0 for number in had):
        raise Unforeseen
    exchanged = index.exchanged(before.table, after.table)
    if exchanged.features.keys() != index.features.keys():
        raise Unforeseen
    kept = service_alone.Kept(*(partial(is_kept, sort) for sort in (known.HOST, known.LIST, known.MEMBERS)))
    if bypass and (_is_shared(before, after, is_kept) or _is_in_pods(before) or _is_in_pods(after)):
        raise Unforeseen
    ebpf: Mapping[str, Any] = {}
    if datapath:
        ebpf, more = service_alone.ebpf(before, after, bypass, kept)
        counts = {name: count + more[name] for name, count in index.about["counts"].items()}
        if not service_datapaths.fits(service_pins.FOLDER / datapath, max(counts.values())):
            raise Unforeseen
        exchanged = exchanged._replace(about={**index.about, "counts": counts})
    return Step(before, after, service_alone.nftables(before, after, kept), ebpf, exchanged)


def _is_shared(before: Declared, after: Declared, is_kept: Callable[..., bool]) -> bool:
    """Whether others lead to one of the backends, too: what goes past the host is another's matter then."""
    for declared in (before, after):
        for frontend, handling in declared.table.frontends.items():
            protocol, family = PROTOCOLS[frontend.protocol], frontend.family
            if is_kept(known.LIST, family, handling.inside.backends):
                return True
            if any(is_kept(known.END, family, protocol, each) for each in handling.inside.backends):
                return True
    return False


def _is_in_pods(declared: Declared) -> bool:
    """Whether one of the addresses might be taken for a pod's (packetfilter/service_bypass.py)."""
    return any(
        holds(declared.pods.get(each.family, ()), each.address)
        and not holds(declared.ranges.get(each.family, ()), each.address)
        for each in declared.table.frontends
        if each.address is not None
    )


def carry_out(step: Step, datapath: str) -> bool:
    """Whether the packet filter has what it should, and nothing leads where nobody is.

    :raises NetlinkError, OSError:
    """
    if not nft_changing.change_some(*step.nftables):
        return False
    if datapath and not service_tables.put_some(datapath, step.ebpf):
        return False
    if any(each.protocol == "udp" for end in step[:2] for each in end.table.frontends):
        with Host() as host:
            stray = stray_datagrams(step.after.table, step.before.table, host)
            FLOWS.apply([Operation(FLOWS.name, DELETE, flow, None) for flow in stray.values()], host)
    return True
