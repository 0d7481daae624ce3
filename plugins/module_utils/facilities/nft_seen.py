# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stood in our table after a change of ours, for the next run: as long as nobody has had a transaction since.

The kernel counts the transactions of a network namespace, of whomever, and nothing else changes an element that has no
timeout. So what was read at a number is there as long as that number is, and the next run, which has to know what there
is before it changes anything, need not read tens of thousands of elements. Noted down are digests, by which that run
tells whether it wants what was there; what it wants otherwise, it reads.

The note is in /run, and is of one start of the machine and one namespace. One that cannot be read is none.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, boot_id, write_bytes_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import Elements

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTE = RUN / "nft-seen.json"


def known(namespace: int, generation: int, expected: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """Which of the sets and maps that are expected are there just like that, as nothing has changed since.

    :param namespace: the kernel's number of the network namespace, 0 for none
    :param generation: how many transactions there have been
    """
    if not namespace or not any(isinstance(getattr(obj, "elements", None), Elements) for obj in expected.values()):
        return {}
    try:
        note = json.loads(NOTE.read_text(encoding="utf-8"))
        if note["at"] != [boot_id(), namespace, generation]:
            return {}
        seen = dict(note["seen"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {key: obj for key, obj in expected.items() if seen.get(" ".join(key), "") == digest(obj) != ""}


def note(
    namespace: int,
    generation: int,
    expected: Mapping[tuple[str, str], Any],
    found: Mapping[tuple[str, str], Any],
) -> None:
    """Note down what is there as it was expected; without any of that the note goes."""
    seen = {
        " ".join(key): digest(obj)
        for key, obj in expected.items()
        if found.get(key) == obj and digest(obj) and namespace
    }
    # The next run reads what this one could not note down.
    with suppress(OSError):
        if not seen:
            NOTE.unlink()
            return
        told = json.dumps({"at": [boot_id(), namespace, generation], "seen": seen})
        write_bytes_atomically(NOTE, (told.encode(),), 0o600, lasting=False)


def digest(obj: Any) -> str:
    """Of all that a set or a map says; empty where that would cost as much as to read it."""
    elements = getattr(obj, "elements", None)
    if not isinstance(elements, Elements):
        return ""
    if not elements.digest:
        elements.digest = hashlib.blake2b(b"".join(elements.told), digest_size=16).hexdigest()
    return f"{elements.digest} {len(elements)} {tuple(obj._replace(elements=None))}"
