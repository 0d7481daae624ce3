# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger as text: JSON, a block to a line in the order of addresses, so that a change reads well in a review."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_services
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Entry, Ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_services import RESTORE, seconds_of, time_text
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, show

FORMAT = 2
"""Written only where services have something: 1 is the same without them."""
HEAD = ["format", "cluster", "blocks"]
KEYS = {"pool", "node", "order", "released", "identity"}


class LedgerError(Exception):
    """A ledger that cannot be used as it is; carries the problems, all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def render(ledger: Ledger) -> str:
    """Return the text of a ledger."""
    blocks = [f"    {json.dumps(str(entry.network))}: {json.dumps(_as_dict(entry))}" for entry in ledger.entries]
    body = "{\n" + ",\n".join(blocks) + "\n  }" if blocks else "{}"
    head = f'{{\n  "format": {FORMAT if ledger.services else 1},\n  "cluster": {json.dumps(ledger.cluster)},\n'
    more = f',\n  "services": {ledger_services.render(ledger.services)}' if ledger.services else ""
    return f'{head}  "blocks": {body}{more}\n}}\n'


def parse(text: str, name: str, cluster: str) -> Ledger:
    """Return the ledger that a text holds; name is what errors call it. Raises LedgerError."""
    if not text.strip():
        raise LedgerError([Problem(name, "an empty file", "a ledger of podnet.fabric", RESTORE)])
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise LedgerError([Problem(name, f"damaged JSON ({error})", "a ledger of podnet.fabric", RESTORE)]) from None
    _check_head(content, name, cluster)
    problems: list[Problem] = []
    entries = [_entry(key, value, name, problems) for key, value in content["blocks"].items()]
    if not problems:
        entries.sort(key=lambda entry: entry.span)
        problems = _conflicts(entries, name)
    services, more = ledger_services.parse(content.get("services", {}), name)
    if problems or more:
        raise LedgerError(problems + more)
    return Ledger(cluster, tuple(entries), services)


def _as_dict(entry: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {"pool": entry.pool, "node": entry.node, "order": entry.order}
    if entry.released is not None:
        fields["released"] = time_text(entry.released)
    if entry.identity is not None:
        fields["identity"] = entry.identity
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A merge gone wrong leaves a block twice; json would silently take the last.
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _value in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice} twice")
    return content


def _check_head(content: Any, name: str, cluster: str) -> None:
    known = content.get("format") if isinstance(content, dict) else None
    if not isinstance(known, int) or isinstance(known, bool):
        raise LedgerError([Problem(name, "JSON without the key format", "a ledger of podnet.fabric", RESTORE)])
    if known > FORMAT:
        found = f"format {known}, of a newer version"
        cure = "run a podnet.fabric at least as new as the one that wrote the file"
        raise LedgerError([Problem(name, found, f"format {FORMAT}", cure)])
    keys = HEAD if known == 1 else [*HEAD, "services"]
    if content.keys() != set(keys) or not all(isinstance(content[key], dict) for key in keys[2:]):
        found = f"the keys {', '.join(content)}"
        wanted = f"{', '.join(keys[:-1])} and {keys[-1]}"
        raise LedgerError([Problem(name, found, wanted, RESTORE)])
    if content["cluster"] != cluster:
        cure = "set podnet_ledger.path to this cluster's own file, or podnet_cluster back to the ledger's name"
        found = f"the ledger of cluster {show(content['cluster'])}"
        raise LedgerError([Problem(name, found, f"that of podnet_cluster {show(cluster)}", cure)])


def _entry(key: str, value: Any, name: str, problems: list[Problem]) -> Entry:
    path = f'{name}: blocks["{key}"]'
    before = len(problems)
    network: Any = None
    try:
        network = ipaddress.ip_network(key)
    except ValueError as error:
        problems.append(Problem(path, f"a wrong network ({error})", "one such as 10.244.0.0/24", RESTORE))
    if not isinstance(value, dict) or not {"pool", "node", "order"} <= value.keys() <= KEYS:
        wanted = "a mapping with pool, node, order and perhaps released and identity"
        problems.append(Problem(path, show(value), wanted, RESTORE))
        return Entry(network, "", "")
    if not (isinstance(value["pool"], str) and isinstance(value["node"], str)):
        problems.append(Problem(path, "a pool or node that is no text", "their names", RESTORE))
    if not isinstance(value.get("identity", ""), str):
        problems.append(Problem(f"{path}.identity", show(value["identity"]), "a node's name", RESTORE))
    if not isinstance(value["order"], int) or isinstance(value["order"], bool) or value["order"] < 0:
        problems.append(Problem(f"{path}.order", show(value["order"]), "a whole number, 0 or more", RESTORE))
    released: int | None = None
    if "released" in value:
        try:
            released = seconds_of(value["released"])
        except (TypeError, ValueError):
            problems.append(
                Problem(f"{path}.released", show(value["released"]), "a time such as 2026-01-31T12:00:00Z", RESTORE)
            )
    if len(problems) > before:
        return Entry(network, "", "")
    return Entry(network, value["pool"], value["node"], value["order"], released, value.get("identity"))


def _conflicts(entries: list[Entry], name: str) -> list[Problem]:
    """Return what must never be, whoever wrote it: blocks that overlap, two first blocks of one node."""
    problems = []
    widest = None
    for entry in entries:
        if widest is not None and widest.span[0] == entry.span[0] and widest.span[2] >= entry.span[1]:
            found = f"{entry.network} of {entry.node}, which overlaps {widest.network} of {widest.node}"
            problems.append(Problem(f"{name}: blocks", found, "blocks that are apart", RESTORE))
        if widest is None or entry.span[0] != widest.span[0] or entry.span[2] > widest.span[2]:
            widest = entry
    owners: dict[tuple[str, int, int], Entry] = {}
    for entry in entries:
        if entry.released is None:
            other = owners.setdefault((entry.node, entry.network.version, entry.order), entry)
            if other is not entry:
                found = f"{other.network} and {entry.network} both of {entry.node} with order {entry.order}"
                problems.append(Problem(f"{name}: blocks", found, "an order of its own for each", RESTORE))
    return problems
