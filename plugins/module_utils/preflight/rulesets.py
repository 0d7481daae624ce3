# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packet filters hold rules on the node, and which of their chains drop forwarded packets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_forward import BUILT_IN, filters
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Firewall

# The tables that iptables-nft keeps, told by the names of iptables' built-in chains.
_FORWARD_RULES_TABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
_FORWARD_RULES_CHAINS = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})
_LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}
_OUR_TABLE = "podnet"


def look_at_rulesets(tools: Mapping[str, str | None]) -> tuple[tuple[Firewall, ...], frozenset[str]]:
    """The chains that drop forwarded packets, and the flavours of iptables in use."""
    nft = tools.get("nft")
    chains = nft_chains(_output([nft, "-j", "list", "chains"])) if nft else []
    dropping: list[Firewall] = []
    flavours = set()
    readable: set[str] = set()  # tables of nft that iptables has words for
    try:
        found = list(filters())
    except PodnetError:
        found = []
    for table in found:
        family, flavour = ("ip6" if table.tool.startswith("ip6") else "ip"), table.tool.partition("-")[2]
        if flavour == "nft":
            readable.add(f"{family} filter")
        if table.drops:
            dropping.append(Firewall(f"iptables-{flavour}", f"{family} filter", BUILT_IN, table.tool))
        if table.used:
            flavours.add(flavour)
    for chain in chains:
        if _is_iptables(chain) and chain["table"] != "filter":
            flavours.add("nft")
    native = [chain for chain in chains if not (chain["name"] == BUILT_IN and _table(chain) in readable)]
    dropping += dropping_chains(native, lambda chain: ends_with_drop(_rules(nft, chain)))
    for tool, names in _LEGACY.items():
        # The file tells which tables are loaded; the tool itself would load them.
        if tools.get(tool) and _content(f"/proc/net/{names}") and "\n-A " in _output([f"{tools[tool]}-save"]):
            flavours.add("legacy")
    return tuple(dropping), frozenset(flavours)


def nft_chains(answer: str) -> list[dict[str, Any]]:
    """The chains in the answer of `nft -j list chains`."""
    try:
        found = [each["chain"] for each in json.loads(answer)["nftables"] if "chain" in each]
        return [each for each in found if all(isinstance(each[key], str) for key in ("family", "table", "name"))]
    except MALFORMED:
        return []


def dropping_chains(
    chains: list[dict[str, Any]], rejects_the_rest: Callable[[Mapping[str, Any]], bool]
) -> Iterator[Firewall]:
    """The base chains of forwarded packets, not ours, that drop what nobody accepts: by policy or by a rule."""
    for chain in chains:
        if (
            chain.get("hook") == "forward"
            and chain["family"] in ("ip", "ip6", "inet")
            and chain.get("table") != _OUR_TABLE
            and (chain.get("policy") == "drop" or rejects_the_rest(chain))
        ):
            yield Firewall("nftables", _table(chain), chain["name"])


def ends_with_drop(answer: str) -> bool:
    """Whether one of a chain's rules (the answer of `nft -j list chain`) drops or rejects whatever meets it."""
    try:
        rules = [each["rule"] for each in json.loads(answer)["nftables"] if "rule" in each]
        for rule in rules:
            words = [word for word in rule.get("expr", ()) if not {"counter", "log"} & word.keys()]
            if words and {"drop", "reject"} & words[0].keys():
                return True
    except MALFORMED:
        return False
    return False


def _rules(nft: str | None, chain: Mapping[str, Any]) -> str:
    return _output([nft, "-j", "list", "chain", *_table(chain).split(), chain["name"]])


def _table(chain: Mapping[str, Any]) -> str:
    return f"{chain['family']} {chain['table']}"


def _is_iptables(chain: Mapping[str, Any]) -> bool:
    family, table, name = (chain.get(key) for key in ("family", "table", "name"))
    return family in ("ip", "ip6") and table in _FORWARD_RULES_TABLES and name in _FORWARD_RULES_CHAINS


def _output(argv: list[str | None]) -> str:
    try:
        return run([word for word in argv if word], timeout=20)
    except ToolError:
        return ""


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
