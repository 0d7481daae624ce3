# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packet filters hold rules on the node, and which of their chains drop forwarded packets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Firewall

# The tables that iptables-nft keeps, told by the names of iptables' built-in chains.
_IPTABLES_TABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
_IPTABLES_CHAINS = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})
_LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}
_OUR_TABLE = "podnet"


def look_at_rulesets(tools: Mapping[str, str | None]) -> tuple[tuple[Firewall, ...], frozenset[str]]:
    """The chains that drop forwarded packets, and the flavours of iptables in use."""
    chains = nft_chains(_output([tools["nft"], "-j", "list", "chains"])) if tools.get("nft") else []
    dropping = list(dropping_chains(chains))
    flavours = {"nft"} if any(_is_iptables(chain) for chain in chains) else set()
    for tool, names in _LEGACY.items():
        # The file tells which tables are loaded; the tool itself would load them.
        if tools.get(tool) and _content(f"/proc/net/{names}"):
            saved = _output([f"{tools[tool]}-save"])
            dropping += legacy_dropping(saved, "ip6" if tool.startswith("ip6") else "ip")
            if "\n-A " in saved:
                flavours.add("legacy")
    return tuple(dropping), frozenset(flavours)


def nft_chains(answer: str) -> list[dict[str, Any]]:
    """The chains in the answer of `nft -j list chains`."""
    try:
        objects = json.loads(answer)["nftables"]
    except (ValueError, KeyError):
        return []
    return [each["chain"] for each in objects if "chain" in each]


def dropping_chains(chains: list[dict[str, Any]]) -> Iterator[Firewall]:
    """The base chains of forwarded packets, not ours, whose policy is to drop."""
    for chain in chains:
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain.get("table") != _OUR_TABLE:
            yield Firewall("nftables", f"{chain['family']} {chain['table']}", chain["name"])


def legacy_dropping(saved: str, family: str) -> list[Firewall]:
    """The same in the output of iptables-save."""
    return [
        Firewall("iptables-legacy", f"{family} filter", "FORWARD")
        for line in saved.splitlines()
        if line.startswith(":FORWARD DROP")
    ]


def _is_iptables(chain: Mapping[str, Any]) -> bool:
    family, table, name = (chain.get(key) for key in ("family", "table", "name"))
    return family in ("ip", "ip6") and table in _IPTABLES_TABLES and name in _IPTABLES_CHAINS


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
