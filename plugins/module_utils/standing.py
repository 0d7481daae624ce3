# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a module's documents stand in the declaration already: those were inspected before they came there.

As the API server of Kubernetes does when an object is updated, what is as it was is not judged again. Of 10,000
services of which one has changed, that leaves one to look at. Where what is given equals what is declared, such as 1.0
and 1, what is declared counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence


def standing(
    given: Sequence[Any], declared: Sequence[Any], key_of: Callable[[Any], Hashable]
) -> tuple[list[Any], set[int]]:
    """The documents, with the very ones that are declared in the place of such as are equal, and where these are.

    :param key_of: by what a document is found where it is declared at another place; one that has no such key stands
        nowhere
    """
    found = [before if before == one else one for one, before in zip(given, declared)]
    found += given[len(found) :]
    again = {position for position, one in enumerate(given) if found[position] is not one}
    others = [position for position in range(len(found)) if position not in again]
    try:
        if any(at >= len(declared) or key_of(declared[at]) != key_of(found[at]) for at in others):
            known = {key_of(before): before for before in declared}
            for position in others:
                before = known.get(key_of(found[position]))
                if before is not None and before == found[position]:
                    found[position] = before
                    again.add(position)
    except MALFORMED:  # the inspection will say where
        pass
    return found, again
