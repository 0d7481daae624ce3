# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' variables brought together: one value for what is cluster-wide, each node's own for the rest."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils import schema, validation
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Host(NamedTuple):
    """What the inventory, and the node if it has been asked, say of a host."""

    name: str
    variables: Mapping[str, Any]  # the podnet_ ones, as found
    ansible_host: str = ""
    facts: Mapping[str, Any] = {}  # ansible_facts.podnet_node, empty when the node has not been asked
    groups: tuple[str, ...] = ()  # that it is in


class Settings(NamedTuple):
    """The variables, valid or (with problems) left out."""

    cluster: dict[str, Any]  # by full name, defaults filled in
    stated: dict[str, Any]  # as cluster, and what is wrong too: its sound parts can be checked against other variables
    node: dict[str, dict[str, Any]]  # by host, then by full name
    problems: list[Problem]


def settle_settings(hosts: Sequence[Host]) -> Settings:
    """Return the settings of all hosts with every problem that is seen without looking across variables."""
    problems = _unknown(hosts)
    chosen, differences = _agree(hosts)
    problems += differences
    values = {name: schema.coerce(value, schema.variables()[name]) for name, value in chosen.items()}
    wrong = validation.problems_of(values)
    problems += wrong
    bad = {problem.path.partition(".")[0].partition("[")[0] for problem in wrong}
    stated = {name: schema.complete(name, values.get(name)) for name in schema.cluster_wide()}
    cluster = {name: value for name, value in stated.items() if name not in bad}
    node, node_problems = _of_nodes(hosts)
    return Settings(cluster, stated, node, problems + node_problems)


def _unknown(hosts: Sequence[Host]) -> list[Problem]:
    known = schema.variables()
    where: dict[str, list[str]] = defaultdict(list)
    for host in hosts:
        for name in host.variables:
            if name not in known:
                where[name].append(host.name)
    return [
        validation.unknown(name, "" if len(found) == len(hosts) else names(found))
        for name, found in sorted(where.items())
    ]


def _agree(hosts: Sequence[Host]) -> tuple[dict[str, Any], list[Problem]]:
    chosen: dict[str, Any] = {}
    problems = []
    for name in schema.cluster_wide():
        part = schema.variables()[name]
        first: Any = None
        for index, host in enumerate(hosts):
            value = host.variables.get(name)
            if index == 0:
                first = value
            elif value != first and _complete(name, value, part) != _complete(name, first, part):
                problems.append(_difference(name, hosts[0], host))
                break
        if first is not None:
            chosen[name] = first
    return chosen, problems


def _complete(name: str, value: Any, part: Mapping[str, Any]) -> Any:
    return schema.complete(name, schema.coerce(value, part))


def _difference(name: str, one: Host, other: Host) -> Problem:
    found = " and ".join(
        f"{'a secret' if schema.is_secret(name) else _brief(host.variables[name])} on {host.name}"
        if name in host.variables
        else f"the default on {host.name}"
        for host in (one, other)
    )
    return Problem(name, found, "one value for the whole cluster", "set it once, in the group_vars of all nodes")


def _brief(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return show(json.dumps(value, default=str)).strip("'")
    return show(value)


def _of_nodes(hosts: Sequence[Host]) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Check what each node has for itself; a value that many nodes share is checked, and complained about, once."""
    wanted = [name for name, part in schema.variables().items() if part["x-scope"] == "node"]
    settled: dict[str, dict[str, Any]] = {host.name: {} for host in hosts}
    sharing: dict[tuple[str, str], list[Host]] = defaultdict(list)
    for host in hosts:
        for name in wanted:
            sharing[name, json.dumps(host.variables.get(name), sort_keys=True, default=str)].append(host)
    problems = []
    for (name, _text), group in sharing.items():
        value = schema.coerce(group[0].variables.get(name), schema.variables()[name])
        wrong = [] if value is None else validation.problems_of({name: value}, names([host.name for host in group]))
        problems += wrong
        if not wrong:
            for host in group:
                settled[host.name][name] = schema.complete(name, value)
    return settled, problems
