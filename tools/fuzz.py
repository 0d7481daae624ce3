# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the properties of tests/unit/fuzz under coverage-guided fuzzing (atheris), one process for each.

    python tools/fuzz.py [--seconds 60] [NAME ...]

Needs atheris on the import path; `make fuzz` sees to it. What is found comes with its traceback and an input in
build/fuzz/findings. An input of raw bytes becomes a regression case as a file in tests/unit/fuzz/cases/NAME. One that
hypothesis has drawn is kept in .hypothesis: run pytest on the test, which shrinks it and shows it, and write it down as
an @example.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "tests" / "unit" / "fuzz"
BUILD = ROOT / "build" / "fuzz"
PACKAGE = "ansible_collections.podnet.fabric"
SUMMARY = ("Done ", "DONE ")
# One input: seconds, and bytes.
PATIENCE, LARGEST = 25, 8192


def main(arguments: Sequence[str]) -> int:
    """Fuzz the targets whose names hold one of the words; the exit status says whether there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help="parts of the targets' names; all of them without")
    options = parser.parse_args(arguments)
    sys.path[:0] = [str(ROOT / "collections"), str(ROOT)]
    if options.inside:
        _inside(options.inside, options.seconds)
    chosen = [target for target in _targets() if not options.names or any(word in target for word in options.names)]
    if not chosen:
        sys.stderr.write(f"no target has {' or '.join(options.names)} in its name\n")
        return 2
    failed = [target for target in chosen if not _fuzz(target, options.seconds)]
    _say(f"{len(chosen)} targets, {len(failed)} with a finding", *(f"  {target}" for target in failed))
    return bool(failed)


def _targets() -> Iterator[str]:
    """Module and name of every test that hypothesis gives its input."""
    for path in sorted(FUZZ.glob("test_*.py")):
        module = importlib.import_module(f"{PACKAGE}.tests.unit.fuzz.{path.stem}")
        for name, found in inspect.getmembers(module):
            if hasattr(found, "hypothesis") and found.__module__ == module.__name__:
                yield f"{path.stem}:{name}"


def _fuzz(target: str, seconds: int) -> bool:
    """Whether a target stood it."""
    argv = [sys.executable, __file__, "--seconds", str(seconds), "--inside", target]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True, errors="replace"
    )
    lines = done.stdout.splitlines()
    told = next((line for line in reversed(lines) if line.startswith(SUMMARY)), "")
    _say(f"{target}: {'ok' if done.returncode == 0 else 'FOUND SOMETHING'} {told}")
    if done.returncode:
        _say(*(line for line in lines[-60:] if not line.startswith(("INFO", "#"))))
    return done.returncode == 0


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _inside(target: str, seconds: int) -> None:
    """Fuzz one target in this process, which it ends."""
    # It has no types, and is only there when `make fuzz` has fetched it.
    atheris: Any = importlib.import_module("atheris")

    with atheris.instrument_imports(include=[f"{PACKAGE}.plugins"]):
        stem, _colon, name = target.partition(":")
        test: Any = getattr(importlib.import_module(f"{PACKAGE}.tests.unit.fuzz.{stem}"), name)
    corpus, findings = BUILD / "corpus" / name, BUILD / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    check = getattr(test, "raw", None)
    if check is not None:
        kept = FUZZ / "cases" / name
        for nth, seed in enumerate([*test.seeds, *(path.read_bytes() for path in kept.glob("*"))]):
            (corpus / f"seed{nth}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={PATIENCE}",
        f"-artifact_prefix={findings}/{name}-",
        "-print_final_stats=1",
        "-verbosity=1",
        f"-max_len={max([LARGEST, *map(len, getattr(test, 'seeds', ()))])}",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], check or test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
