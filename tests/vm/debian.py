# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's packages: what is to be had, installed, or only unpacked.

``lists`` are options of apt: none for the packages that this machine knows, those of `suite` for another suite's.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.tests.vm.cache import say
from ansible_collections.podnet.fabric.tests.vm.job import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS = 600.0
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")


def run(argv: Sequence[str], *, cwd: Path | None = None, seconds: float = _SECONDS) -> str:
    """What a program prints. Raises Unavailable with all that it says when it fails, is missing or takes too long."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{argv[0]} is not installed; Debian is wanted here") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{' '.join(argv)}: not done after {seconds:g} s") from error
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(argv)}: exit status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def candidate(package: str, lists: tuple[str, ...] = ()) -> str:
    """The version of a package that would be installed. Raises Unavailable when it is not on fresh lists."""
    version = _listed(package, lists)
    if version is None:
        run([*_APT, *lists, "update"])
        version = _listed(package, lists)
    if version is None:
        raise Unavailable(f"no package {package} is to be had here: bookworm-security has it")
    return version


def suite(name: str, folder: Path) -> tuple[str, ...]:
    """The options of apt for a suite that this machine does not use, from where its own packages come from.

    Its lists are fetched once and kept in ``folder``; the machine's stay as they are. Raises Unavailable.
    """
    words = ["APT::Sandbox::User=root", "Acquire::Languages=none", "Dir::Etc::SourceParts=/dev/null"]
    words += [
        f"Dir::Etc::SourceList={folder}/sources.list",
        f"Dir::State::Lists={folder}/lists",
        f"Dir::Cache={folder}",
    ]
    lists = tuple(word for option in words for word in ("-o", option))
    if (folder / "complete").exists():
        return lists
    archive = _archive()
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "archives/partial").mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {archive} {name} main\n")
    say(f"fetching the lists of {name}")
    run([*_APT, *lists, "--error-on=any", "update"])
    (folder / "complete").touch()
    return lists


def _archive() -> str:
    """Where this machine has Debian's packages from. Raises Unavailable."""
    argv = ["apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)"]
    for fresh in (False, True):
        if fresh:
            run([*_APT, "update"])
        for line in run(argv).splitlines():
            label, component, archive = line.split()
            if (label, component) == ("Debian", "main"):
                return archive
    raise Unavailable("apt has no archive of Debian among its sources here")


def names(pattern: str, lists: tuple[str, ...] = ()) -> list[str]:
    """The packages whose names match a regular expression."""
    shown = run(["apt-cache", *lists, "--names-only", "search", pattern])
    return [line.split()[0] for line in shown.splitlines()]


def _listed(package: str, lists: tuple[str, ...]) -> str | None:
    for line in run(["apt-cache", *lists, "policy", package]).splitlines():
        key, _colon, value = line.strip().partition(": ")
        if key == "Candidate" and value != "(none)":
            return value
    return None


def to_install(packages: Sequence[str]) -> list[str]:
    """`NAME VERSION` of all that has to come from outside before these packages are here in their newest version."""
    argv = [*_APT, "--simulate", "--no-install-recommends", "install", *packages]
    try:
        shown = run(argv)
    except Unavailable:
        run([*_APT, "update"])
        shown = run(argv)
    # Inst NAME [OLD] (NEW ORIGIN [ARCHITECTURE]) []
    rows = [line.split() for line in shown.splitlines() if line.startswith("Inst ")]
    return sorted(f"{row[1]} {next(word for word in row if word.startswith('('))[1:]}" for row in rows)


def install(packages: Sequence[str]) -> None:
    """Install those that are missing. Raises Unavailable."""
    missing = [package for package in packages if not _installed(package)]
    if not missing:
        return
    say(f"installing Debian packages: {' '.join(missing)}")
    argv = [*_APT, "--yes", "--no-install-recommends", "install", *missing]
    try:
        run(argv)
    except Unavailable:
        # The lists of a fresh machine are empty, those of an old one name packages that are gone.
        run([*_APT, "update"])
        run(argv)


def _installed(package: str) -> bool:
    argv = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "installed"


def unpack(packages: Sequence[str], folder: Path, lists: tuple[str, ...] = ()) -> None:
    """Fetch packages' newest versions and put their files below a folder, without installing them. Raises Unavailable.

    A link to a directory that is there stays, as it does when dpkg installs.
    """
    fetched = folder / "fetched"
    fetched.mkdir(parents=True)
    say(f"fetching {' '.join(packages)}")
    # Without a user of its own, which may not write here.
    argv = [*_APT, *lists, "-o", "APT::Sandbox::User=root", "download", *packages]
    try:
        run(argv, cwd=fetched)
    except Unavailable:
        run([*_APT, *lists, "update"])
        run(argv, cwd=fetched)
    for file in fetched.iterdir():
        archive = fetched / "files.tar"
        with archive.open("wb") as sink:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=sink, check=True)
        run(["tar", "-C", str(folder), "--keep-directory-symlink", "-xpf", str(archive)])
        archive.unlink()
        file.unlink()
    fetched.rmdir()
