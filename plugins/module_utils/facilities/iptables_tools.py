# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two flavours of iptables: which tool is which, and which of them a node uses.

Rules of both are in force at the same time, and neither shows those of the other: a node should have but one in use.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

NFT, LEGACY = "nft", "legacy"
FLAVOURS = (NFT, LEGACY)
PROGRAMS = {4: "iptables", 6: "ip6tables"}
OURS = "PODNET-"
"""How the names of our chains begin."""
AHEAD = f"{OURS}SERVICE-"
"""Built-in chains lead to these before others of ours, which would drop what is to be rejected."""

LOCK_SECONDS = "10"
"""How long to wait for another program that holds the lock of the legacy flavour (/run/xtables.lock)."""

_LOADED = {4: Path("/proc/thread-self/net/ip_tables_names"), 6: Path("/proc/thread-self/net/ip6_tables_names")}


def tool(flavour: str, family: int, verb: str) -> str:
    """The name of the program that does ``verb`` (save, restore) in a flavour.

    :raises PodnetError: the node has none
    """
    program = PROGRAMS[family]
    named = f"{program}-{flavour}-{verb}"
    if shutil.which(named):
        return named
    # Where there is but one flavour the programs may bear its name alone.
    if shutil.which(f"{program}-{verb}") and flavour_of(program) == flavour:
        return f"{program}-{verb}"
    raise PodnetError(f"{named} is not installed on this node; install iptables, or choose another backend")


def flavour_of(program: str) -> str | None:
    """The flavour of a program that does not name it; None when there is no such program."""
    try:
        # Before 1.8 there was legacy only, which says nothing.
        return NFT if "nf_tables" in run([program, "-V"]) else LEGACY
    except ToolError:
        return None


def save(flavour: str, family: int, table: str = "") -> str:
    """What `iptables-save` prints of all tables or of one; nothing where the tool is missing.

    :raises PodnetError: the tool fails
    """
    # The legacy tool loads the table that it shall print: look whether it is loaded.
    loaded = _loaded(family) if flavour == LEGACY else []
    if flavour == LEGACY and (table not in loaded if table else not loaded):
        return ""
    try:
        program = tool(flavour, family, "save")
    except PodnetError:
        return ""
    try:
        return run([program, *(["-t", table] if table else [])])
    except ToolError as error:
        raise PodnetError(f"the rules of iptables cannot be read: {error}") from error


def choose(former: str | None) -> str:
    """The flavour that a node uses: the one that holds rules, not counting ours; else ``former``; else the default.

    :raises PodnetError: the node has no iptables
    """
    holding = [flavour for flavour in FLAVOURS if _is_used(flavour)]
    if len(holding) == 1:
        return holding[0]
    chosen = former or flavour_of(PROGRAMS[4])
    if chosen is None:
        raise PodnetError("iptables is not installed on this node; install it, or set backend: nftables")
    return chosen


def _is_used(flavour: str) -> bool:
    try:
        return any(holds_rules(save(flavour, family)) for family in PROGRAMS)
    except PodnetError:
        # A kernel that lacks the one flavour may well have the other.
        return False


def holds_rules(saved: str) -> bool:
    """Whether there is a rule that neither is in a chain of ours nor leads to one."""
    return any(line.startswith("-A ") and OURS not in line for line in saved.splitlines())


def _loaded(family: int) -> list[str]:
    try:
        return _LOADED[family].read_text(encoding="ascii").split()
    except OSError:
        return []
