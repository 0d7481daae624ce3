# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IP sets of ours (``podnet-*``), in which iptables' rules look addresses up, compared by their elements."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError, taking_apart
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import iptables_bases
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.ipset import dump_names
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import DELETE, RECREATE, REPLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Reference

ADDRESSES, PREFIXES = "hash:ip", "hash:net"
ADDRESS_PORTS, PREFIX_PORTS = "hash:ip,port", "hash:net,port"
ADDRESS_PORT_PREFIXES, ADDRESS_PORT_ADDRESSES = "hash:ip,port,net", "hash:ip,port,ip"
NAME_BYTES = 31
"""The longest name of a set: IPSET_MAXNAMELEN of linux/netfilter/ipset/ip_set.h is 32 with the zero at its end."""
DEFAULT_MAXELEM = 65536  # ipset(8)
MAXELEM = 1 << 22
"""How far a set may grow that is changed in place; the kernel takes memory for what is in there only."""
MIN_HASHSIZE, MAX_HASHSIZE = 64, 65536
PATIENCE = 5.0
"""Seconds that a set may stay in use after its last rule is gone: nf_tables frees rules after the transaction."""

_MODULE = Path("/sys/module/ip_set")
# In its interactive mode the tool prints a prompt, wherever its input comes from.
_LINE = re.compile(r"(?:ipset> )*(create|add) (\S+) (\S+)(.*)")
_PROMPT = re.compile(r"(?:ipset> )*")


class IpSet(NamedTuple):
    """``type`` is hash:ip, with plain addresses, or hash:net, with prefixes of at least one bit in CIDR notation.

    Those of several parts have them as `ipset save` prints them. With a ``timeout``, in seconds, packets fill it, and
    it is known by that alone. Where it is ``counted``, each element counts the packets that are found by it.
    """

    name: str
    type: str
    family: str
    elements: frozenset[str]
    timeout: int = 0
    counted: bool = False


def names() -> list[str]:
    """Those of all sets, without loading the kernel's module for it; none where they cannot be read."""
    # The module has a parameter, so the folder is there where it is built in, too.
    if not _MODULE.is_dir():
        return []
    try:
        with open_netfilter() as nl:
            return dump_names(nl)
    except NetlinkError:
        return []


def any_left(prefix: str) -> bool:
    """Whether there are sets whose names begin so."""
    return any(name.startswith(prefix) for name in names())


def observe(prefix: str) -> dict[str, IpSet]:
    """The sets whose names begin so, by name. Others, however large, are not read."""
    try:
        names = [name for name in run(["ipset", "list", "-n"]).split() if name.startswith(prefix)]
        if not names:
            return {}
        # One process for all of them.
        return parse(run(["ipset", "-"], stdin="".join(f"save {name}\n" for name in names)))
    except ToolError as error:
        if error.returncode is None and "not installed" in error.stderr and not any_left(prefix):
            # Nobody has made a set either; an apply says that the tool is missing.
            return {}
        raise PodnetError(f"the IP sets cannot be read: {error}") from error


@taking_apart("ipset save")
def parse(saved: str) -> dict[str, IpSet]:
    """Sets out of what `ipset save` prints."""
    sorts: dict[str, tuple[str, str, int, bool]] = {}
    elements: dict[str, list[str]] = {}
    for line in saved.splitlines():
        match = _LINE.match(line)
        if match is None:
            if _PROMPT.sub("", line).strip():
                raise PodnetError(f"the IP sets cannot be read: ipset says {line!r}; run it again")
            continue
        verb, name, word, rest = match.groups()
        if verb == "create":
            options = rest.split()
            family = options[options.index("family") + 1] if "family" in options else "inet"
            timeout = int(options[options.index("timeout") + 1]) if "timeout" in options else 0
            sorts[name], elements[name] = (word, family, timeout, "counters" in options), []
        elif not sorts[name][2]:
            elements[name].append(word)
    return {
        name: IpSet(
            *(name, sort, family),
            frozenset(map(_prefix, elements[name]) if sort == PREFIXES else elements[name]),
            timeout,
            counted,
        )
        for name, (sort, family, timeout, counted) in sorts.items()
    }


def _prefix(text: str) -> str:
    """A single address is printed without its length."""
    return text if "/" in text else f"{text}/{128 if ':' in text else 32}"


class IpsetFacility:
    """Sets are made before the rules that look into them, and go after these."""

    name = "ipsets"
    deletes_first = False

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: IpSet, after: IpSet) -> bool:
        return before._replace(elements=frozenset()) != after._replace(elements=frozenset())

    def describe(self, obj: IpSet) -> dict[str, Any]:
        return {
            "set": f"set {obj.name}",
            "type": obj.type,
            "family": obj.family,
            "timeout": obj.timeout or None,
            "counters": obj.counted,
            "elements": ",".join(sorted(obj.elements)),
        }

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        doomed = [operation.before.name for operation in operations if operation.verb in (DELETE, RECREATE)]
        if doomed:
            # Rules have gone before their sets. As long as there is a set of ours, a run that was killed goes on here.
            iptables_bases.clear()
            self._destroy(doomed)
        wanted = [operation for operation in operations if operation.after]
        # What has come to one set is in another one, too, before it goes anywhere; and as it comes, backwards, it goes.
        lines = [line for operation in wanted for line in additions(operation)]
        lines += [line for operation in reversed(wanted) for line in removals(operation)]
        if lines:
            try:
                run(["ipset", "restore"], stdin="\n".join(lines) + "\n")
            except ToolError as error:
                raise ApplyError([f"{self.name}: refused: {error.stderr}; run it again"]) from error

    def _destroy(self, names: Sequence[str]) -> None:
        limit = time.monotonic() + PATIENCE
        left = list(names)
        while left:
            try:
                run(["ipset", "restore"], stdin="".join(f"destroy {name}\n" for name in left))
                left = []
            except ToolError as error:
                if error.returncode is None or time.monotonic() > limit:
                    raise ApplyError(
                        [f"{self.name}: {', '.join(left)} cannot be removed: {error.stderr}; see which rule uses it"]
                    ) from error
                time.sleep(0.05)
                # Those before the one that was refused are gone.
                there = set(run(["ipset", "list", "-n"]).split())
                left = [name for name in left if name in there]


def additions(operation: Operation) -> list[str]:
    """The lines for `ipset restore` that make a set, or add what is missing in one."""
    wanted: IpSet = operation.after
    missing = wanted.elements - operation.before.elements if operation.verb == REPLACE else wanted.elements
    lines = [f"add {wanted.name} {element}" for element in sorted(missing)]
    if operation.verb == REPLACE:
        return lines
    room = 1 << max(len(wanted.elements) - 1, 1).bit_length()
    size = min(max(room // 2, MIN_HASHSIZE), MAX_HASHSIZE)
    limit = f"{DEFAULT_MAXELEM} timeout {wanted.timeout}" if wanted.timeout else max(room, MAXELEM)
    options = f"family {wanted.family} hashsize {size} maxelem {limit}{' counters' if wanted.counted else ''}"
    return [f"create {wanted.name} {wanted.type} {options}", *lines]


def removals(operation: Operation) -> list[str]:
    """The lines that take out of a set what is too much."""
    if operation.verb != REPLACE:
        return []
    wanted: IpSet = operation.after
    return [f"del {wanted.name} {element}" for element in sorted(operation.before.elements - wanted.elements)]


IPSETS = IpsetFacility()
