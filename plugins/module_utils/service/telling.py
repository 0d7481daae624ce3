# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a node of services, one by one, that are new, other or gone since all were declared.

Where that is some elements of what is there (packetfilter/service_alone.py), nothing else is read or written; all else
is a reconcile, as a run of the module service.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import (
    MALFORMED,
    DeclarationError,
    Finding,
    InvalidInput,
)
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_words import text_of
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import ServiceKind
from ansible_collections.podnet.fabric.plugins.module_utils.service import documents, health, known, single, told
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    FORWARD,
    Answer,
    Table,
    compile_services,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.inspection import inspect_services
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import UNCHANGED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Name, Told


_NUMBER = re.compile(r"\[(\d+)\]")


def tell(given: Told, declarations: Declarations, check: bool = False, asked: Collection[str] | None = None) -> Outcome:
    """Tell of services. The caller holds the node's lock.

    :param given: as service/told.py has them; None for one that has gone
    :param declarations: the node's
    :param asked: the nodes of which all pods are told, where they are not all nodes
    :param check: say what would come about
    :raises PodnetError:
    """
    if not declarations.path("service").exists():
        return UNCHANGED
    try:
        return _quickly(given, declarations, check, asked)
    except single.Unforeseen:
        return _thoroughly(given, declarations, check, asked)


def _quickly(given: Told, declarations: Declarations, check: bool, asked: Collection[str] | None) -> Outcome:
    """:raises single.Unforeseen:"""
    index = known.read(declarations)
    if index is None:
        raise single.Unforeseen
    datapath = single.datapath_of(index.about)
    since: Told = {}
    for whose in given:
        since.update(told.RECORDS.read(whose))
    if asked is not None:
        # The pods of the other nodes are in what was told, or in the declaration, which is not read here.
        if since.keys() != given.keys():
            raise single.Unforeseen
        given = {whose: told.with_others(each, since[whose], asked) for whose, each in given.items()}
    steps: dict[Name, single.Step] = {}
    for whose, service in given.items():
        had, has = (single.declared(table, index.about) for table in single.tables(whose, service, since, index.about))
        if had.table != has.table:
            steps[whose] = single.step_between(had, has, index, datapath)
            index = steps[whose].known
    if not steps:
        return UNCHANGED
    before, after = (
        _shown([each.table for each in end]) for end in zip(*((step.before, step.after) for step in steps.values()))
    )
    outcome = Outcome(True, before, after, False)
    if check:
        return outcome
    _write({whose: given[whose] for whose in steps})
    try:
        took = all(single.carry_out(step, datapath) for step in steps.values())
    except (NetlinkError, OSError):
        # The packet filter is not as it was left.
        took = False
    if took:
        known.save(index, declarations)
    else:
        now = told.RECORDS.read_all()
        others = {whose: each for whose, each in now.items() if whose not in steps}
        _reconcile(declarations, {**others, **since}, now)
    return outcome._replace(reconciled=not took)


def _thoroughly(given: Told, declarations: Declarations, check: bool, asked: Collection[str] | None) -> Outcome:
    """By all that is known."""
    items = declarations.read("service")
    if not items:
        return UNCHANGED
    since = told.RECORDS.read_all()
    written = next(iter(items.values()))
    item = told.included(written, since)
    try:
        declared = {documents.key_of(document): document for document in item["services"]}
        before = {whose: _known(whose, item, declared) for whose in given}
    except MALFORMED as error:
        raise DeclarationError(f"the declaration holds no Services ({error}); run the playbook again") from error
    given = {whose: told.with_others(each, before[whose], asked) for whose, each in given.items()}
    differ = {whose: service for whose, service in given.items() if service != before[whose]}
    _get_on(told.included(item, differ))
    ends = [_shown(_tables(each, item["node"])) for each in ({whose: before[whose] for whose in differ}, differ)]
    changed = _reconcile(declarations, since, {**since, **differ}, check, partial(_write, differ))
    if not check:
        lasting = declared.keys() | told.of(written).keys()
        told.RECORDS.forget(whose for whose, each in differ.items() if each is None and whose not in lasting)
    return Outcome(changed or bool(differ), ends[0], ends[1], True)


def _write(given: Told) -> None:
    """Note down what is told now."""
    known.put_aside()
    told.RECORDS.write(given)


def _known(whose: Name, item: Mapping[str, Any], declared: Mapping[Name, Any]) -> dict[str, Any] | None:
    """A service as it is by now; None where there is none."""
    since = told.of(item)
    if whose in since:
        return since[whose]
    return told.alone(declared[whose], item["slices"], item["endpoints"]) if whose in declared else None


def _get_on(item: Mapping[str, Any]) -> None:
    """:raises InvalidInput: two services have what only one may have"""
    services = told.documents_by_now(item)
    inspection = Inspection()
    inspect_services(inspection, "", services, services)

    def named(text: str) -> str:
        """With the service in the place of its number."""
        return _NUMBER.sub(lambda found: "/".join(documents.key_of(services[int(found[1])])), text)

    if inspection.findings:
        raise InvalidInput([Finding(named(each.path), each.found, named(each.wanted)) for each in inspection.findings])


def _tables(services: Told, node: str) -> list[Table]:
    """What services come to, by what is known of dead backends."""
    out = health.out(health.read())
    return [
        compile_services(documents.services([each["document"]]), told.world_of(each), node, out)
        for each in services.values()
        if each is not None
    ]


def _reconcile(
    declarations: Declarations,
    before: Told,
    after: Told,
    check: bool = False,
    declared: Callable[[], None] | None = None,
) -> bool:
    """Reconcile, and note down what all services come to; whether anything on the node has changed.

    :param before: what was told until now
    :param after: what is told by now
    :param declared: see reconcile
    """
    kind = ServiceKind(since=lambda: after, before=lambda: before)
    with Host() as host:
        result = reconcile(kind, declarations.read(kind.name), host, declarations, check, declared)
    if not check:
        note(kind, declarations)
    return bool(result.operations)


def declared_all() -> None:
    """What follows when all services are declared anew: what was told before counts no more."""
    if told.RECORDS.folder.is_dir():
        known.put_aside()
        told.RECORDS.forget_all()


def after_all(declarations: Declarations, kind: ServiceKind) -> None:
    """What follows when they are in force.

    :param kind: what has put them in force
    """
    if known.read(declarations) is None:
        note(kind, declarations)


def note(kind: ServiceKind, declarations: Declarations) -> None:
    """Note down what services come to, for who is told of one.

    :param kind: what has put them in force
    """
    found = kind.in_force()
    if found is None or found[0]["backend"] not in single.BACKENDS:
        known.forget()
        return
    known.put_aside()
    item, compiled, counts = found
    about = {each: item[each] for each in ("node", "backend", "blocks", "pods", "ranges")}
    about.update({each: item.get(each, False) for each in ("programs", "bypass")})
    known.write({**about, "counts": counts}, compiled.table, declarations)


def _shown(tables: Collection[Table]) -> list[dict[str, Any]]:
    """What services come to, frontend by frontend."""
    return [line for table in tables for line in _lines(table)]


def _lines(table: Table) -> Iterator[dict[str, Any]]:
    for frontend, handling in sorted(table.frontends.items(), key=lambda each: (each[0].family, str(each[0]))):
        family = frontend.family
        yield {
            "service": handling.service.partition(":")[0],
            "family": family,
            "address": "node" if frontend.address is None else text_of(family, frontend.address),
            "protocol": frontend.protocol,
            "port": frontend.port,
            "inside": _answer(family, handling.inside),
            "outside": _answer(family, handling.outside),
        }


def _answer(family: int, answer: Answer) -> list[str]:
    """Where a connection is sent, or what becomes of it."""
    if answer.verdict != FORWARD:
        return [answer.verdict]
    return [health.text((family, each)) for each in answer.backends]
