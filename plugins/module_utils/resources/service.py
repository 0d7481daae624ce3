# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services on a node: where connections to their addresses and ports are sent."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, programs
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED, DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    service_datapaths,
    service_ebpf,
    service_sockets,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.flows import FLOWS, observe_datagrams
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.service_ebpf import SERVICE_EBPF
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_backends, service_bypass
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_ebpf as ebpf_renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.bridged import ports, unseen
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import (
    EBPF_NAME,
    chosen,
    has_programs,
    passes_by,
    sees_nothing,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_target import Declared
from ansible_collections.podnet.fabric.plugins.module_utils.policy import endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import of_networks
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents, health, told
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    NOBODY,
    Backend,
    Frontend,
    Handling,
    Table,
    World,
    compile_services,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import (
    inspect_services,
    require_addresses,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.slices import inspect_slices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import Entry
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Out
    from ansible_collections.podnet.fabric.plugins.module_utils.service.health import Health
    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Told

_UNTRANSLATED = (
    "service: this kernel has no tcx, so policies by eBPF see the address of a service that a pod connects to, not the "
    "backend's; Linux 6.6 has it, and policies by another packet filter do not need it"
)
_NO_SOCKETS = (
    "service: connect: there are no control groups of version 2 here that take programs, so {} sends on what the "
    "node's own processes connect to"
)
DEFAULTS: dict[str, Any] = {
    "programs": False,
    "bypass": False,
    "connect": False,
    "bridge": "podnet0",
    "flows": 131072,
}


class ServiceKind:
    """See the module's documentation for the parameters."""

    name = "service"
    # Pods find them when they are attached.
    rank = 62
    # Flows that lead where nobody is any more are forgotten after new ones lead elsewhere.
    # What eBPF does not do is done by nftables before it comes, and after it has gone.
    facilities: Sequence[Facility] = (*service_backends.FACILITIES, SERVICE_EBPF, FLOWS)

    def __init__(
        self,
        known: Health | None = None,
        since: Callable[[], Told] = told.RECORDS.read_all,
        before: Callable[[], Told] = told.RECORDS.read_all,
    ) -> None:
        """:param known: how the backends are; by default what is noted down
        :param since: what is known beyond the declaration; of who declares all anew, nothing
        :param before: what was, until this run
        """
        self._known = known
        self._since = since
        self._before = before
        self._included: list[tuple[dict[str, Any], Told, dict[str, Any]]] = []
        self._out: Out = NOBODY
        # A run asks twice, before and after its changes, with the same items.
        self._compiled: list[tuple[Mapping[str, Any], Declared]] = []
        self._asked: tuple[Declared, Items, bool] | None = None
        self._rendered: list[tuple[Declared, bool, ebpf_renderer.Elements]] = []

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        before = former or {"services": [], "endpoints": []}
        slices = params["slices"]
        services = inspect_services(inspection, "services", params["services"], before["services"])
        inspect_slices(inspection, "slices", slices)
        known = endpoints.inspect_endpoints(inspection, "endpoints", params["endpoints"], before["endpoints"])
        prefixes = {
            **{each: params[each] for each in ("pods", "ranges")},
            "blocks": params.get("blocks") or params["pods"],
        }
        for each, texts in prefixes.items():
            for position, text in enumerate(texts):
                inspection.network(f"{each}[{position}]", text)
        more = {each: params.get(each, default) for each, default in DEFAULTS.items()}
        inspection.integer("flows", more["flows"], 1, maps.MOST)
        if more["bypass"] and not has_programs({**params, **more, "backend": params.get("backend")}):
            inspection.refuse("bypass", "true", "say backend: ebpf or programs: true, or false here")
        inspection.conclude()
        require_addresses(inspection, services)
        return {
            "node": params["node"],
            "backend": chosen(params, former),
            **more,
            **{each: sorted(texts) for each, texts in prefixes.items()},
            "services": services,
            "slices": slices,
            "endpoints": sorted(
                known + endpoints.of_others(_pods_by_now(former), params.get("asked"), known),
                key=lambda each: (each["namespace"], each["name"]),
            ),
        }

    def target(self, items: Items, former: Items, host: Host) -> Target:
        items, formerly = self.by_now(items), self._before()
        if formerly:
            former = {name: told.included(item, formerly) for name, item in former.items()}
        known = health.read() if self._known is None else self._known
        if health.out(known) != self._out:
            self._compiled, self._out = [], health.out(known)
        self._compiled = [(item, self._made(item) or _declared(item, self._out)) for item in items.values()]
        declared = _merged([each for _item, each in self._compiled])
        own = frozenset(address.address for address in dump_addresses(host.netlink, host.names))
        wanted = {service_backends.packet_filter(item["backend"]): each for item, each in self._compiled}
        had = [service_backends.packet_filter(item["backend"]) for item in former.values()]
        target = service_backends.target(wanted, had, own)
        flows = (
            observe_datagrams(_Stray(declared.table, partial(_frontends, former), own))
            if self._datagrams(declared, former)
            else {}
        )
        families = {frontend.family for frontend in declared.table.frontends}
        conflicts = unseen(families, "answers from pods of this node would not come from the services that were asked")
        conflicts += (
            sees_nothing(host.declarations.read("policy"), items) if any(map(passes_by, items.values())) else []
        )
        at_pods = self._programs(host)
        gone = items.values() if self._out else ()
        unhealthy = [line for item in gone for line in health.sentences(*read_item(item), known)]
        return Target(
            {**target.current, **at_pods.current, FLOWS.name: flows},
            {**target.desired, **at_pods.desired, FLOWS.name: {}},
            [*target.conflicts, *at_pods.conflicts, *conflicts],
            [*target.notes, *at_pods.notes, *unhealthy],
        )

    def in_force(self) -> tuple[Mapping[str, Any], Declared, dict[str, int]] | None:
        """Of a run, what it has put in force: the item, what that means, and how many elements each map of eBPF has."""
        if len(self._compiled) != 1:
            return None
        ((item, declared),) = self._compiled
        elements = self._elements(declared, passes_by(item)) if has_programs(item) else {}
        return item, declared, {name: len(each) for name, each in elements.items()}

    def by_now(self, items: Items) -> Items:
        """Items with what has been told since, the same ones as long as nothing more is."""
        since = self._since()
        if not since:
            return items
        known = self._included
        self._included = [
            next((each for each in known if each[0] is item and each[1] == since), None)
            or (item, since, told.included(item, since))
            for item in items.values()
        ]
        return {name: each for name, (_item, _since, each) in zip(items, self._included)}

    def _datagrams(self, declared: Declared, former: Items) -> bool:
        """Whether there are or were services whose flows can go astray. To read the node's flows takes milliseconds."""
        known = self._asked
        if known is None or known[0] is not declared or known[1] is not former:
            is_there = any(frontend.protocol == "udp" for frontend in declared.table.frontends)
            known = self._asked = (declared, former, is_there or any(map(_has_datagrams, former.values())))
        return known[2]

    def _programs(self, host: Host) -> Target:
        """What eBPF does of it, where it does any."""
        for item, declared in self._compiled:
            if not has_programs(item) or not (declared.table.frontends or passes_by(item)):
                continue
            if item["backend"] != EBPF_NAME and not programs.has_tcx():
                return service_ebpf.part({}, host)._replace(notes=[_UNTRANSLATED])
            found = ports(item["bridge"], host)
            rest = service_backends.packet_filter(item["backend"])
            notes = [] if found else [f"service: nothing is on a bridge {item['bridge']}, so {rest} does it all"]
            connect = bool(item.get("connect"))
            if connect and service_sockets.root() is None:
                connect = False
                notes.append(_NO_SOCKETS.format(rest))
            bypass = None
            if passes_by(item):
                ways = service_bypass.ways(declared, item["bridge"], host)
                elements = service_bypass.render(declared, ways, item["bridge"], host)
                bypass = service_datapaths.Bypass(elements, ways)
            elements = self._elements(declared, bypass is not None)
            objects = service_datapaths.wanted(elements, found, item["flows"], host, bypass, connect)
            return service_ebpf.part(objects, host)._replace(notes=notes)
        return service_ebpf.part({}, host)

    def _elements(self, declared: Declared, bypass: bool) -> ebpf_renderer.Elements:
        if not (self._rendered and self._rendered[0][0] is declared and self._rendered[0][1] is bypass):
            rendered = ebpf_renderer.render(declared.table, declared.blocks, bypass)
            self._rendered = [(declared, bypass, rendered)]
        return self._rendered[0][2]

    def _made(self, item: Mapping[str, Any]) -> Declared | None:
        return next((each for known, each in self._compiled if known is item), None)


def stray_datagrams(table: Table, before: Table, host: Host) -> dict[Any, Any]:
    """The UDP flows of a service that is told alone which lead where nobody is any more, or past it."""
    own = frozenset(address.address for address in dump_addresses(host.netlink, host.names))
    return observe_datagrams(_Stray(table, lambda: before.frontends, own))


class _Stray:
    """Whether a flow goes where its service no longer has a backend, or past a service that has come since."""

    def __init__(self, table: Table, before: Callable[[], Mapping[Frontend, Handling]], own: frozenset[bytes]) -> None:
        """:param before: what was there, which is seldom asked for"""
        self._frontends, self._ask, self._own = table.frontends, before, own
        self._former: Mapping[Frontend, Handling] | None = None

    def __call__(self, entry: Entry) -> bool:
        original, reply = entry.original, entry.reply
        family = 4 if len(original.destination) == 4 else 6
        asked = Frontend(family, int.from_bytes(original.destination, "big"), "udp", original.destination_port)
        target = Backend(int.from_bytes(reply.source, "big"), reply.source_port)
        possible = [asked, asked._replace(address=None)] if original.destination in self._own else [asked]
        translated = target != (asked.address, asked.port)
        handling = next((self._frontends[each] for each in possible if each in self._frontends), None)
        if handling is None:
            return translated and any(each in self._before() for each in possible)
        allowed = {*handling.inside.backends, *handling.outside.backends}
        return target not in allowed and (translated or bool(allowed))

    def _before(self) -> Mapping[Frontend, Handling]:
        if self._former is None:
            self._former = self._ask()
        return self._former


def _frontends(items: Items) -> Mapping[Frontend, Handling]:
    """Those that items declare. What somebody has edited since counts for nothing."""
    with suppress(DeclarationError):
        return _merged([_declared(item, NOBODY) for item in items.values()]).table.frontends
    return {}


def _pods_by_now(former: dict[str, Any] | None) -> Mapping[str, Any] | None:
    """A declaration with the pods that services were told of since, for the nodes that are not asked anew."""
    return None if former is None else {"endpoints": told.pods_by_now(told.included(former))}


def read_item(item: Mapping[str, Any]) -> tuple[list[documents.Service], World]:
    """The services and backends that an item declares.

    :raises DeclarationError: somebody has edited it since
    """
    pods = [(entry["node"], endpoints.read(entry)) for entry in item["endpoints"]]
    others = {whose: told.world_of(each) for whose, each in told.of(item).items() if each is not None}
    return documents.services(told.documents_by_now(item)), World(pods, documents.slices(item["slices"]), others)


def _declared(item: Mapping[str, Any], out: Out) -> Declared:
    """:raises DeclarationError: somebody has edited it since."""
    table = compile_services(*read_item(item), item["node"], out)
    for text in (*item["blocks"], *item["pods"], *item["ranges"]):
        declared_network(text)
    return Declared(table, *(of_networks(item[each]) for each in ("blocks", "pods", "ranges")))


def _has_datagrams(item: Mapping[str, Any]) -> bool:
    """Whether a declaration has services with UDP ports, or is one that somebody has edited into something else."""
    try:
        ports = (port for document in told.documents_by_now(item) for port in document["spec"].get("ports") or ())
        return any(str(port.get("protocol") or "TCP").lower() == "udp" for port in ports)
    except MALFORMED:
        return True


def _merged(several: Sequence[Declared]) -> Declared:
    """One declaration's, or none; the module takes others back."""
    return several[0] if several else Declared(Table({}, frozenset()), {}, {}, {})


KIND = ServiceKind()
