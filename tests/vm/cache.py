# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that outlives checkouts: kernels are expensive to make and the same for all of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(os.environ.get("PODNET_VM_CACHE") or Path.home() / ".cache/podnet.fabric")


@contextlib.contextmanager
def being_made(name: str) -> Iterator[Path | None]:
    """A folder to fill, which becomes ``FOLDER / name`` at the end; None when that is there already.

    One process at a time makes one; others wait for it. When it fails, nothing of it is left.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    if (FOLDER / name).is_dir():
        yield None
        return
    with (FOLDER / "making.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run makes {FOLDER / name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (FOLDER / name).is_dir():
            yield None
            return
        # What a run that was killed has left; the lock says that it is nobody's.
        for left in FOLDER.glob("making-*"):
            shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix="making-", dir=FOLDER))
        try:
            yield folder
            folder.chmod(0o755)
            folder.rename(FOLDER / name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    """A line of progress, on the channel that is not the command's."""
    sys.stderr.write(f"tests/vm: {text}\n")
    sys.stderr.flush()
