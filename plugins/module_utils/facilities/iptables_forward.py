# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of ours that accept in iptables' ``filter`` tables, of either flavour and family, and the jumps to them.

A table is written to only where its flavour is in use already: the tools would make it otherwise, and of two flavours
each drops what the other accepts.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, taking_apart
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import iptables_bases, iptables_tools
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import TABLE
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import LOCK_SECONDS, OURS
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, Operation, Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

BUILT_IN = "FORWARD"

# Tool: flavour, family as tools know it, address family.
TOOLS = {
    f"{program}-{flavour}": (flavour, family, AF_INET if family == 4 else AF_INET6)
    for flavour in iptables_tools.FLAVOURS
    for family, program in iptables_tools.PROGRAMS.items()
}


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


class AcceptChain(NamedTuple):
    """A chain of ours."""

    tool: str
    name: str
    rules: tuple[str, ...]


class AcceptJump(NamedTuple):
    """The rule in FORWARD that leads to a chain of ours: after the rules of others, before one that drops everything.

    ``reached`` is false where it is not there, or is there twice.
    """

    tool: str
    name: str
    reached: bool = True


Object = Union[AcceptChain, AcceptJump]
Objects = dict[tuple[str, str, str], Object]


def drops_all(rule: str) -> bool:
    """Whether a rule drops or rejects whatever meets it."""
    try:
        words = shlex.split(rule)
    except ValueError:
        return False  # a comment with a line's end in it, which iptables-save prints as it is
    if words[:3] == ["-m", "comment", "--comment"]:
        del words[:4]
    return words[:1] in (["-j"], ["-g"]) and words[1:2] in (["DROP"], ["REJECT"])


def filters() -> Iterator[Filter]:
    """The ``filter`` tables that are there, of each flavour and family whose tools are installed.

    :raises PodnetError: a tool that is there fails
    """
    for tool, (flavour, version, family) in TOOLS.items():
        text = iptables_tools.save(flavour, version, TABLE)
        # A table that somebody has made with nft, in a way that iptables has no words for, is left out with a remark.
        if f"*{TABLE}" in text.splitlines():
            yield parse(tool, family, text)


@taking_apart("iptables-save")
def parse(tool: str, family: int, text: str) -> Filter:
    """What ``iptables-save -t filter`` prints."""
    policy, used = "ACCEPT", False
    rules: list[str] = []
    ours: dict[str, list[str]] = {}
    jumps: dict[str, list[int]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            name, verdict = line[1:].split()[:2]
            if name.startswith(OURS):
                ours.setdefault(name, [])
                continue
            if name == BUILT_IN:
                policy = verdict
            used = used or verdict != "ACCEPT"
        elif line.startswith("-A "):
            _dummy, name, rule = line.split(" ", 2)
            target = rule.rpartition("-j ")[2]
            if name.startswith(OURS):
                ours.setdefault(name, []).append(rule)
            elif name == BUILT_IN and rule == f"-j {target}" and target.startswith(OURS):
                jumps.setdefault(target, []).append(len(rules))
            elif target.startswith(OURS):
                continue  # to a chain of policies
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
            found["chain", table.tool, name] = AcceptChain(table.tool, name, table.ours[name])
        places = table.jumps.get(name)
        if places:
            reached = len(places) == 1 and places[0] <= table.end
            found["jump", table.tool, name] = AcceptJump(table.tool, name, reached)
    return found


class ForwardFacility:
    """Changes a table by one ``iptables-restore --noflush``, which leaves the rules of others alone."""

    name = "iptables"
    deletes_first = False

    def parents(self, obj: Object) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Object, after: Object) -> bool:
        return False

    def describe(self, obj: Object) -> dict[str, Any]:
        if isinstance(obj, AcceptChain):
            return {"chain": f"{obj.tool} chain {obj.name}", "rules": "; ".join(obj.rules)}
        where = "before what drops all" if obj.reached else "where packets do not come, or twice"
        return {"jump": f"{obj.tool} -A {BUILT_IN} -j {obj.name}", "place": where}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        tables = {table.tool: table for table in filters()}
        failures: list[str] = []
        for tool in dict.fromkeys((operation.after or operation.before).tool for operation in operations):
            mine = [operation for operation in operations if (operation.after or operation.before).tool == tool]
            try:
                if tool not in tables:
                    failures.append(f"{self.name}: {tool}: its table filter has gone; run the playbook again")
                else:
                    restore = iptables_tools.tool(*TOOLS[tool][:2], "restore")
                    run([restore, "-w", LOCK_SECONDS, "--noflush"], stdin=script(tables[tool], mine))
            except ToolError as error:
                failures.append(f"{self.name}: {tool}: the change was refused, nothing of it holds: {error.stderr}")
        if failures:
            raise ApplyError(failures)
        if not all(operation.after for operation in operations):
            iptables_bases.clear()


def script(table: Filter, operations: Sequence[Operation]) -> str:
    """One transaction for one table: jumps go before their chains and come after them."""
    jumps = [each for each in operations if isinstance(each.after or each.before, AcceptJump)]
    chains = [each for each in operations if isinstance(each.after or each.before, AcceptChain)]
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


FORWARD_RULES = ForwardFacility()
