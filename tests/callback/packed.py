# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps from one playbook run of the tests to the next what Ansible makes of a module: two fifths of a run's time.

In each run Ansible parses every module with all that it imports, to find out what has to be sent along, and packs that
into an archive of sources, which Python compiles on each node at each call. Here it is parsed once for each state of
the sources, and the archive carries what it compiles to as well. Python runs that only where it was made of the source
that lies next to it and by the same version of itself (PEP 552), else it compiles the source as everywhere.

`make lab` does without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

from ansible_collections.podnet.fabric.tests.packing import KEPT, keep, state, take

DOCUMENTATION = """
name: packed
type: aggregate
short_description: Modules that were packed by an earlier run
description: Takes packed modules from build/packed of the checkout and leaves there what the run has packed.
"""


class CallbackModule(CallbackBase):
    """See the documentation."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "packed"
    CALLBACK_NEEDS_ENABLED = True

    _state = ""
    _known: frozenset[str] = frozenset()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Give the run what is known."""
        if not self._state:
            self._state = state()
            self._known = take(KEPT / self._state, folder_of_run())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Keep what is new, unless a source was changed meanwhile."""
        new = [path for path in folder_of_run().glob("*-ZIP_*") if not path.name.endswith((".lock", "-part"))]
        new = [path for path in new if path.name not in self._known]
        if new and state() == self._state:
            keep(new, KEPT / self._state)


def folder_of_run() -> Path:
    """Where Ansible looks for a packed module before it packs it."""
    return Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
