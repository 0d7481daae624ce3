# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The podnet_ variables of all nodes out of Ansible's hostvars, in time linear in their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem
from ansible_collections.podnet.fabric.plugins.plugin_utils.schema import PREFIX
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

GROUP = "podnet"
TEMPLATE_MARKS = ("{{", "{%", "{#")


class NotPlain(Exception):
    """A value that only Ansible's templating can turn into plain data."""


def node_names(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes in the order of the inventory: those of the group podnet, all hosts if there is no such group."""
    return list(groups[GROUP] if GROUP in groups else groups["all"])


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
    problems: list[Problem] = []
    given, overriding = _of_the_play(task_vars, hostvars.raw_get(current), template, problems)
    hosts = []
    for name in node_names(task_vars["groups"]):
        # One call for each host: hostvars[name] would template all of the facts, each holding a plan of all nodes.
        raw = hostvars.raw_get(name)
        facts = raw.get("ansible_facts", {})
        variables = dict(given)
        for key in _ours(raw, facts):
            value = _evaluate(key, raw[key], lambda _raw, key=key, name=name: hostvars[name][key], problems, name)
            if value is not None:
                variables[key] = value
        variables.update(overriding)
        address = _evaluate(
            "ansible_host",
            raw.get("ansible_host", name),
            lambda _raw, name=name: hostvars[name]["ansible_host"],
            problems,
            name,
        )
        hosts.append(Host(name, variables, str(address or ""), plain(facts.get("podnet_node") or {})))
    return hosts, problems


def plain(value: Any) -> Any:
    """Return a copy of plain types only; what has to be templated or decrypted raises NotPlain."""
    if isinstance(value, str):
        if any(mark in value for mark in TEMPLATE_MARKS):
            raise NotPlain(value)
        return "".join(value)  # of a tagged string, too, this makes a plain one
    return _plain_other(value, plain)


def finished(value: Any) -> Any:
    """Return a templated value in plain types."""
    if isinstance(value, str):
        return "".join(value)
    return _plain_other(value, finished)


def _plain_other(value: Any, inner: Callable[[Any], Any]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value + 0
    if isinstance(value, Mapping):
        return {inner(key): inner(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    raise NotPlain(value)


def _ours(variables: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    # Facts such as podnet_plan are variables too where inject_facts_as_vars is on.
    return [name for name in variables if name.startswith(PREFIX) and name not in facts]


def _of_the_play(
    task_vars: Mapping[str, Any], raw: Mapping[str, Any], template: Callable[[Any], Any], problems: list[Problem]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what play, role or task say and hostvars cannot know: for hosts that lack it, and for all hosts."""
    given: dict[str, Any] = {}
    overriding: dict[str, Any] = {}
    for name in _ours(task_vars, task_vars.get("ansible_facts", {})):
        if name not in raw or (task_vars[name] is not raw[name] and task_vars[name] != raw[name]):
            value = _evaluate(name, task_vars[name], template, problems)
            if value is not None:
                (overriding if name in raw else given)[name] = value
    return given, overriding


def _evaluate(name: str, value: Any, template: Callable[[Any], Any], problems: list[Problem], host: str = "") -> Any:
    try:
        return plain(value)
    except NotPlain:
        pass
    try:
        return finished(template(value))
    except Exception as error:  # whatever a template may raise: it is the operator's, and is told with all the rest
        path = f"{name} ({host})" if host else name
        told = getattr(error, "message", None) or error
        problems.append(
            Problem(path, f"a value that cannot be worked out ({told})", "a value", "correct the expression")
        )
        return None
