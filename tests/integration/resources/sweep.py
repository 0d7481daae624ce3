# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind is applied, changed and removed with a fault at every operation in turn; each time the next run mends it."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError, in_words
from tests.integration.faults import FULL, KILLED, Faults, inject
from tests.integration.rounds import Rounds, killed

from .conftest import VOLATILE, _without

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

    from .conftest import Node


class Case(NamedTuple):
    """A kind with two realistic declarations of one item; ``step`` is from one fault to the next, for what is slow."""

    kind: Kind
    item: str
    first: dict[str, Any]
    second: dict[str, Any]
    step: int = 1


FOREIGN = "table inet foreign {\nchain c {\ntype filter hook input priority 0\n}\n}\n"
OF_A_FAMILY = "neigh show nud permanent\nroute show table all\nrule\n"
SHOWN = {"-4": f"link\naddress\nnexthop\n{OF_A_FAMILY}", "-6": f"address\n{OF_A_FAMILY}"}


def picture(node: Node, folder: Path, facilities: set[str]) -> list[str]:
    """Links, addresses, routes ..., packet filter and files, a line each, by few processes: it is drawn often."""
    lines = [node.namespace.run("nft", "list", "ruleset")] if "nftables" in facilities else []
    texts = [
        node.namespace.run("ip", family, "-details", "-json", "-batch", "-", stdin=commands)
        for family, commands in SHOWN.items()
    ]
    if "fdb" in facilities:
        texts.append(node.namespace.run("bridge", "-json", "fdb", "show"))
    hidden = VOLATILE | {"id", "nhid"}
    for text in texts:
        position, decoder = 0, json.JSONDecoder()
        while position < len(text):
            entries, position = decoder.raw_decode(text, position)
            lines += [json.dumps(_without(hidden, entry), sort_keys=True) for entry in entries if entry]
            while text[position : position + 1].isspace():
                position += 1
    lines += [
        f"{path} {path.read_text(encoding='utf-8') if path.is_file() and path.suffix != '.key' else ''}"
        for path in sorted(folder.rglob("*"))
    ]
    return sorted(lines)


def outcome(faults: Faults, run: Callable[[], Any]) -> str:
    """The message of a run that failed, as modules tell it; empty when it came to its end all the same."""
    try:
        run()
    except PodnetError as error:
        return str(error)
    except OSError as error:
        return in_words(error)
    except Exception as error:
        raise AssertionError(f"{faults.injected}: a traceback: {type(error).__name__}: {error}") from error
    return ""


def clear_away_empty_directories(folder: Path) -> None:
    """That is all that a directory which cannot be removed may leave."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def clear(message: str, faults: Faults) -> None:
    """Says what was done to what, and why it failed, and nothing in Python's words."""
    assert faults.reason in message, f"{faults.injected}: {message}"
    for word in ("Errno", "Error(", "Traceback", "NetlinkError", "None"):
        assert word not in message, f"{faults.injected}: {message}"
    for line in message.splitlines():
        assert ": " in line, f"{faults.injected}: {message}"
    assert len(message) < 4000


def _faulty(at: int, turn: int, folder: Path, run: Callable[[], Any]) -> tuple[Faults, str]:
    """Carry a run out with a fault: what it said."""
    with inject(at, turn, [str(folder), "/proc/sys"]) as faults:
        message = outcome(faults, run)
    return faults, message


def sweep(node: Node, folder: Path, case: Case) -> None:
    """Apply, change and remove with a fault at each operation in turn."""
    kind, item, first, second, step = case
    node.namespace.run("nft", "-f", "-", stdin=FOREIGN)
    facilities = {facility.name for facility in kind.facilities}
    nothing = picture(node, folder, {"nftables", "fdb"})

    def apply() -> Any:
        return node.declare(kind, item, first)

    def change() -> Any:
        return node.declare(kind, item, second)

    def remove() -> Any:
        return node.withdraw(kind, item)

    seen = 0
    for start, run in ((remove, apply), (apply, change), (change, remove)):
        start()
        run()
        time.sleep(0.1)
        wanted = picture(node, folder, facilities)
        rounds, faults = Rounds(step, seen), Faults(None, 0, ())
        for turn in rounds:
            start()
            if rounds.kills:
                message = KILLED
                assert killed(partial(_faulty, rounds.at, turn, folder, run)), f"{run.__name__}, {faults.injected}"
                run()
            else:
                faults, message = _faulty(rounds.at, turn, folder, run)
                rounds.sorts = faults.sorts
            if not faults.injected:
                assert message == ""
                break
            story = f"{run.__name__}, {faults.injected}: {message}"
            if message and not rounds.kills:
                clear(message, faults)
                run()
            elif faults.injected.startswith("rmdir"):
                clear_away_empty_directories(folder)
            shown = picture(node, folder, facilities)
            limit = time.monotonic() + 2
            while shown != wanted and time.monotonic() < limit:  # an IPv6 address gets its route a little later
                shown = picture(node, folder, facilities)
            assert shown == wanted, story
            assert not run().changed, story
        seen += rounds.at // step
    assert FULL or seen * step > 20
    # What was there before is in each of these pictures: nobody could put it back.
    assert picture(node, folder, {"nftables", "fdb"}) == nothing
