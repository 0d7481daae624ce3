# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds up pytest's reports: a line per suite, every skip with its reason, and the closing line of the whole run."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

COUNTED = ("tests", "failures", "errors", "skipped")


def main(paths: list[str]) -> int:
    """Print the sums of the reports at ``paths``; 1 when there is none or one of them holds no test."""
    total = dict.fromkeys(COUNTED, 0)
    empty = not paths
    for path in (Path(name) for name in paths):
        if not path.is_file():
            sys.stdout.write(f"  no report: {path}\n")
            empty = True
            continue
        suite = ET.parse(path).getroot().find("testsuite")  # noqa: S314 - written a moment ago by our own pytest
        counts = {key: int(suite.get(key, "0")) if suite is not None else 0 for key in COUNTED}
        for key in COUNTED:
            total[key] += counts[key]
        empty = empty or not counts["tests"]
        sys.stdout.write(f"  {path.stem}: " + ", ".join(f"{counts[key]} {key}" for key in COUNTED) + "\n")
        for case in suite.iter("testcase") if suite is not None else ():
            skip = case.find("skipped")
            if skip is not None:
                sys.stdout.write(f"    skipped {case.get('classname')}.{case.get('name')}: {skip.get('message')}\n")
    broken = total["failures"] + total["errors"]
    passed = total["tests"] - broken - total["skipped"]
    sys.stdout.write(f"{passed} passed, {broken} failed, {total['skipped']} skipped\n")
    return int(empty)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
