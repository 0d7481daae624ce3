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

import base64
import dataclasses
import functools
import hashlib
import importlib.util
import io
import marshal
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ansible
from ansible import constants
from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENTATION = """
name: packed
type: aggregate
short_description: Modules that were packed by an earlier run
description: Takes packed modules from build/packed of the checkout and leaves there what the run has packed.
"""

TOP = Path(__file__).resolve().parents[2]
KEPT = TOP / "build" / "packed"
_STATES = 3
"""So many states of the sources are kept: there and back again in a checkout should cost nothing."""
_ANSIBLE = Path(ansible.__file__).parent
# What goes into archives, and what packs them.
_SOURCES = (
    *(TOP / "plugins/modules", TOP / "plugins/module_utils", _ANSIBLE / "modules", _ANSIBLE / "module_utils"),
    *(_ANSIBLE / "_internal/_ansiballz", _ANSIBLE / "executor/module_common.py", Path(__file__).resolve()),
)
_CHECKED_HASH = 0b11


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


def state() -> str:
    """The digest of all sources."""
    digest = hashlib.blake2b(sys.version.encode(), digest_size=16)
    for source in _SOURCES:
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(source.parent)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def take(kept: Path, run: Path) -> frozenset[str]:
    """Link what is kept into the run's own folder; the names."""
    run.mkdir(parents=True, exist_ok=True)
    names = set()
    # Another run may be removing old ones.
    with suppress(FileNotFoundError):
        for path in kept.iterdir():
            try:
                os.link(path, run / path.name)
            except OSError:
                shutil.copyfile(path, run / path.name)
            names.add(path.name)
        os.utime(kept)
    return frozenset(names)


def keep(packed: Sequence[Path], kept: Path) -> None:
    """Add to what is kept; each file appears as a whole, whoever else keeps the same."""
    kept.mkdir(parents=True, exist_ok=True)
    for path in packed:
        module = pickle.loads(path.read_bytes())  # noqa: S301 - written by this run
        archive = with_code(base64.b64decode(module.zip_data))
        module = dataclasses.replace(module, zip_data=base64.b64encode(archive))
        with tempfile.NamedTemporaryFile(dir=KEPT, delete=False) as made:
            pickle.dump(module, made)
        Path(made.name).rename(kept / path.name)
    states = sorted((path for path in KEPT.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in states[:-_STATES]:
        shutil.rmtree(old, ignore_errors=True)


def with_code(archive: bytes) -> bytes:
    """An archive of sources with what each of them compiles to beside it."""
    made = io.BytesIO(archive)
    with zipfile.ZipFile(made, "a") as packed:
        for entry in packed.infolist():
            if entry.filename.endswith(".py"):
                code = zipfile.ZipInfo(f"{entry.filename}c", entry.date_time)
                packed.writestr(code, compiled(entry.filename, packed.read(entry)), zipfile.ZIP_DEFLATED)
    return made.getvalue()


@functools.cache
def compiled(name: str, source: bytes) -> bytes:
    """The content of a .pyc file that is valid for this source alone."""
    code = compile(source, name, "exec", dont_inherit=True)
    parts = (importlib.util.MAGIC_NUMBER, _CHECKED_HASH.to_bytes(4, "little"), importlib.util.source_hash(source))
    return b"".join(parts) + marshal.dumps(code)
