# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds user-mode Linux from the source that Debian ships, once for each version of it and of our options.

The newest that is backported to Debian 13, as from 6.16 on a process of the guest needs no ptrace, which makes twice as
much of the time; and 6.12 does not start on processors whose registers take more than 4 KiB (AMX).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.tests.vm import cache, debian
from ansible_collections.podnet.fabric.tests.vm.cache import say
from ansible_collections.podnet.fabric.tests.vm.job import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUITE = "trixie-backports"
OLD = "linux-source-6.12"
"""What Debian 12 has itself: for where the suite is not to be had, or its kernel does not build."""
FRAGMENT = Path(__file__).with_name("uml.fragment")
SOMETIMES = ("CONFIG_NETFILTER_XTABLES_LEGACY=y", "CONFIG_PROC_SYSCTL=y")
"""Options of the fragment that some versions do not know: those have what they mean without, or by another name."""
NEEDED = ("bc", "binutils", "bison", "flex", "gcc", "libc6-dev", "make", "xz-utils")
_MAKE = ("make", "ARCH=um")
_SECONDS = 3600.0
_PROGRESS = 20.0


class Unsuited(Unavailable):
    """The source is here, and no kernel with our options comes out of it."""


class Source(NamedTuple):
    """A package with a kernel's source."""

    package: str
    lists: tuple[str, ...] = ()  # options of apt


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
    reasons = []
    for source in sources():
        name = key(debian.candidate(source.package, source.lists), settings)
        kernel, reason = cache.FOLDER / name / "linux", cache.FOLDER / name / "reason"
        with cache.being_made(name) as folder:
            if folder is not None:
                try:
                    _build(source, folder, settings)
                except Unsuited as error:
                    say(f"{source.package}: {error}")
                    (folder / reason.name).write_text(str(error))
        if kernel.exists():
            return kernel
        reasons.append(f"{source.package}: {reason.read_text()}")
    raise Unavailable("\n".join(reasons))


def sources() -> Iterator[Source]:
    """What a kernel can be built from, in the order to try."""
    try:
        lists = debian.suite(SUITE, cache.FOLDER / SUITE)
    except Unavailable as error:
        say(f"no {SUITE}, so it is {OLD}: {error}")
    else:
        yield from (Source(name, lists) for name in newest_first(debian.names(r"^linux-source-[0-9.]+$", lists)))
    yield Source(OLD)


def newest_first(packages: Iterable[str]) -> list[str]:
    """Packages of the form NAME-1.2.3 by their versions."""
    return sorted(packages, key=lambda name: [int(part) for part in name.rpartition("-")[2].split(".")], reverse=True)


def unmet(settings: tuple[str, ...], config: str) -> list[str]:
    """The settings that a finished configuration has not kept, because another one or a dependency forbids them."""
    kept = {*config.splitlines(), *SOMETIMES}
    return [line for line in settings if line not in kept and not line.endswith("=n")]


def _build(source: Source, folder: Path, settings: tuple[str, ...]) -> None:
    """Put the kernel into a folder as `linux`, with its configuration. Raises Unavailable, and Unsuited."""
    begin = time.monotonic()
    debian.install(NEEDED)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as name:
        work = Path(name)
        debian.unpack([source.package], work / "package", source.lists)
        say("unpacking the source")
        tree = work / "source"
        tree.mkdir()
        archive = work / "package/usr/src" / f"{source.package}.tar.xz"
        debian.run(["tar", "-C", str(tree), "--strip-components=1", "-xf", str(archive)])
        fragment = work / "fragment"
        fragment.write_text("\n".join(settings) + "\n")
        debian.run([*_MAKE, f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig"], cwd=tree)
        if lost := unmet(settings, (tree / ".config").read_text()):
            raise Unsuited(f"{FRAGMENT.name}: this kernel does not take {', '.join(lost)}")
        _compile(tree)
        debian.run(["strip", "-o", str(folder / "linux"), str(tree / "linux")])
        shutil.copy(tree / ".config", folder / "config")
    say(f"built user-mode Linux of {source.package} in {time.monotonic() - begin:.0f} s")


def _compile(source: Path) -> None:
    """Run make, and tell now and then how far it is. Raises Unsuited."""
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
                    raise Unsuited(f"the kernel is not built after {_SECONDS:g} s")
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
        raise Unsuited(f"the kernel does not build:\n{log.read_text(errors='replace')[-4000:]}")
