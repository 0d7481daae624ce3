# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""podnet-node: the archive is the same at every build, and runs with nothing but a Python and its standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import node_archive


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "podnet-node"
    path.write_bytes(node_archive.program())
    path.chmod(0o755)
    return path


def run(program: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run it without an environment in namespaces of its own, on a scratch /run and /etc."""
    base = sys.base_prefix
    script = f"""set -e
mount -t tmpfs none /run
mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work none /etc
mkdir -p /etc/podnet
{before}
exec env -i PATH={base}/bin:/usr/sbin:/usr/bin:/sbin:/bin {base}/bin/python3 -I -S "$@"
"""
    words: Sequence[str] = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", str(program), *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_the_program_builds_itself(program: Path) -> None:
    """What a module compares the file with is built by the module, out of what it has brought along."""
    script = f"import sys; sys.path.insert(0, {str(program)!r})\n"
    script += f"from {node_archive.PACKAGE} import node_archive\nsys.stdout.buffer.write(node_archive.program())"
    argv = [sys.executable, "-I", "-S", "-c", script]
    assert subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout == program.read_bytes()
    assert node_archive.is_ours(program.read_bytes())
    assert not node_archive.is_ours(b"#!/bin/sh\n")


def test_it_is_executable_by_itself(program: Path) -> None:
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("podnet-node ")


def test_a_node_without_declarations_is_left_alone(program: Path) -> None:
    for command in (["restore"], ["health"], ["diff"], ["status", "--json"], ["purge", "--yes"]):
        done = run(program, *command)
        assert (done.returncode, done.stderr) == (0, ""), command
    told = json.loads(run(program, "status", "--json").stdout)
    assert (told["kinds"], told["differences"], told["problems"]) == ([], 0, [])


BRIDGE = json.dumps(
    {
        "podnet": {"kind": "bridge", "version": 1},
        "items": {"podnet0": {"mtu": 1450, "mac": "02:00:00:00:00:01", "addresses": ["10.244.0.1/24"]}},
    }
)
DECLARE = f"mkdir /etc/podnet/node.d; echo '{BRIDGE}' >/etc/podnet/node.d/bridge.json"


def test_diff_and_restore(program: Path) -> None:
    missing = run(program, "diff", before=DECLARE)
    assert missing.returncode == 1, missing.stderr
    assert "bridge: links podnet0: missing" in missing.stdout
    restored = f"{DECLARE}\n{sys.base_prefix}/bin/python3 -I -S {program} restore >&2"
    assert run(program, "diff", before=restored).returncode == 0
    changed = run(program, "diff", before=f"{restored}\nip link set podnet0 mtu 1400")
    assert changed.returncode == 1
    assert "bridge: links podnet0: mtu: declared 1450, found 1400" in changed.stdout


def test_a_damaged_declaration_does_not_keep_the_others_from_being_restored(program: Path) -> None:
    damage = f"{DECLARE}\necho nonsense >/etc/podnet/node.d/vxlan.json"
    done = run(program, "restore", before=damage)
    assert done.returncode == 1
    assert "create links: podnet0" in done.stdout
    assert "vxlan.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert run(program, "diff", before=damage).returncode == 2
