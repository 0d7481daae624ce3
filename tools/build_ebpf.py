# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the programs in ebpf/ into modules of plugins/module_utils/packetfilter/, which Ansible carries to the nodes.

Ansible takes nothing but Python to a node, so the object is a text in a module. No compiler is needed there.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
import tempfile
import textwrap
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "ebpf"
MODULES = ROOT / "plugins" / "module_utils" / "packetfilter"
OBJECTS = {
    "policy.c": "ebpf_object.py",
    "service.c": "service_ebpf_object.py",
    "connect.c": "connect_ebpf_object.py",
}
"""Which source becomes which module."""
# Debian 12's. Another one makes another object out of the same source.
COMPILER = "clang version 14.0.6"
OTHER_COMPILER = 3
FLAGS = ["-O2", "-g0", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"]


def compiler() -> str:
    """What the compiler calls itself."""
    return subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def build(source: str) -> bytes:
    """The object, without the symbols that only a debugger needs."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.o"
        # By its bare name: the object holds the name of the file.
        subprocess.run(["clang", *FLAGS, "-c", source, "-o", made], cwd=SOURCES, check=True)
        subprocess.run(["llvm-strip", "--strip-unneeded", "--remove-section=.llvm_addrsig", made], check=True)
        return made.read_bytes()


def render(source: str, made: bytes) -> str:
    """The text of the module."""
    lines = textwrap.wrap(base64.b64encode(zlib.compress(made, 9)).decode(), 116)
    return "\n".join(
        [
            "# Copyright (c) 2026, the podnet.fabric authors",
            "# SPDX-License-Identifier: GPL-2.0-or-later",
            f'"""The programs of ebpf/{source} as an ELF object. Made by `make ebpf`; do not edit."""',
            "",
            "from __future__ import annotations",
            "",
            "import base64",
            "import zlib",
            "",
            "OBJECT = zlib.decompress(",
            "    base64.b64decode(",
            '        """',
            *lines,
            '"""',
            "    )",
            ")",
            "",
        ]
    )


def main() -> None:
    """Write the modules, or with --check say whether they are what the sources make."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a module differs")
    check = parser.parse_args().check
    if COMPILER not in compiler():
        sys.stderr.write(f"{compiler()} makes another object than {COMPILER}, Debian 12's, which CI has\n")
        sys.exit(OTHER_COMPILER)
    for source, module in OBJECTS.items():
        made, path = render(source, build(source)), MODULES / module
        if not check:
            path.write_text(made, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != made:
            sys.exit(f"{path.relative_to(ROOT)} is not what ebpf/ makes: run `make ebpf` and commit both")


if __name__ == "__main__":
    main()
