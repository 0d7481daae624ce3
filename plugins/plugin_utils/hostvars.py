# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The podnet_ variables of all nodes out of Ansible's hostvars, in time linear in their number."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names
from ansible_collections.podnet.fabric.plugins.plugin_utils.schema import PREFIX
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

GROUP = "podnet"
REMOVED = "podnet_removed"
TEMPLATE_MARKS = ("{{", "{%", "{#")

# Of a variable's name and what is wrong with it: the hosts where it is.
Failures = dict[tuple[str, str], list[str]]


class NotPlain(Exception):
    """A value that only Ansible's templating can turn into plain data."""


def node_names(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes in the inventory's order: the hosts of the group podnet, all hosts if there is no such group.

    Without those of the group podnet_removed.
    """
    gone = set(groups.get(REMOVED, ()))
    return [name for name in (groups[GROUP] if GROUP in groups else groups["all"]) if name not in gone]


def removed(task_vars: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hosts that the inventory says are no nodes any more."""
    return tuple(task_vars["groups"].get(REMOVED, ()))


def inventory_folder(task_vars: Mapping[str, Any]) -> str | None:
    """Return the folder of the inventory that the first node comes from, whichever node the task runs for."""
    for name in node_names(task_vars["groups"])[:1]:
        folder = task_vars["hostvars"].raw_get(name).get("inventory_dir")
        return str(folder) if folder else None
    return None


def gather(task_vars: Mapping[str, Any], template: Callable[[Any], Any]) -> tuple[list[Host], list[Problem]]:
    """Return the hosts with their variables, and what could not be worked out."""
    hostvars = task_vars["hostvars"]
    current = task_vars["inventory_hostname"]
    failures: Failures = defaultdict(list)
    given, overriding = _of_the_play(task_vars, hostvars.raw_get(current), template, failures)
    within: dict[str, list[str]] = defaultdict(list)
    for group, members in task_vars["groups"].items():
        for name in members:
            within[name].append(str(group))
    hosts = [
        _host(hostvars, name, failures)._replace(groups=tuple(within[name])) for name in node_names(task_vars["groups"])
    ]
    # What failed on one host is left out of all, or it would be reported a second time as a difference between them.
    failed = {variable for variable, _told in failures}
    whole = [
        host._replace(
            variables={
                key: value for key, value in {**given, **host.variables, **overriding}.items() if key not in failed
            }
        )
        for host in hosts
    ]
    return whole, [_failure(variable, told, where) for (variable, told), where in failures.items()]


def plain(value: Any) -> Any:
    """Return a copy of plain types only; what has to be templated or decrypted raises NotPlain."""
    if isinstance(value, str) and any(mark in value for mark in TEMPLATE_MARKS):
        raise NotPlain(value)
    return _copied(value, plain)


def finished(value: Any) -> Any:
    """Return a templated value in plain types."""
    return _copied(value, finished)


def _copied(value: Any, inner: Callable[[Any], Any]) -> Any:
    # Ansible's strings and numbers carry tags; each of these makes a plain one.
    if isinstance(value, str):
        return "".join(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value + 0
    if isinstance(value, Mapping):
        return {inner(key): inner(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    raise NotPlain(value)


def _host(hostvars: Any, name: str, failures: Failures) -> Host:
    # One call for each host. hostvars[name] is made only when there is something to template: it costs as much again.
    raw = hostvars.raw_get(name)
    facts = _facts(raw)
    templated = functools.cache(lambda: hostvars[name])

    def value(key: str) -> Any:
        return _evaluate(key, raw[key], lambda: templated()[key], failures, name)

    variables = {key: value(key) for key in _ours(raw, facts)}
    address = value("ansible_host") if "ansible_host" in raw else None
    # Facts are data: templating them would walk through the plan of all nodes that each host holds.
    told = _evaluate("ansible_facts.podnet_node", facts.get("podnet_node"), None, failures, name) or {}
    return Host(name, {key: item for key, item in variables.items() if item is not None}, str(address or ""), told)


def _facts(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = variables.get("ansible_facts")
    return kept if isinstance(kept, Mapping) else {}


def _ours(variables: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    # Facts such as podnet_plan are variables too where inject_facts_as_vars is on.
    return [name for name in variables if name.startswith(PREFIX) and name not in facts]


def _of_the_play(
    task_vars: Mapping[str, Any], raw: Mapping[str, Any], template: Callable[[Any], Any], failures: Failures
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what play, role or task say and hostvars cannot know: for hosts that lack it, and for all hosts."""
    given: dict[str, Any] = {}
    overriding: dict[str, Any] = {}
    for name in _ours(task_vars, _facts(task_vars)):
        stated = task_vars[name]
        if name not in raw or (stated is not raw[name] and stated != raw[name]):
            value = _evaluate(name, stated, functools.partial(template, stated), failures, "")
            if value is not None:
                (overriding if name in raw else given)[name] = value
    return given, overriding


def _evaluate(name: str, value: Any, template: Callable[[], Any] | None, failures: Failures, host: str) -> Any:
    """Return a value in plain types; None where there is none, which is then noted.

    :param template: how Ansible makes data of it; None when it is data
    """
    try:
        if template is None:
            return finished(value)
        try:
            return plain(value)
        except NotPlain:
            return finished(template())
    except AnsibleError as error:
        failures[name, str(error)].append(host)
    except NotPlain as error:
        failures[name, f"a {type(error.args[0]).__name__}"].append(host)
    except RecursionError:
        failures[name, "one that holds itself, or is nested too deep"].append(host)
    return None


def _failure(variable: str, told: str, hosts: Sequence[str]) -> Problem:
    where = names([host for host in hosts if host])
    path = f"{variable} ({where})" if where else variable
    return Problem(path, f"a value that cannot be worked out: {told}", "a value", "correct the expression")
