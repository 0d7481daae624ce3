# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python of a guest remembers what it has compiled: a quarter of the time that a module's call takes there.

Ansible packs a module with all that it imports into an archive of sources, which Python compiles anew at every call.
Here it is done once for each source. The interpreter imports this file when it starts, because it is on PYTHONPATH;
what it imports itself is there by then, or is imported when the first source comes out of an archive.
"""

from __future__ import annotations

import os
import zipimport
from importlib._bootstrap_external import MAGIC_NUMBER

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest

if TYPE_CHECKING:
    from types import CodeType

# In the guest, where there is but one user, and shared by the nodes of a lab.
FOLDER = f"/tmp/podnet-vm-compiled-{MAGIC_NUMBER.hex()}"  # noqa: S108

compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def remembered(path: str, source: bytes) -> CodeType:
    """The code of a source, from a file named after its digest if there is one."""
    import _imp
    import hashlib
    import marshal

    file = os.path.join(FOLDER, hashlib.blake2b(source, digest_size=16).hexdigest())
    try:
        with open(file, "rb") as known:
            code: CodeType = marshal.load(known)  # noqa: S302 - written below
        _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
    except (OSError, EOFError, ValueError):
        code = compile_source(path, source)
        written = f"{file}.{os.getpid()}"
        try:
            os.makedirs(FOLDER, exist_ok=True)
            with open(written, "wb") as made:
                marshal.dump(code, made)
            os.rename(written, file)
        except OSError:
            return code  # without a memory, as everywhere else
    return code


zipimport._compile_source = remembered  # type: ignore[attr-defined]
