# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guest is to do, and the folder over which host and guest tell each other."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSED_ON = ("PATH", "ANSIBLE_CONFIG", "LANG")
INTERPRETER = Path(__file__).with_name("interpreter")
PREFIX = "PODNET_"
DISK = "disk.tar"
"""What a guest has written, for its next boot."""
_TMP = Path("/tmp")  # noqa: S108 - not written to: asked what lies below it


class Unavailable(Exception):
    """A provider cannot start a kernel here; the text says why and what would help."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A command, and what it may use."""

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Folders of the host that the command writes through to.
    writable: tuple[Path, ...] = ()
    seconds: float = 3600.0
    # The processor of the host to stay on; None leaves the choice to the provider.
    cpu: int | None = None
    # How often the guest boots with systemd, each time to run the command; 0 is without systemd.
    boots: int = 0


def environment(host: Mapping[str, str], provider: str) -> dict[str, str]:
    """What of the host's environment a command gets.

    PODNET_VM=1 tells tests that every tunnel is there, PODNET_VM_PROVIDER by which provider. In a guest, where nothing
    stays, Python keeps what it has compiled; see interpreter/sitecustomize.py.
    """
    python = {"PYTHONPATH": os.fspath(INTERPRETER)}
    if provider == "native":
        python = {key: value for key, value in host.items() if key == "PYTHONDONTWRITEBYTECODE"}
    passed = {key: value for key, value in host.items() if key in PASSED_ON or key.startswith(PREFIX)}
    return {
        "HOME": host.get("HOME", "/root"),
        "TERM": "dumb",
        **passed,
        **python,
        "PODNET_VM": "1",
        "PODNET_VM_PROVIDER": provider,
    }


def hides_nothing(job: Job) -> bool:
    """Whether an empty /tmp in the guest would hide nothing that the command needs."""
    needed = [job.cwd, *job.writable, Path(shutil.which(job.argv[0], path=job.environment.get("PATH")) or "/")]
    return not any(path.is_relative_to(_TMP) for path in needed)


def write(
    job: Job, exchange: Path, *, share: str, console: str, modules: Path | None, layer: Path | None = None
) -> None:
    """Put a job where guest.py reads it.

    ``share`` is how the guest gets at the host's folders, ``console`` the terminal that its output goes to,
    ``modules`` the folder of the host that is its /lib/modules, ``layer`` the one with systemd, laid over its files.
    """
    document = {
        "argv": job.argv,
        "console": console,
        "cwd": os.fspath(job.cwd),
        "disk": os.fspath(exchange / DISK),
        "environment": {**job.environment},
        "folders": [os.fspath(path) for path in (exchange, *job.writable)],
        "fresh_tmp": hides_nothing(job) and not exchange.is_relative_to(_TMP),
        "hostname": platform.node(),
        "layer": layer and os.fspath(layer),
        "modules": modules and os.fspath(modules),
        "share": share,
    }
    (exchange / "job.json").write_text(json.dumps(document))


def status(exchange: Path) -> int | None:
    """The exit status that the guest has written; None when it has not come so far."""
    try:
        return int((exchange / "status").read_text())
    except (FileNotFoundError, ValueError):
        return None


def started(exchange: Path) -> bool:
    """Whether the guest has come so far as to run the command."""
    return (exchange / "started").exists()
