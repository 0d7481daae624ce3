# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes everything of ours off a node, the kinds in the reverse of the order in which they were set up."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.cni import record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import NEXTHOPS, ROUTES
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.policy import told as told_pods
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import tunnel_filter
from ansible_collections.podnet.fabric.plugins.module_utils.service import told as told_services

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def purge(
    host: Host, check: bool, dataplanes: Sequence[str] | None = None, replaced: Sequence[str] = ()
) -> list[tuple[Kind, Result]]:
    """Reconcile every kind to nothing; what is in the way anywhere is reported before anything is changed.

    :param dataplanes: only these kinds and their filters, where packets go another way by now
    :param replaced: prefixes to which another dataplane has routes by then; see foretold
    :raises Conflict: of all kinds together
    """
    declarations = Declarations()
    if dataplanes is None:
        host.leaving = frozenset(_going_with_pods())
    going = [(kind, _left(kind, declarations, dataplanes)) for kind in KINDS]
    planned: list[tuple[Kind, Items, Result]] = []
    conflicts: list[str] = []
    for kind, left in going:
        if left is None:
            continue
        try:
            planned.append((kind, left, reconcile(kind, left, host, declarations, check=True)))
        except Conflict as error:
            conflicts += error.conflicts
    if conflicts:
        raise Conflict(conflicts)
    if check:
        return [(kind, foretold(result, replaced)) for kind, _left_over, result in planned]
    done = [(kind, reconcile(kind, left, host, declarations)) for kind, left, result in planned if result.changed]
    if dataplanes is None:
        told_pods.RECORDS.forget_all()
        told_services.RECORDS.forget_all()
        _remove_run()
    return done


def foretold(result: Result, replaced: Sequence[str]) -> Result:
    """What a removal will do once the routes to these prefixes, and the nexthop objects behind them, are another
    dataplane's, who replaces both in place."""
    prefixes = {(prefix.address, prefix.prefixlen) for prefix in map(declared_network, replaced)}
    routes = result.before.get(ROUTES.name, {})
    taken = {key for key, route in routes.items() if (route.dst, route.prefixlen) in prefixes}
    if not taken:
        return result
    behind = {routes[key].nhid for key in taken} - {route.nhid for key, route in routes.items() if key not in taken}
    away: dict[str, set[Hashable]] = {ROUTES.name: taken, NEXTHOPS.name: behind}
    before = {
        name: {key: obj for key, obj in objects.items() if key not in away.get(name, ())}
        for name, objects in result.before.items()
    }
    gone = {id(obj) for name, keys in away.items() for key, obj in result.before.get(name, {}).items() if key in keys}
    operations = [operation for operation in result.operations if id(operation.before) not in gone]
    changed = bool(operations) or result.declaration[0] != result.declaration[1]
    return result._replace(changed=changed, before=before, operations=operations)


def _left(kind: Kind, declarations: Declarations, dataplanes: Sequence[str] | None) -> Items | None:
    """What stays declared of a kind; None for a kind that is not touched."""
    if dataplanes is None or kind.name in dataplanes:
        return {}
    if kind.name == tunnel_filter.KIND.name:
        return {name: item for name, item in declarations.read(kind.name).items() if name not in dataplanes}
    return None


def _remove_run() -> None:
    try:
        shutil.rmtree(RUN)
    except OSError as error:
        raise PodnetError(f"{error.filename}: {error.strerror}") from error


def _going_with_pods() -> Iterator[str]:
    """The host's ends of our pods' interfaces, and the pods' addresses, out of the results of their attachments."""
    for entry in record.read_all():
        result = entry.result or {}
        yield from (interface["name"] for interface in result.get("interfaces", ()) if not interface.get("sandbox"))
        yield from (ip["address"].partition("/")[0] for ip in result.get("ips", ()))
