# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a resource meets AnsibleModule."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, node_lock
from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput, PodnetError, in_words
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result, lines, present, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Outcome

Given = TypeVar("Given")

LONG = 5.0
"""Seconds of waiting for another run that the operator is told of."""

DATAPLANE_OPTIONS: dict[str, Any] = {
    "local": {"type": "str"},
    "second_local": {"type": "str"},
    "underlay": {"type": "str", "default": "auto"},
    "mtu": {"type": "int"},
    "peers": {"type": "raw", "default": []},
    "nexthop_objects": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "standby": {"type": "bool", "default": False},
    "exclusive": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
"""The options of doc_fragments/dataplane.py."""


def run_dataplane(module: AnsibleModule, kind: Kind, name: str) -> None:
    """Run for a module with the options of all dataplanes."""
    wanted = module.params if module.params["state"] == "present" else None
    run(module, kind, name, wanted, exclusive=module.params["exclusive"])


def run(
    module: AnsibleModule,
    kind: Kind,
    name: str,
    params: Mapping[str, Any] | None,
    force: bool = False,
    exclusive: bool = False,
    afterwards: Callable[[Declarations], None] | None = None,
    declared: Callable[[], None] | None = None,
) -> None:
    """Declare one item of a kind (or, without parameters, take it back), reconcile the kind and leave the module.

    :param name: the item's name in the declaration
    :param params: the module's parameters for it; None for ``state: absent``
    :param force: see Host
    :param exclusive: take the kind's other items back
    :param declared: see reconcile
    :param afterwards: what is worked out, under the lock, of what has come about
    """
    try:
        require_root()
        with in_turn(module, module.check_mode), Host(force) as host:
            declarations = Declarations()
            items = declarations.read(kind.name)
            former = items.pop(name, None)
            if params is not None:
                items = {**({} if exclusive else items), name: kind.normalise(name, params, former, host)}
            result = reconcile(kind, items, host, declarations, module.check_mode, declared)
            if afterwards is not None and not module.check_mode:
                afterwards(declarations)
            answer = report(kind, result, module._diff)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        for note in result.notes:
            module.warn(note)
        module.exit_json(**answer)


def run_telling(module: AnsibleModule, inspect: Callable[[], Given], tell: Callable[[Given], Outcome]) -> None:
    """Tell the node of single things and leave the module, in diff mode with a line for each.

    :param inspect: gives what is told
    :param tell: is called under the node's lock
    """
    try:
        require_root()
        given = inspect()
        with in_turn(module, module.check_mode):
            outcome = tell(given)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        answer = outcome._asdict()
        if module._diff:
            answer["diff"] = {end: _told_lines(answer[end]) for end in ("before", "after")}
        module.exit_json(**answer)


def _told_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(each, sort_keys=True)}\n" for each in entries)


@contextmanager
def in_turn(module: AnsibleModule, check: bool) -> Iterator[None]:
    """The node's lock for a module, which tells when it had to wait long for another run."""
    with node_lock(check) as waited:
        if waited >= LONG:
            module.warn(f"waited {waited:.0f} s for another run of podnet.fabric on this node")
        yield


def require_root() -> None:
    """:raises PodnetError: not root."""
    if os.geteuid() != 0:
        raise PodnetError(
            f"running as user id {os.geteuid()}; the kernel's network is changed by root only: set become: true"
        )


def refuse(module: AnsibleModule, error: PodnetError | OSError) -> None:
    """Fail with every error at once, also as a list."""
    text = in_words(error) if isinstance(error, OSError) else str(error)
    errors = [str(finding) for finding in error.findings] if isinstance(error, InvalidInput) else text.splitlines()
    module.fail_json(msg=text, errors=errors)


def report(kind: Kind, result: Result, diff: bool) -> dict[str, Any]:
    """A module's result: changed, before, after, operations (facility to verb to count) and, in diff mode, diff."""
    before = present(kind.facilities, result.before)
    operations: dict[str, dict[str, int]] = {}
    for operation in result.operations:
        counts = operations.setdefault(operation.facility, {})
        counts[operation.verb] = counts.get(operation.verb, 0) + 1
    answer: dict[str, Any] = {"changed": result.changed, "before": before, "operations": operations}
    answer["after"] = present(kind.facilities, result.after) if result.operations else before
    if diff and result.changed:
        answer["diff"] = differences(kind, result)
    return answer


def differences(kind: Kind, result: Result) -> list[dict[str, str]]:
    """The diffs of a result: of the host's objects, a line each, and of the declaration."""
    after = result.after if result.operations else result.before
    host = (lines(kind.facilities, result.before), lines(kind.facilities, after), f"{kind.name} (host)")
    file = (*result.declaration, str(Declarations().path(kind.name)))
    return [
        {"before": before, "after": after, "before_header": header, "after_header": header}
        for before, after, header in (host, file)
        if before != after
    ]
