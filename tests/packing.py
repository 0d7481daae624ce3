# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packed modules that are kept from one playbook run of the tests to the next. See tests/callback/packed.py.

Nothing of Ansible's controller is imported here: in a process with that, modules show their warnings themselves.
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
from typing import TYPE_CHECKING

import ansible

if TYPE_CHECKING:
    from collections.abc import Sequence

TOP = Path(__file__).resolve().parents[1]
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
