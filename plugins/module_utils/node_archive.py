# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node program ``podnet-node``: all of module_utils as one file that Python runs (PEP 441), and nothing else.

It is built on the node, out of the code that runs: a module brings along all that it imports, and so does the program
itself. The same code makes the same bytes, whichever module or program it is that builds.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "ansible_collections.podnet.fabric.plugins.module_utils"
FOLDER = PACKAGE.replace(".", "/")
SHEBANG = b"#!/usr/bin/python3\n"
MARK = b"# Made by podnet.fabric; replaced by the next run\n"
MAIN = """import sys

if sys.version_info < (3, 9):
    sys.exit("podnet-node: found Python %d.%d; it takes 3.9 or newer" % sys.version_info[:2])

from {package}.node_program import main

try:
    status = main(sys.argv[1:], {version!r})
except KeyboardInterrupt:
    status = 130
sys.exit(status)
"""
ENTRIES = tuple(f"{FOLDER}/{name}.py" for name in ("node_program", "attach/plugin", "attach/unpacking"))
CODE = "/run/podnet/code"
_IMPORT = re.compile(rf"^\s*from {re.escape(PACKAGE)}(?:\.([\w.]+))? import (?:\(([^)]*)\)|([^(\n]*))", re.MULTILINE)

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can tell


@functools.lru_cache(maxsize=1)
def program() -> bytes:
    """The file's content.

    zipapp of the standard library writes the times of files and the order of folders into its archives, and what zlib
    makes of a text differs between its versions: so entries are sorted, undated and stored as they are.
    """
    packed = io.BytesIO()
    packed.write(SHEBANG + MARK)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(_files(sources()).items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


# The shell costs little, and speaks for DEL where the node has no Python any more. Code that is compiled before is kept
# where the boot empties it: out of the archive Python would compile it each time.
PLUGIN = """#!/bin/sh
{mark}[ -x /usr/bin/python3 ] || [ "$CNI_COMMAND" != DEL ] || exit 0
exec /usr/bin/python3 -IS -c '
import sys

def run():
    from {package}.attach.plugin import main

    return main()

sys.path.insert(0, "{code}/{digest}")
try:
    try:
        status = run()
    except ImportError:
        sys.path.insert(0, "{archive}")
        from {package}.attach.unpacking import unpack

        unpack("{archive}", "{code}", "{digest}")
        sys.path.remove("{archive}")
        sys.path_importer_cache.clear()
        for name in [name for name in sys.modules if name.startswith("ansible_collections")]:
            del sys.modules[name]
        status = run()
except BaseException as error:
    import os

    status = 0
    if os.environ.get("CNI_COMMAND") != "DEL":
        import json

        told = "podnet-attach: " + (str(error) or type(error).__name__)
        print(json.dumps({{"cniVersion": "1.0.0", "code": 50, "msg": told}}))
        status = 1
sys.exit(status)
'
"""


def plugin(archive: str) -> bytes:
    """The chained CNI plugin's file, which takes its code out of an archive with the node program."""
    words = {"package": PACKAGE, "archive": archive, "code": CODE, "digest": digest(program())[:12]}
    return PLUGIN.format(mark=MARK.decode(), **words).encode()


def _brought_along() -> None:
    """A module brings along what it imports, also where that is never run: so it brings the program."""
    from ansible_collections.podnet.fabric.plugins.module_utils import node_program  # noqa: F401
    from ansible_collections.podnet.fabric.plugins.module_utils.attach import plugin, unpacking  # noqa: F401


def digest(content: bytes) -> str:
    """What a content is compared by."""
    return hashlib.sha256(content).hexdigest()


def is_ours(content: bytes) -> bool:
    """Whether a file was built by this collection."""
    return content.partition(b"\n")[2].startswith(MARK)


def sources() -> dict[str, bytes]:
    """The code that the program needs, by its path in an archive."""
    known = _available()
    found: dict[str, bytes] = {}
    waiting = list(ENTRIES)
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += _imported(known[name].decode())
    return found


def _imported(text: str) -> Iterator[str]:
    """What a source may import of the code: modules out of packages, and names out of modules."""
    for module, several, some in _IMPORT.findall(text):
        base = "/".join([FOLDER, *module.split(".")]) if module else FOLDER
        yield f"{base}.py"
        names = (several or some.partition("#")[0]).split(",")
        yield from (f"{base}/{name.split(' as ')[0].strip()}.py" for name in names)


def _available() -> dict[str, bytes]:
    """The code in the archive that we run out of, or in the checkout."""
    archive = getattr(__loader__, "archive", None)  # type: ignore[name-defined]
    if archive is not None:
        with zipfile.ZipFile(archive) as packed:
            return {name: packed.read(name) for name in packed.namelist() if _belongs(name)}
    top = Path(__file__).parent
    return {
        name: path.read_bytes()
        for path in top.rglob("*.py")
        if _belongs(name := f"{FOLDER}/{path.relative_to(top).as_posix()}")
    }


def _belongs(name: str) -> bool:
    return name.startswith(f"{FOLDER}/") and name.endswith(".py") and not name.endswith("/__init__.py")


def _files(code: dict[str, bytes]) -> dict[str, bytes]:
    """The archive's files: the code, the packages that it is in, and where it begins."""
    folders = {parent for name in code for parent in map(str, Path(name).parents) if parent != "."}
    version = digest(b"".join(name.encode() + code[name] for name in sorted(code)))[:12]
    begin = MAIN.format(package=PACKAGE, version=version).encode()
    return {**code, **{f"{folder}/__init__.py": b"" for folder in folders}, "__main__.py": begin}
