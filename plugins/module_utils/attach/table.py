# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new pod is to the policies of the node, worked out beforehand (attach/tabulation.py).

It is there only while the packet filter is as the declaration says: who changes that takes it away first, so that
after a kill in between nobody goes by it.
"""

from __future__ import annotations

import os

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Selector = Sequence[Sequence[Any]]
    Element = tuple[str, str, str]
    """A set's name, an address and, where the set is a map, the chain that it leads to; of eBPF see datapath.py."""

PATH = "/run/podnet/policy.table"
ASIDE = "/run/podnet/policy.table.aside"
VERSION = 7
"""Of what is in a table."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"
INGRESS = "Ingress"


def stamp() -> list[int]:
    """What tells the declaration that a table is of from others."""
    return [VERSION, *record.declaration_stamp()]


def read() -> dict[str, Any] | None:
    """The table, where there is one that holds."""
    try:
        with open(PATH, encoding="utf-8") as file:
            found: dict[str, Any] = text.loads(file.read())
        return found if found["stamp"] == stamp() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(table: Mapping[str, Any]) -> None:
    """Put a table in its place."""
    os.makedirs(os.path.dirname(PATH), mode=0o755, exist_ok=True)
    with open(os.open(ASIDE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text.dumps(table))
    os.rename(ASIDE, PATH)


def put_aside() -> None:
    """Take the table away, if there is one."""
    try:
        os.rename(PATH, ASIDE)
    except FileNotFoundError:
        return


def put_back() -> None:
    """Put it back: the packet filter is as the declaration says, with what there is by now."""
    os.rename(ASIDE, PATH)


def carry_out(
    table: Mapping[str, Any] | None,
    told: Sequence[Element],
    remember: Callable[[], None],
    pod: record.Attached | None = None,
) -> bool:
    """Add elements to the packet filter, and what else a pod of this node needs; whether all went well.

    :param remember: notes down what they are of
    :param pod: where they are of one of this node
    """
    put_aside()
    remember()
    try:
        datapaths = programs(table)
        if datapaths is not None:
            from ansible_collections.podnet.fabric.plugins.module_utils.attach import datapath

            if pod is None:
                datapath.put_elements(told, datapaths)
            else:
                datapath.add(pod, told, datapaths, bridge(table))
        else:
            from ansible_collections.podnet.fabric.plugins.module_utils.attach import elements

            if told and of_ipsets(table):
                from ansible_collections.podnet.fabric.plugins.module_utils.attach import ipsets

                ipsets.add(told)
                told = []
            elements.add(told, pod, bridge(table))
    except (OSError, ValueError, AttributeError):
        # The packet filter is not as the table says, or has nothing of this sort yet; the table stays aside.
        return False
    put_back()
    return True


def bridge(table: Mapping[str, Any] | None) -> str | None:
    """The bridge at whose ports pods send from their own addresses only; None where nothing sees to that."""
    found = table["senders"] if table is not None else None
    return found if isinstance(found, str) else None


def programs(table: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What attach/datapath.py has to know of programs; None where policies are not by eBPF."""
    found = table["programs"] if table is not None else None
    return found if isinstance(found, dict) else None


def of_ipsets(table: Mapping[str, Any] | None) -> bool:
    """Whether the elements are those of IP sets."""
    return table is not None and bool(table["sets"])


def elements(table: Mapping[str, Any] | None, pod: record.Attached) -> list[Element] | None:
    """The elements of a pod that policies know, or select; none of one that they do not.

    None where more than elements would change, or where that is not known.
    """
    try:
        return None if table is None else _elements(table, pod)
    except (AttributeError, KeyError, TypeError, ValueError):
        # Somebody has edited it.
        return None


def of_elsewhere(
    table: Mapping[str, Any] | None, pod: record.Attached, ports: Sequence[str] = ()
) -> list[Element] | None:
    """The elements of a pod of another node, which only policies of pods here know. None as of `elements`.

    :param ports: those of its ports that have names, as in_words of policy/compiler.py says it
    """
    try:
        if table is None or _is_known(table, pod):
            return None
        # One of a new sort has guards made for others of its sort, which may come here.
        inside = [policy for policy in table["asking"] if policy.partition("/")[0] == pod.namespace]
        asked = " ".join(_asked(table, inside, ports))
        if asked and asked not in table["ports"].get(pod.namespace, ()):
            return None
        ways = _ways(table, _governing(table, pod, pod.labels), pod.addresses, ports)
        found = None if ways is None else _as_peer(table, pod, pod.labels)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return None if found is None else sorted(found)


def _elements(table: Mapping[str, Any], pod: record.Attached) -> list[Element] | None:
    if _is_known(table, pod):
        return None
    # The inventory may say whose an interface is, too.
    if any(each.get("name") in table["claimed"] for each in pod.wiring if not each.get("sandbox")):
        return None
    stated = table["stated"].get(f"{pod.namespace}/{pod.name}", {})
    labels = {**pod.labels, **stated.get("labels", {})}
    ways = _ways(table, _governing(table, pod, labels), pod.addresses, stated.get("ports", ()))
    as_peer = None if ways is None else _as_peer(table, pod, labels)
    return None if ways is None or as_peer is None else sorted(ways | as_peer)


def _is_known(table: Mapping[str, Any], pod: record.Attached) -> bool:
    """Whether this node has, or had, a pod of that name, or with one of its addresses."""
    held = table["held"]
    of_name = f"{pod.namespace}/{pod.name}" in held.values()
    return of_name or any(address in held for address in pod.addresses) or bool(record.rivals(pod))


def _namespace(table: Mapping[str, Any], pod: record.Attached) -> dict[str, str]:
    """The labels of a pod's namespace."""
    return {**table["namespaces"].get(pod.namespace, {}), NAMESPACE_NAME: pod.namespace}


def _governing(
    table: Mapping[str, Any], pod: record.Attached, labels: Mapping[str, str]
) -> Mapping[str, Sequence[str]]:
    """The policies that select a pod, by direction."""
    namespaces = _namespace(table, pod)
    found: dict[str, list[str]] = {}
    for member, policy, directions in table["selecting"]:
        if _selects(member, pod.namespace, namespaces, labels):
            for direction in directions:
                found.setdefault(direction, []).append(policy)
    return found


def _as_peer(table: Mapping[str, Any], pod: record.Attached, labels: Mapping[str, str]) -> set[Element] | None:
    """What makes a pod a peer of those that policies govern here."""
    namespaces = _namespace(table, pod)
    found: set[Element] = set()
    for member, sets in table["peers"]:
        if _selects(member, pod.namespace, namespaces, labels):
            for address in pod.addresses:
                name = None if sets is None else sets.get("6" if ":" in address else "4")
                if name is None:
                    return None
                found.add((name, address, ""))
    return found


def _ways(
    table: Mapping[str, Any], governing: Mapping[str, Sequence[str]], addresses: Sequence[str], ports: Sequence[str]
) -> set[Element] | None:
    """What leads addresses to their guards, by directions and the policies that govern there."""
    found: set[Element] = set()
    for direction, policies in governing.items():
        asked = _asked(table, policies, ports) if direction == INGRESS else ()
        way = table["guards"].get(" ".join((direction, *policies, *asked)))
        if way is None:
            return None
        chain, by_family = way
        for address in addresses:
            leading, sets = by_family["6" if ":" in address else "4"]
            found.add((leading, address, chain))
            found.update((name, address, "") for name in sets)
    return found


def _asked(table: Mapping[str, Any], policies: Sequence[str], ports: Sequence[str]) -> list[str]:
    """Those of a pod's own ports for whose names policies ask that stand before it."""
    asked = {each for policy in policies for each in table["asking"].get(policy, ())} if ports else ()
    return [port for port in ports if port.rpartition("/")[0] in asked]


def _selects(member: Sequence[Any], namespace: str, namespaces: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a peer of a policy means a pod: its namespace, or selector of namespaces, and selector of pods."""
    own, wanted, pods = member
    there = own == namespace if wanted is None else _holds(wanted, namespaces)
    return there and _holds(pods, labels)


def _holds(selector: Selector, labels: Mapping[str, str]) -> bool:
    """As Requirement.holds of policy/documents.py."""
    for key, operator, values in selector:
        value = labels.get(key)
        if operator == "In":
            fits = value is not None and value in values
        elif operator == "NotIn":
            fits = value is None or value not in values
        else:
            fits = (value is not None) == (operator == "Exists")
        if not fits:
            return False
    return True
