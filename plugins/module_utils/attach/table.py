# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node's policies come to for a pod that is attached, worked out beforehand (attach/tabulation.py).

Of a pod like others it says which elements of the kernel's sets and maps it adds; of any other it says nothing, and the
node's policies are reconciled. It is there only while the packet filter is as it says: who changes that takes it
away first and puts it back at the end, so that after a kill in between nobody goes by it.
"""

from __future__ import annotations

import os

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Selector = Sequence[Sequence[Any]]

    from ansible_collections.podnet.fabric.plugins.module_utils.attach.transaction import Element

PATH = "/run/podnet/policy.table"
ASIDE = "/run/podnet/policy.table.aside"
VERSION = 1
"""Of what is in a table, and of what it means for the names of sets and chains (packetfilter/nftables.py)."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"
DIRECTIONS = ("Ingress", "Egress")


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
    put_back()


def put_aside() -> None:
    """Take the table away, if there is one."""
    try:
        os.rename(PATH, ASIDE)
    except FileNotFoundError:
        return


def put_back() -> None:
    """Put it back: the packet filter is as it says."""
    os.rename(ASIDE, PATH)


def elements(table: Mapping[str, Any] | None, pod: record.Attached) -> list[Element] | None:
    """The elements that a pod adds, or leaves when it goes; None where more changes than that, or none is known."""
    try:
        return None if table is None else _of_pod(table, pod)
    except (AttributeError, KeyError, TypeError, ValueError):
        # Somebody has edited it.
        return None


def _of_pod(table: Mapping[str, Any], pod: record.Attached) -> list[Element] | None:
    whose = f"{pod.namespace}/{pod.name}"
    stated = table["stated"].get(whose, {})
    held = table["held"]
    if (
        any(address in held for address in pod.addresses)
        or whose in held.values()
        or stated.get("ports")
        or record.rivals(pod)
    ):
        return None
    if not pod.addresses:
        return []
    labels = {**pod.labels, **stated.get("labels", {})}
    namespaces = {**table["namespaces"].get(pod.namespace, {}), NAMESPACE_NAME: pod.namespace}
    guards = _guards(table, pod.namespace, labels)
    peers = [
        names
        for names, members in table["peers"]
        if any(_selects(each, pod.namespace, namespaces, labels) for each in members)
    ]
    if not guards and not peers:
        return []
    if table["backend"] != "nftables" or any(each is None for each in guards.values()):
        return None
    return _elements(table, pod, guards, peers)


def _elements(
    table: Mapping[str, Any],
    pod: record.Attached,
    guards: Mapping[str, str | None],
    peers: Sequence[Mapping[str, str]],
) -> list[Element] | None:
    found: list[Element] = []
    for address in pod.addresses:
        family = "6" if ":" in address else "4"
        if family not in table["families"]:
            return None
        for direction, chain in guards.items():
            name = f"policy-{direction.lower()}{family}"
            if name not in table["maps"]:
                return None
            found.append((name, address, chain))
            if direction == DIRECTIONS[0]:
                found.append((f"policy-receivers{family}", address, None))
        for names in peers:
            if family not in names:
                return None
            found.append((names[family], address, None))
    return found


def _guards(table: Mapping[str, Any], namespace: str, labels: Mapping[str, str]) -> dict[str, str | None]:
    """The chains before a pod by direction; None for one that is not there (policy/compiler.py: compile_policies)."""
    own = [each for each in table["policies"].get(namespace, ()) if _holds(each["selector"], labels)]
    found: dict[str, str | None] = {}
    for direction in DIRECTIONS:
        words = [each["words"] for each in own if direction in each["directions"]]
        if words:
            identity = _digest("\n".join([direction, *words]))
            found[direction] = f"policy-{identity}" if identity in table["guards"] else None
    return found


def _digest(words: str) -> str:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256
    return sha256(words.encode()).hexdigest()[:12]


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
