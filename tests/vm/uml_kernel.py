# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds user-mode Linux from the source that Debian ships, once for each version of it and of our options."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from ansible_collections.podnet.fabric.tests.vm import cache, debian
from ansible_collections.podnet.fabric.tests.vm.cache import say
from ansible_collections.podnet.fabric.tests.vm.job import Unavailable

SOURCE = "linux-source-6.12"
FRAGMENT = Path(__file__).with_name("uml-6.12.fragment")
NEEDED = ("bc", "binutils", "bison", "flex", "gcc", "libc6-dev", "make", "xz-utils")
_MAKE = ("make", "ARCH=um")
_SECONDS = 3600.0
_PROGRESS = 20.0


def options(text: str) -> tuple[str, ...]:
    """The settings of a fragment of a kernel's configuration, without comments and blank lines."""
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def key(version: str, settings: tuple[str, ...]) -> str:
    """The name under which the kernel of a version with these settings is kept; their order says nothing."""
    digest = hashlib.sha256("\n".join(sorted(settings)).encode()).hexdigest()
    return f"uml-{version.replace('~', '-').replace(':', '-')}-{digest[:12]}"


def ready() -> Path:
    """The kernel, built when there is none yet. Raises Unavailable."""
    settings = options(FRAGMENT.read_text())
    name = key(debian.candidate(SOURCE), settings)
    with cache.being_made(name) as folder:
        if folder is not None:
            _build(folder, settings)
    return cache.FOLDER / name / "linux"


def unmet(settings: tuple[str, ...], config: str) -> list[str]:
    """The settings that a finished configuration has not kept, because another one or a dependency forbids them."""
    kept = set(config.splitlines())
    return [line for line in settings if line not in kept and not line.endswith("=n")]


def _build(folder: Path, settings: tuple[str, ...]) -> None:
    """Put the kernel into a folder as `linux`, with its configuration. Raises Unavailable."""
    begin = time.monotonic()
    debian.install(NEEDED)
    work = folder / "work"
    debian.unpack([SOURCE], work)
    source = work / "source"
    source.mkdir()
    say("unpacking the source")
    debian.run(["tar", "-C", str(source), "--strip-components=1", "-xf", str(work / "usr/src" / f"{SOURCE}.tar.xz")])
    fragment = work / "fragment"
    fragment.write_text("\n".join(settings) + "\n")
    debian.run([*_MAKE, f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig"], cwd=source)
    if lost := unmet(settings, (source / ".config").read_text()):
        raise Unavailable(f"{FRAGMENT.name}: this kernel does not take {', '.join(lost)}")
    _compile(source)
    debian.run(["strip", "-o", str(folder / "linux"), str(source / "linux")])
    shutil.copy(source / ".config", folder / "config")
    shutil.rmtree(work)
    say(f"built user-mode Linux in {time.monotonic() - begin:.0f} s")


def _compile(source: Path) -> None:
    """Run make, and tell now and then how far it is. Raises Unavailable."""
    log = source / "podnet-build.log"
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_MAKE, f"-j{len(os.sched_getaffinity(0))}", "linux"],
            cwd=source,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
        try:
            while process.poll() is None:
                passed = time.monotonic() - begin
                if passed > _SECONDS:
                    raise Unavailable(f"the kernel is not built after {_SECONDS:g} s")
                say(f"building user-mode Linux: {passed:4.0f} s, {log.read_bytes().count(b' CC ')} files compiled")
                try:
                    process.wait(_PROGRESS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
    if process.returncode != 0:
        raise Unavailable(f"the kernel does not build:\n{log.read_text(errors='replace')[-4000:]}")
