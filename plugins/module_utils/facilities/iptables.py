# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of ours in iptables' ``filter`` tables, of either flavour and family, and the jumps that lead to them.

A table is written to only where its flavour is in use already: the tools would make it otherwise, and of two flavours
each drops what the other accepts.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

PREFIX = "PODNET-"
"""Chains whose names begin so are ours."""

BUILT_IN = "FORWARD"

# Tool: its address family, and the file that tells which of its tables are loaded (asking the tool would load them).
# Both flavours may be called by their plain names only, so what a tool is follows from what it prints.
TOOLS = {
    "iptables-nft": (AF_INET, None),
    "ip6tables-nft": (AF_INET6, None),
    "iptables-legacy": (AF_INET, "/proc/net/ip_tables_names"),
    "ip6tables-legacy": (AF_INET6, "/proc/net/ip6_tables_names"),
}
# Seconds to wait for another iptables that holds the lock (xtables-nft needs none).
_WAIT = "10"


class Filter(NamedTuple):
    """A ``filter`` table as its tool saves it, without what is ours."""

    tool: str
    family: int
    policy: str  # of FORWARD
    rules: tuple[str, ...]  # of FORWARD, as iptables-save prints them, without "-A FORWARD"
    used: bool  # somebody has put a rule, a chain or a policy there
    ours: dict[str, tuple[str, ...]]  # our chains: their rules
    jumps: dict[str, tuple[int, ...]]  # our chains: how many rules of others are before each jump from FORWARD

    @property
    def end(self) -> int:
        """How many rules of FORWARD a packet can meet before one that drops them all."""
        return next((position for position, rule in enumerate(self.rules) if drops_all(rule)), len(self.rules))

    @property
    def drops(self) -> bool:
        """Whether forwarded packets that nobody accepts are dropped."""
        return self.policy == "DROP" or self.end < len(self.rules)


class IptablesChain(NamedTuple):
    """A chain of ours."""

    tool: str
    name: str
    rules: tuple[str, ...]


class IptablesJump(NamedTuple):
    """The rule in FORWARD that leads to a chain of ours: after the rules of others, before one that drops everything.

    ``reached`` is false where it is not there, or is there twice.
    """

    tool: str
    name: str
    reached: bool = True


Object = Union[IptablesChain, IptablesJump]
Objects = dict[tuple[str, str, str], Object]


def drops_all(rule: str) -> bool:
    """Whether a rule drops or rejects whatever meets it."""
    words = shlex.split(rule)
    if words[:3] == ["-m", "comment", "--comment"]:
        del words[:4]
    return words[:1] in (["-j"], ["-g"]) and words[1:2] in (["DROP"], ["REJECT"])


def filters() -> Iterator[Filter]:
    """The ``filter`` tables that are there, of each flavour and family whose tools are installed.

    :raises PodnetError: a tool that is there fails
    """
    for tool, (family, loaded) in TOOLS.items():
        if loaded is not None and "filter" not in _words(loaded):
            continue
        save = _which(tool, "save")
        if save is None:
            continue
        try:
            text = run([save, "-t", "filter"])
        except ToolError as error:
            raise PodnetError(f"the rules of {tool} cannot be read: {error}") from error
        # A table that somebody has made with nft, in a way that iptables has no words for, is left out with a remark.
        if "*filter" in text.splitlines():
            yield parse(tool, family, text)


def parse(tool: str, family: int, text: str) -> Filter:
    """What ``iptables-save -t filter`` prints."""
    policy, used = "ACCEPT", False
    rules: list[str] = []
    ours: dict[str, list[str]] = {}
    jumps: dict[str, list[int]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            name, verdict = line[1:].split()[:2]
            if name.startswith(PREFIX):
                ours.setdefault(name, [])
                continue
            if name == BUILT_IN:
                policy = verdict
            used = used or verdict != "ACCEPT"
        elif line.startswith("-A "):
            _dummy, name, rule = line.split(" ", 2)
            target = rule.rpartition("-j ")[2]
            if name.startswith(PREFIX):
                ours.setdefault(name, []).append(rule)
            elif name == BUILT_IN and rule == f"-j {target}" and target.startswith(PREFIX):
                jumps.setdefault(target, []).append(len(rules))
            else:
                used = True
                if name == BUILT_IN:
                    rules.append(rule)
    return Filter(
        tool,
        family,
        policy,
        tuple(rules),
        used,
        {name: tuple(found) for name, found in ours.items()},
        {name: tuple(found) for name, found in jumps.items()},
    )


def observe(tables: Sequence[Filter], name: str) -> Objects:
    """Our chain of that name and the jump to it, in every table."""
    found: Objects = {}
    for table in tables:
        if name in table.ours:
            found["chain", table.tool, name] = IptablesChain(table.tool, name, table.ours[name])
        places = table.jumps.get(name)
        if places:
            reached = len(places) == 1 and places[0] <= table.end
            found["jump", table.tool, name] = IptablesJump(table.tool, name, reached)
    return found


class IptablesFacility:
    """Changes a table by one ``iptables-restore --noflush``, which leaves the rules of others alone."""

    name = "iptables"
    deletes_first = False

    def parents(self, obj: Object) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Object, after: Object) -> bool:
        return False

    def describe(self, obj: Object) -> dict[str, Any]:
        if isinstance(obj, IptablesChain):
            return {"chain": f"{obj.tool} chain {obj.name}", "rules": "; ".join(obj.rules)}
        where = "before what drops all" if obj.reached else "where packets do not come, or twice"
        return {"jump": f"{obj.tool} -A {BUILT_IN} -j {obj.name}", "place": where}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        tables = {table.tool: table for table in filters()}
        failures: list[str] = []
        for tool in dict.fromkeys((operation.after or operation.before).tool for operation in operations):
            mine = [operation for operation in operations if (operation.after or operation.before).tool == tool]
            restore = _which(tool, "restore")
            try:
                if tool not in tables or restore is None:
                    failures.append(f"{self.name}: {tool}: its table filter has gone; run the playbook again")
                else:
                    run([restore, "-w", _WAIT, "--noflush"], stdin=script(tables[tool], mine))
            except ToolError as error:
                failures.append(f"{self.name}: {tool}: the change was refused, nothing of it holds: {error.stderr}")
        if failures:
            raise ApplyError(failures)


def script(table: Filter, operations: Sequence[Operation]) -> str:
    """One transaction for one table: jumps go before their chains and come after them."""
    jumps = [each for each in operations if isinstance(each.after or each.before, IptablesJump)]
    chains = [each for each in operations if isinstance(each.after or each.before, IptablesChain)]
    head, words = ["*filter"], []
    for operation in jumps:
        name = (operation.after or operation.before).name
        words += [f"-D {BUILT_IN} -j {name}"] * len(table.jumps.get(name, ()))
    for operation in chains:
        if operation.after:
            # Declared so, a chain is made, or emptied if it is there.
            head.append(f":{operation.after.name} - [0:0]")
            words += [f"-A {operation.after.name} {rule}" for rule in operation.after.rules]
    for operation in jumps:
        if operation.verb != DELETE:
            place = f"-A {BUILT_IN}" if table.end == len(table.rules) else f"-I {BUILT_IN} {table.end + 1}"
            words.append(f"{place} -j {operation.after.name}")
    for operation in chains:
        if not operation.after:
            words += [f"-F {operation.before.name}", f"-X {operation.before.name}"]
    return "\n".join([*head, *words, "COMMIT", ""])


def _which(tool: str, verb: str) -> str | None:
    """The path of ``<tool>-save`` or ``<tool>-restore``."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    exact = shutil.which(f"{tool}-{verb}", path=path)
    if exact:
        return exact
    # Where one flavour alone is installed it may bear the plain name only.
    plain, _dummy, flavour = tool.partition("-")
    found = shutil.which(f"{plain}-{verb}", path=path)
    if found is None:
        return None
    try:
        is_nft = "nf_tables" in run([found, "--version"])
    except ToolError:
        return None
    return found if is_nft == (flavour == "nft") else None


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").split()
    except OSError:
        return []


IPTABLES = IptablesFacility()
