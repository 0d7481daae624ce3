# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the plugin's code out of its archive, once after each boot, to where Python keeps it compiled."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path


def unpack(archive: str, code: str, digest: str) -> None:
    """Unpack an archive, beside others that do the same, to ``code/digest``; what other archives left there goes."""
    wanted = Path(code, digest)
    mine = Path(code, f".new-{os.getpid()}")
    mine.mkdir(mode=0o700, parents=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(mine)
        try:
            mine.rename(wanted)
        except OSError:
            if not wanted.is_dir():
                raise
    finally:
        shutil.rmtree(mine, ignore_errors=True)
    for other in Path(code).iterdir():
        # One that is being unpacked right now belongs to the same archive.
        if other != wanted and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)
