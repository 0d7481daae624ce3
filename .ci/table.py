# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes on what ansible-playbook prints, and prints the table that the role `verify` shows once more, at the very end.

ansible-playbook ... | python .ci/table.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

_TASK = "TASK [podnet.fabric.verify : Show who reached whom]"


def passed_on(lines: Iterable[str]) -> Iterator[str]:
    """The lines, printed as they come."""
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        yield line


def table_in(lines: Iterable[str]) -> list[str]:
    """The message of the task, which the callback prints as JSON behind `ok: [HOST] => `."""
    here = False
    text = ""
    for line in lines:
        if line.startswith("TASK ["):
            here = line.startswith(_TASK)
        elif here and line.startswith("ok: ["):
            text = "{\n"
        elif here and text:
            text += line
            here = line != "}\n"
    return list(json.loads(text)["msg"]) if text else []


if __name__ == "__main__":
    table = table_in(passed_on(sys.stdin))
    sys.stdout.write("\n" + "\n".join(table) + "\n" if table else "")
    sys.exit(0 if table else 1)
