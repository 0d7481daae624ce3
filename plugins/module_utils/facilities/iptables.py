# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of ours and jumps to them in tables of iptables, changed by one transaction for each table and family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError, in_words
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import iptables_bases
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import (
    NAT,
    TABLE,
    IptablesChain,
    IptablesJump,
    ahead,
    jump_digest,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import (
    AHEAD,
    LOCK_SECONDS,
    NFT,
    PROGRAMS,
    tool,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation, Reference


class IptablesFacility:
    """Rule texts are looked up by digest in what ``rule`` has registered."""

    name = "iptables"
    deletes_first = False

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def rule(self, text: str) -> str:
        """Register a rule's text, from its matches to its target, and give its digest."""
        self._texts[digest(text)] = text
        return digest(text)

    def parents(self, obj: Any) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Any, after: Any) -> bool:
        return False

    def describe(self, obj: Any) -> dict[str, Any]:
        program = f"{PROGRAMS[obj.family]}-{obj.flavour}"
        if isinstance(obj, IptablesJump):
            name = f"{program} jump {obj.chain} {obj.target}"
            return {"jump": name, "copies": obj.copies, "first": "yes" if obj.first else "no"}
        rules = "; ".join(self._texts.get(rule, rule) for rule in obj.rules)
        return {"chain": f"{program} chain {obj.name}", "rules": rules}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        batches: dict[tuple[str, int], list[Operation]] = {}
        for operation in operations:
            obj = operation.after or operation.before
            batches.setdefault((obj.flavour, obj.family), []).append(operation)
        failures = []
        for (flavour, family), batch in batches.items():
            try:
                if flavour == NFT:
                    iptables_bases.note(family, dict.fromkeys(_of(each).table for each in batch if each.after))
                argv = [tool(flavour, family, "restore"), "--noflush", "-w", LOCK_SECONDS]
                follows = any(isinstance(each.after, IptablesJump) and _follows(each.after) for each in batch)
                run(argv, stdin=self.script(batch, ahead(flavour, family) if follows else {}))
            except ToolError as error:
                failures.append(f"{self.name}: {error.argv[0]} refused, nothing of that table holds: {error.stderr}")
            except PodnetError as error:
                failures.append(f"{self.name}: {error}")
            except OSError as error:
                failures.append(f"{self.name}: {in_words(error)}")
        if failures:
            raise ApplyError(failures)

    def script(self, operations: Sequence[Operation], leading: Mapping[str, int] | None = None) -> str:
        """The transactions of one family, one for each table, so no packet meets a half of a table's.

        What sends packets on comes before what rejects those that nobody sends on.

        :param leading: how many jumps of ours the built-in chains begin with that others of ours follow
        """
        return "".join(
            line + "\n"
            for table in (NAT, TABLE)
            for line in self._script(table, [each for each in operations if _of(each).table == table], leading or {})
        )

    def _script(self, table: str, operations: Sequence[Operation], leading: Mapping[str, int]) -> Iterator[str]:
        """Naming a chain makes or empties it. Chains are named before rules lead to them, and go when none does."""
        if not operations:
            return
        chains = [each for each in operations if isinstance(_of(each), IptablesChain)]
        jumps = [each for each in operations if isinstance(_of(each), IptablesJump)]
        yield f"*{table}"
        yield from (f":{_of(each).name} - [0:0]" for each in chains)
        for each in chains:
            yield from self._rules(each.after) if each.after else ()
        for each in jumps:
            before, after = each.before, each.after
            if before:
                yield from [f"-D {before.chain} {_leading(before.target)}"] * before.copies
            if after:
                place = 1 + leading.get(after.chain, 0) if _follows(after) else 1
                yield f"-I {after.chain} {place} {_leading(after.target)}"
        yield from (f"-X {each.before.name}" for each in chains if not each.after)
        yield "COMMIT"

    def _rules(self, chain: IptablesChain) -> list[str]:
        return [f"-A {chain.name} -m comment --comment {rule} {self._texts[rule]}" for rule in chain.rules]


def _of(operation: Operation) -> Any:
    return operation.after or operation.before


def _follows(jump: IptablesJump) -> bool:
    """Whether it comes after others of ours."""
    return not jump.target.startswith(AHEAD)


def _leading(target: str) -> str:
    return f"-m comment --comment {jump_digest(target)} -j {target}"


IPTABLES = IptablesFacility()
