# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the collection on the import path under its full name, as Ansible does, and says how hypothesis draws.

The latter here, and not as an option, for ansible-test starts pytest with options of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

COLLECTIONS = Path(__file__).resolve().parent.parent / "collections"
# ansible-test arranges the import itself and has no such folder.
if (COLLECTIONS / "ansible_collections").is_dir() and str(COLLECTIONS) not in sys.path:
    sys.path.insert(0, str(COLLECTIONS))

# The same examples in each run, and no limit of time: machines have other things to do.
settings.load_profile("ci")
