# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/packing.py: what it keeps is what would have been made anew, and never of another source."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
import zipimport
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.tests import packing

if TYPE_CHECKING:
    from pathlib import Path

PING = "ansible.modules.ping-ZIP_DEFLATED-none"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.ping:
"""


def archive(path: Path, source: str, *, code_of: str) -> zipimport.zipimporter:
    """An archive with a source, and with what another one compiles to."""
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as made:
        made.writestr("one.py", code_of)
    with zipfile.ZipFile(path, "w") as made, zipfile.ZipFile(io.BytesIO(packing.with_code(plain.getvalue()))) as given:
        assert given.read("one.py") == code_of.encode()
        made.writestr("one.py", source)
        made.writestr("one.pyc", given.read("one.pyc"))
    return zipimport.zipimporter(str(path))


def value(module: zipimport.zipimporter) -> tuple[int, bool]:
    """What the module says, and whether it was compiled by its reader, who calls it by the archive's name."""
    names: dict[str, int] = {}
    code = module.get_code("one")
    exec(code, names)  # noqa: S102 - it stands below
    return names["VALUE"], code.co_filename != "one.py"


def test_python_runs_the_code_of_this_source_alone(tmp_path: Path) -> None:
    assert value(archive(tmp_path / "same", "VALUE = 1", code_of="VALUE = 1")) == (1, False)
    assert value(archive(tmp_path / "other", "VALUE = 2", code_of="VALUE = 1")) == (2, True)


def test_another_state_of_the_sources_knows_nothing_of_this_one(tmp_path: Path) -> None:
    kept, run = tmp_path / "kept", tmp_path / "run"
    assert packing.take(kept / "one", run) == frozenset()
    (kept / "one").mkdir(parents=True)
    (kept / "one" / PING).write_bytes(b"what was packed")
    assert packing.take(kept / "other", run) == frozenset()
    assert list(run.iterdir()) == []
    assert packing.take(kept / "one", run) == {PING}
    assert (run / PING).read_bytes() == b"what was packed"


def test_what_one_run_packs_the_next_one_takes(tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(PLAY)
    kept = packing.KEPT / packing.state() / PING
    kept.unlink(missing_ok=True)
    command = ["ansible-playbook", "-vvv", "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}"]
    environment = {**os.environ, "ANSIBLE_DEBUG": "true"}
    printed = []
    for _run in range(2):
        done = subprocess.run(
            [*command, str(playbook)], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        assert "Callback dispatch" not in done.stdout + done.stderr
        assert kept.is_file()
        printed.append(done.stdout)
    assert ["ANSIBALLZ: Creating module" in text for text in printed] == [True, False]
