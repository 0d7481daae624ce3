# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds ebpf/policy.c into plugins/module_utils/packetfilter/ebpf_object.py, which modules carry to the nodes.

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
SOURCE = ROOT / "ebpf" / "policy.c"
MODULE = ROOT / "plugins" / "module_utils" / "packetfilter" / "ebpf_object.py"
# Debian 12's. Another one makes another object out of the same source.
COMPILER = "clang version 14.0.6"
OTHER_COMPILER = 3
FLAGS = ["-O2", "-g0", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"]


def compiler() -> str:
    """What the compiler calls itself."""
    return subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def build() -> bytes:
    """The object, without the symbols that only a debugger needs."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "policy.o"
        # By its bare name: the object holds the name of the file.
        subprocess.run(["clang", *FLAGS, "-c", SOURCE.name, "-o", made], cwd=SOURCE.parent, check=True)
        subprocess.run(["llvm-strip", "--strip-unneeded", "--remove-section=.llvm_addrsig", made], check=True)
        return made.read_bytes()


def render(made: bytes) -> str:
    """The text of the module."""
    lines = textwrap.wrap(base64.b64encode(zlib.compress(made, 9)).decode(), 116)
    return "\n".join(
        [
            "# Copyright (c) 2026, the podnet.fabric authors",
            "# SPDX-License-Identifier: GPL-2.0-or-later",
            '"""The programs of ebpf/policy.c as an ELF object. Made by `make ebpf`; do not edit."""',
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
    """Write the module, or with --check say whether it is what the source makes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the module differs")
    check = parser.parse_args().check
    if COMPILER not in compiler():
        sys.stderr.write(f"{compiler()} makes another object than {COMPILER}, Debian 12's, which CI has\n")
        sys.exit(OTHER_COMPILER)
    made = render(build())
    if not check:
        MODULE.write_text(made, encoding="utf-8")
    elif MODULE.read_text(encoding="utf-8") != made:
        sys.exit(f"{MODULE.relative_to(ROOT)} is not what ebpf/ makes: run `make ebpf` and commit both")


if __name__ == "__main__":
    main()
