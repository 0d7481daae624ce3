# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the policies of a node of pods that have come or gone on other nodes since they were declared.

New pods of which the packet filter needs some elements only are added as the chained plugin adds one of this node; all
else is a reconcile, as a run of the module policy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.attach import (
    datapath,
    elements,
    enforcement,
    ipsets,
    record,
    table,
    tabulation,
)
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.policy import known, told
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import in_words
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import UNCHANGED, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import Element
    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Name, Told

LOADED = (datapath, elements, ipsets)
"""What attach/table.py imports when it needs it, as ADD has no time for all; here that is before the lock is taken."""

COMPARED = ("namespace", "name", "node", "labels", "addresses", "ports")
"""What matters of a pod elsewhere."""


class _Difference(NamedTuple):
    """``come`` are pods that are new, or not as they were; ``before`` what was known of those that are not new.

    Of these some have gone; they are declared (``lost``), or were only told of (``untold``).
    """

    come: Mapping[Name, dict[str, Any]]
    before: Mapping[Name, dict[str, Any]]
    lost: Collection[Name]
    untold: Collection[Name]
    are_new: bool


def tell(
    come: Sequence[Mapping[str, Any]],
    gone: Collection[Name],
    node: str,
    asked: Collection[str] = (),
    check: bool = False,
) -> Outcome:
    """Tell of pods. The caller holds the node's lock.

    :param come: pods as policy/endpoints.py has them; those of this node are left to its own attachments
    :param gone: those that are not there any more
    :param node: this node
    :param asked: nodes of which ``come`` tells all pods
    :param check: say what would come about
    :raises PodnetError:
    """
    if not record.is_declared():
        return UNCHANGED
    pods = {(each["namespace"], each["name"]): _reduced(each) for each in come if each["node"] != node}
    others = set(asked) - {node}
    since = told.RECORDS.read_all()
    found = _by_index(pods, gone, others, since) or _by_declaration(pods, gone, others, node, since)
    if not found.come and not found.before:
        # Without a table nobody knows whether the last run came to an end.
        if check or table.read() is not None:
            return UNCHANGED
        return Outcome(enforcement.enforce(), [], [], True)
    quickly = found.are_new if check else found.are_new and _quickly(found.come)
    if not check and not quickly:
        _thoroughly(found)
    before, after = (list(each.values()) for each in (found.before, found.come))
    return Outcome(True, before, after, not quickly)


def _by_index(
    come: Mapping[Name, dict[str, Any]], gone: Collection[Name], asked: Collection[str], since: Told
) -> _Difference | None:
    """None unless nothing is known of any of these pods, and all that is known is there."""
    index = known.read()
    if index is None or any(index.has(*whose, ()) or whose in since for whose in gone):
        return None
    taken = {address for each in since.values() if each is not None for address in each["addresses"]}
    for whose, each in come.items():
        if whose in since or not taken.isdisjoint(each["addresses"]) or index.has(*whose, each["addresses"]):
            return None
    of_asked = {whose for whose, each in since.items() if each is not None and each["node"] in asked}
    if asked:
        of_asked |= known.of_nodes(asked) - since.keys()
    return _Difference(come, {}, (), (), True) if of_asked <= come.keys() else None


def _by_declaration(
    pods: Mapping[Name, dict[str, Any]], gone: Collection[Name], asked: Collection[str], node: str, since: Told
) -> _Difference:
    """By all that is known."""
    declared = [each for item in Declarations().read("policy").values() for each in item["endpoints"]]
    there = {
        (each["namespace"], each["name"]): _reduced(each)
        for each in told.overlaid(declared, since)
        if each["node"] != node
    }
    lost = {whose for whose, each in there.items() if whose in gone or each["node"] in asked} - pods.keys()
    come = {whose: each for whose, each in sorted(pods.items()) if there.get(whose) != each}
    before = {whose: there[whose] for whose in sorted(lost | come.keys()) if whose in there}
    taken = {address for each in there.values() for address in each["addresses"]}
    are_new = not before and all(taken.isdisjoint(each["addresses"]) for each in come.values())
    named = lost & {(each["namespace"], each["name"]) for each in declared}
    return _Difference(come, before, named, lost - named, are_new)


def _quickly(come: Mapping[Name, dict[str, Any]]) -> bool:
    """Tell of new pods by some elements; whether that was all there was to do, and went well."""
    found = table.read()
    made: list[Element] = []
    for endpoint in come.values():
        its = table.of_elsewhere(found, _as_attached(endpoint), in_words(tabulation.own_ports(endpoint)))
        if its is None:
            return False
        made += its
    remember = partial(told.RECORDS.write, come)
    if made:
        return table.carry_out(found, made, remember)
    remember()
    return True


def _thoroughly(found: _Difference) -> None:
    table.put_aside()
    told.RECORDS.write({**dict.fromkeys(found.lost), **found.come})
    told.RECORDS.forget(found.untold)
    enforcement.enforce()


def _reduced(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {key: endpoint[key] for key in COMPARED}


def _as_attached(endpoint: Mapping[str, Any]) -> record.Attached:
    names = endpoint["namespace"], endpoint["name"]
    return record.Attached("", "", "", "", *names, endpoint["labels"], endpoint["addresses"])
